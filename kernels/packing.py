"""Packing of row-major matrices into blocks of 16 rows, ``[R / 16][K][16]``.

In this layout sixteen rows advance together through the columns, one row a lane, so a matrix-vector product is a
single sequential walk through memory and needs no sum across lanes. A matrix of ``groups`` equal parts (the four gates
of an LSTM layer) is interleaved: blocks 4u .. 4u + 3 hold the input, forget, cell and output gates of units
16u .. 16u + 15, so that whoever computes them can finish those units. Rows that are missing in the last block are zero.
"""

from __future__ import annotations

import numpy as np

from .jit import entry
from .lanes import LANES

ALL_FINITE = -1


def packed_blocks(rows: int, groups: int = 1) -> int:
    """Number of row blocks of a packed matrix of ``rows`` rows in ``groups`` equal parts."""
    return groups * -(-(rows // groups) // LANES)


@entry
def pack_blocks(source, target, groups, exponent_mask, blocks):
    """Pack some row blocks of a matrix, looking at every weight for infinities and NaNs.

    Parameters
    ----------
    source : (R, K) unsigned integers of the weights' size, C-contiguous
        The bit patterns of the weights, row-major.
    target : (packed_blocks(R, groups), K, 16) of the same type
        Packed matrix; the chosen blocks are modified in place.
    groups : int
        Number of equal parts of the rows that are interleaved.
    exponent_mask : int
        The format's exponent bits: a weight with all of them set is infinite or not a number.
    blocks : (int, int)
        First and last + 1 of the blocks, counted in the order of the source's rows.

    Returns
    -------
    int
        First source row with a weight that is not finite, or ALL_FINITE.
    """
    part = source.shape[0] // groups
    blocks_of_part = (part + LANES - 1) // LANES
    columns = source.shape[1]
    for block in range(blocks[0], blocks[1]):
        group = block // blocks_of_part
        unit = (block - group * blocks_of_part) * LANES
        first = group * part + unit
        filled = min(LANES, part - unit)
        to = (unit // LANES) * groups + group
        for lane in range(filled):
            bad = False
            for j in range(columns):
                value = source[first + lane, j]
                bad |= (value & exponent_mask) == exponent_mask
            if bad:
                return first + lane
        for j in range(columns):
            for lane in range(filled):
                target[to, j, lane] = source[first + lane, j]
            for lane in range(filled, LANES):
                target[to, j, lane] = 0
    return ALL_FINITE


def exponent_mask(code: int) -> np.unsignedinteger:
    """Exponent bits of weight format ``code``, in the unsigned integer of its size."""
    return (np.uint32(0x7F800000), np.uint16(0x7C00), np.uint16(0x7F80))[code]
