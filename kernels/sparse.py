"""Pruned matrices: packed with their masks, only the numbers that are kept.

What a row keeps is walked in segments of 16 columns; segments without any number are not stored. A row block is

    scales (16 float16; integer formats), places (uint16 a segment), masks (uint16 a segment), numbers

with a segment of each row in turn: the first one of each, then the second one of each that has one, and so on. A place
is the row in the block and the number of the segment; the masks are left out where the blocks that were pruned are as
wide as a segment or wider. 4-bit numbers of a segment begin at a byte of their own. Before the blocks lies a table with
a row of four int64 for each, and one more: the distance from this row of the table to the block's data in bytes, the
numbers and the rows with any numbers before this block, its segments.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .formats import INT8, SCALE_BYTES, STORED_BITS
from .jit import entry, kernel
from .lanes import LANES, blocks_of
from .matrix import TABLE_BYTES, Load
from .packing import source_of
from .sparse_tile import ROW_SHIFT

TO_DATA, NUMBERS, FILLED, SEGMENTS = range(4)
FIELDS = 4
# The last segment's numbers are read sixteen at a time.
OVERREAD = 64
ALL_LANES = (1 << LANES) - 1
WIDE = LANES  # blocks of this many columns or more are whole segments
NARROW = 1  # stands for all that are narrower


class Mask(NamedTuple):
    """Which blocks of a matrix are kept."""

    bits: Any  # (bytes,) uint8: block b of the row-major blocks is bit b % 8 of byte b / 8
    rows: int  # of a block
    columns: int  # of a block


@intrinsic
def read_word(typingctx: Any, address: Any) -> Any:
    """The int64 at an address."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()), align=8)

    return types.int64(types.int64), codegen


@kernel
def _kept(mask, block):
    return (mask.bits[block >> 3] >> (block & 7)) & 1


