"""A row of a pruned matrix, filled up with zeros: what looking up a token in a pruned embedding takes.

The numbers that are kept go to their columns, zeros to the others; then the whole row is widened and scaled.
"""

from __future__ import annotations

import numpy as np

from .formats import INT8, SCALE_BYTES, STORED_BITS
from .jit import kernel
from .lanes import LANES
from .matrix import TABLE_BYTES
from .scalar import float_at, integer_at, read_float16
from .sparse import ALL_LANES, SEGMENTS, TO_DATA, WIDE, population
from .sparse_tile import MAX_SEGMENTS, ROW_SHIFT


@kernel
def _word(weights, at):
    return np.int64(weights[at]) | np.int64(weights[at + 1]) << 8


@kernel
def _number(weights, matrix, at, inside):
    """Number ``inside`` of a segment whose numbers begin at byte ``at``, without its scale."""
    bits = STORED_BITS[matrix.code]
    place = at + (bits * inside >> 3)
    if matrix.code >= INT8:
        return np.float32(integer_at(weights, matrix, place, bits * inside & 7, 0))
    return float_at(weights, matrix.code, place)


@kernel
def look_up_sparse(weights, matrix, row, columns, out):
    """Write columns ``columns`` (first and last + 1) of a row to ``out`` (float32, modified in place)."""
    for j in range(columns[0], columns[1]):
        out[j] = 0
    table = matrix.offset + row // LANES * TABLE_BYTES
    words = weights[table : table + TABLE_BYTES].view(np.int64)
    places, segments, lane = table + words[TO_DATA], words[SEGMENTS], row % LANES
    scale = np.float32(1)
    if matrix.code >= INT8:
        scale = read_float16(weights, places + SCALE_BYTES * lane)
        places += LANES * SCALE_BYTES
    is_wide = matrix.pruned >= WIDE
    at = places + segments * (2 if is_wide else 4)
    for segment in range(segments):
        place = _word(weights, places + 2 * segment)
        own = ALL_LANES if is_wide else _word(weights, places + 2 * (segments + segment))
        if place >> ROW_SHIFT == lane:
            start, inside = place % MAX_SEGMENTS * LANES, 0
            for n in range(LANES):
                if own >> n & 1:
                    if columns[0] <= start + n < columns[1]:
                        out[start + n] = _number(weights, matrix, at, inside)
                    inside += 1
        at += (STORED_BITS[matrix.code] * population(own) + 7) >> 3
    if matrix.code >= INT8:
        for j in range(columns[0], columns[1]):
            out[j] = scale * out[j]
