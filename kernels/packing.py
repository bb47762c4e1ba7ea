"""Packing of row-major matrices into blocks of 16 rows.

In this layout sixteen rows advance together through the columns, one row a lane, so a matrix-vector product is a
single sequential walk through memory and needs no sum across lanes. Floating-point weights are ``[R / 16][K][16]``; of
integer weights a unit holds four or eight columns of the sixteen rows (``decode.py``), and the scales and offsets
follow the weights of their row block. A matrix of equal parts (the four gates of an LSTM layer) is
interleaved: blocks 4u .. 4u + 3 hold the input, forget, cell and output gates of units 16u .. 16u + 15, so that whoever
computes them can finish those units. The sections of a grouped matrix follow each other, each in whole row blocks. Rows
that are missing in the last block are zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .formats import FIELD_BIAS, INT8, SCALE_BYTES, UNIT_BYTES, UNIT_COLUMNS
from .jit import entry, kernel
from .lanes import LANES
from .matrix import groups_of

ALL_FINITE = -1


class Split(NamedTuple):
    """How the rows of a matrix are cut into equal parts, each packed in whole row blocks."""

    parts: int = 1
    is_interleaved: bool = False  # block by block; else the parts follow each other


def packed_blocks(rows: int, parts: int = 1) -> int:
    """Number of row blocks of a packed matrix of ``rows`` rows in equal parts."""
    return parts * -(-(rows // parts) // LANES)


@kernel
def source_of(block, rows, split):
    """Of a block counted in the order of the source: its first row, how many rows it has, its place when packed."""
    part = rows // split.parts
    blocks_of_part = (part + LANES - 1) // LANES
    group = block // blocks_of_part
    unit = (block - group * blocks_of_part) * LANES
    place = (unit // LANES) * split.parts + group if split.is_interleaved else block
    return group * part + unit, min(LANES, part - unit), place


@entry
def pack_blocks(source, target, split, exponent_mask, blocks):
    """Pack some row blocks of a matrix, looking at every weight for infinities and NaNs.

    Parameters
    ----------
    source : (R, K) unsigned integers of the weights' size, C-contiguous
        The bit patterns of the weights, row-major.
    target : (packed_blocks(R, split.parts), K, 16) of the same type
        Packed matrix; the chosen blocks are modified in place.
    split : Split
    exponent_mask : int
        The format's exponent bits: a weight with all of them set is infinite or not a number.
    blocks : (int, int)
        First and last + 1 of the blocks, counted in the order of the source's rows.

    Returns
    -------
    int
        First source row with a weight that is not finite, or ALL_FINITE.
    """
    columns = source.shape[1]
    for block in range(blocks[0], blocks[1]):
        first, filled, to = source_of(block, source.shape[0], split)
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


@kernel
def integer_place(matrix, lane, j):
    """Where the weight of a row block's lane and column j lies: byte from the block's beginning, lowest bit in it."""
    per_unit = UNIT_COLUMNS[matrix.code]
    group, inside = j // matrix.group, j % matrix.group
    unit = group * ((matrix.group + per_unit - 1) // per_unit) + inside // per_unit
    column = inside % per_unit
    bit = (column >> 1) * (32 // per_unit)
    return unit * UNIT_BYTES[matrix.code] + 4 * lane + 2 * (column & 1) + (bit >> 3), bit & 7


@kernel
def field_bias(matrix, j):
    """What is added to the packed weight of column j (modulo its range, so that it can be taken away the same way)."""
    per_unit = UNIT_COLUMNS[matrix.code]
    return FIELD_BIAS[matrix.code] if j % matrix.group % per_unit < per_unit - 2 else 0


@entry
def pack_integers(source, scales, matrix, split, blocks, target):
    """Pack some row blocks of integer weights with their scales and offsets; nothing is checked here.

    Parameters
    ----------
    source : (R, K) int8, or (R, K / 2 rounded up) uint8 with two weights a byte, the first in the low half
    scales : (1 or 2, R, G) uint16
        Bit patterns of the float16 scales, and of the offsets if there are any.
    matrix : Matrix
    split : Split
    blocks : (int, int)
        First and last + 1 of the blocks, counted in the order of the source's rows.
    target : (packed blocks, matrix.block_bytes) uint8
        The chosen blocks are modified in place: they must be zero before.
    """
    for block in range(blocks[0], blocks[1]):
        first, filled, to = source_of(block, matrix.rows, split)
        packed = target[to]
        for lane in range(filled):
            for j in range(matrix.columns):
                at, shift = integer_place(matrix, lane, j)
                bias = field_bias(matrix, j)
                if matrix.code == INT8:
                    packed[at] = np.uint8(source[first + lane, j]) ^ np.uint8(bias)
                else:
                    half = (source[first + lane, j >> 1] >> (4 * (j & 1))) & 15
                    packed[at] |= np.uint8((half ^ bias) << shift)
            for kind in range(scales.shape[0]):
                for group in range(groups_of(matrix)):
                    at = matrix.scales_at + ((kind * groups_of(matrix) + group) * LANES + lane) * SCALE_BYTES
                    packed[at] = scales[kind, first + lane, group] & 255
                    packed[at + 1] = scales[kind, first + lane, group] >> 8


def exponent_mask(code: int) -> np.unsignedinteger:
    """Exponent bits of weight format ``code``, in the unsigned integer of its size."""
    return (np.uint32(0x7F800000), np.uint16(0x7C00), np.uint16(0x7F80))[code]