@kernel
def _segment_mask(mask, columns, row, segment):
    """The mask of 16 columns of a row, bit n for column 16 * segment + n; columns behind the last are zero."""
    width = mask.columns
    in_row = columns // width
    start = row // mask.rows * in_row
    if width >= WIDE:
        return ALL_LANES * int(_kept(mask, start + LANES * segment // width))
    first, bits = LANES // width * segment, 0
    ones = (1 << width) - 1
    for block in range(first, min(first + LANES // width, in_row)):
        bits |= (int(_kept(mask, start + block)) * ones) << ((block - first) * width)
    return bits


@kernel
def population(bits):
    """How many of 16 bits are set."""
    pairs = bits - ((bits >> 1) & 0x5555)
    nibbles = (pairs & 0x3333) + ((pairs >> 2) & 0x3333)
    halves = (nibbles + (nibbles >> 4)) & 0x0F0F
    return (halves + (halves >> 8)) & 31


@entry
def count_kept(mask, rows, columns, kept):
    """Write how many numbers each row keeps to ``kept`` ((rows,) int64, modified in place)."""
    per_row = columns // mask.columns
    for row in range(rows):
        count = 0
        if row % mask.rows and row:
            kept[row] = kept[row - 1]
            continue
        for b in range(per_row):
            count += _kept(mask, row // mask.rows * per_row + b)
        kept[row] = count * mask.columns


@entry
def measure_sparse(mask, matrix, split, table):
    """Fill the table of a pruned matrix and return the bytes of its blocks' data, behind the table.

    Parameters
    ----------
    mask : Mask
    matrix : Matrix
    split : Split
    table : (packed blocks + 1, 4) int64
        Modified in place.
    """
    blocks = table.shape[0] - 1
    segments = blocks_of(matrix.columns)
    bits = STORED_BITS[matrix.code]
    masks = mask.columns < WIDE
    # Each block's own figures first, at its place; then the sums of those before it.
    for source in range(blocks):
        first, filled, to = source_of(source, matrix.rows, split)
        kept, size, numbers, rows = 0, 0, 0, 0
        for row in range(first, first + filled):
            before = numbers
            for segment in range(segments):
                count = population(_segment_mask(mask, matrix.columns, row, segment))
                numbers += count
                kept += count > 0
                size += (bits * count + 7) // 8
            rows += numbers > before
        scales = LANES * SCALE_BYTES if matrix.code >= INT8 else 0
        size += scales + kept * (2 + 2 * masks)
        table[to, TO_DATA], table[to, NUMBERS], table[to, FILLED] = size, numbers, rows
        table[to, SEGMENTS] = kept
    at, numbers, rows = 8 * table.size, 0, 0
    for block in range(blocks):
        own = table[block, TO_DATA], table[block, NUMBERS], table[block, FILLED]
        table[block, TO_DATA], table[block, NUMBERS], table[block, FILLED] = at - TABLE_BYTES * block, numbers, rows
        at, numbers, rows = at + (own[0] + 7) // 8 * 8, numbers + own[1], rows + own[2]
    table[blocks, TO_DATA], table[blocks, NUMBERS], table[blocks, FILLED] = at - TABLE_BYTES * blocks, numbers, rows
    table[blocks, SEGMENTS] = 0
    return at - 8 * table.size


@kernel
def _put(matrix, numbers, n, target, at, inside):
    """Copy number ``n`` of the file to place ``inside`` of a segment's numbers at byte ``at``."""
    if STORED_BITS[matrix.code] == 4:
        half = (numbers[n >> 1] >> (4 * (n & 1))) & 15
        target[at + (inside >> 1)] |= np.uint8(half << (4 * (inside & 1)))
        return
    item = STORED_BITS[matrix.code] // 8
    for byte in range(item):
        target[at + item * inside + byte] = numbers[item * n + byte]


@entry
def pack_sparse(source, matrix, split, blocks, target, following):
    """Pack some row blocks of a pruned matrix; nothing is checked here.

    Parameters
    ----------
    source : (Mask, (bytes,) uint8, (R,) int64, (R,) uint16)
        The mask, the numbers as they are stored, the number before each row, and the bit patterns of the scales (empty
        for floating-point formats).
    matrix : Matrix
    split : Split
    blocks : (int, int)
        First and last + 1 of the blocks, counted in the order of the source's rows.
    target : (bytes,) uint8
        The table, filled by ``measure_sparse``, and the blocks' data behind it: the chosen ones are modified in place
        and must be zero before.
    following : (2, 16) int64
        Overwritten: the next segment, and the next number of the source, of each row of a block.
    """
    mask, numbers, starts, scales = source
    table = target[: target.size // 8 * 8].view(np.int64)
    segments = blocks_of(matrix.columns)
    bits = STORED_BITS[matrix.code]
    masks = mask.columns < WIDE
    for block in range(blocks[0], blocks[1]):
        first, filled, to = source_of(block, matrix.rows, split)
        at = TABLE_BYTES * to + table[FIELDS * to + TO_DATA]
        kept = table[FIELDS * to + SEGMENTS]
        for lane in range(filled if scales.size else 0):
            target[at + 2 * lane] = scales[first + lane] & 255
            target[at + 2 * lane + 1] = scales[first + lane] >> 8
        if scales.size:
            at += LANES * SCALE_BYTES
        values_at = at + kept * (2 + 2 * masks)
        for lane in range(filled):
            following[0, lane], following[1, lane] = 0, starts[first + lane]
        packed = 0
        while packed < kept:
            for lane in range(filled):
                segment, n, own = following[0, lane], following[1, lane], 0
                while segment < segments and own == 0:
                    own = _segment_mask(mask, matrix.columns, first + lane, segment)
                    segment += 1
                following[0, lane] = segment
                if own == 0:
                    continue
                place = (lane << ROW_SHIFT) | (segment - 1)
                target[at], target[at + 1] = place & 255, place >> 8
                if masks:
                    target[at + 2 * kept], target[at + 2 * kept + 1] = own & 255, own >> 8
                at += 2
                count = population(own)
                for inside in range(count):
                    _put(matrix, numbers, n + inside, target, values_at, inside)
                following[1, lane] = n + count
                packed += 1
                values_at += (bits * count + 7) // 8


@kernel
def sparse_load(weights, matrix, span):
    """The load of some row blocks of a pruned matrix, from its table."""
    table = weights[matrix.offset : matrix.offset + (span.last + 1) * TABLE_BYTES].view(np.int64)
    first, last = FIELDS * span.first, FIELDS * span.last
    return Load(span.rows, table[last + NUMBERS] - table[first + NUMBERS], table[last + FILLED] - table[first + FILLED])


def sparse_bytes(table: np.ndarray) -> int:
    """Bytes that a product with a pruned matrix reads, the table apart."""
    return int(table[-1, TO_DATA]) + TABLE_BYTES * (len(table) - 1) - table.nbytes
