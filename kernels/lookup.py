"""Looking up a row of the embedding: a move under the rules, plus what makes float32 of a row that is stored narrow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .charge import ADD, CONVERT, MULTIPLY, charge
from .formats import INT8, ITEM_BYTES, SCALE_BITS, SCALE_BYTES
from .jit import kernel
from .lanes import LANES
from .matrix import DENSE, FLOAT_BITS, Matrix, groups_of
from .packing import field_bias, integer_place
from .scalar import float_at, integer_at, read_float16
from .sparse_lookup import look_up_sparse


class Table(NamedTuple):
    """Where the embedding lies."""

    matrix: Matrix
    packed: int  # 1: in row blocks, as for a product; 0: row-major, floating-point formats only


@kernel
def lookup_cost(meter, matrix, columns):
    """Cost law of ``lookup``: the move is free under the rules; what is stored narrow is widened.

    For each number a conversion, where its width is not 32 bits; a multiply by the scale of integers or the step of an
    even grid, and an add of the offset where there is one. A row of a pruned matrix is filled up with zeros first:
    numbers like the others.
    """
    if matrix.bits != FLOAT_BITS:
        charge(meter, CONVERT, matrix.bits, FLOAT_BITS, columns)
    if matrix.steps != 0:
        charge(meter, MULTIPLY, matrix.step_bits, FLOAT_BITS, columns)
    if matrix.has_offsets:
        charge(meter, ADD, FLOAT_BITS, SCALE_BITS, columns)


@kernel
def _integer(weights, matrix, row, j):
    """The integer that a packed matrix holds at ``row`` and column ``j``, from its code book if it has one."""
    at, shift = integer_place(matrix, row % LANES, j)
    at += matrix.offset + row // LANES * matrix.block_bytes
    return integer_at(weights, matrix, at, shift, field_bias(matrix, j))


@kernel
def _look_up_integers(weights, matrix, row, columns, out):
    groups = groups_of(matrix)
    scales = matrix.offset + row // LANES * matrix.block_bytes + matrix.scales_at + row % LANES * SCALE_BYTES
    for j in range(columns[0], columns[1]):
        at = scales + j // matrix.group * LANES * SCALE_BYTES
        value = read_float16(weights, at) * np.float32(_integer(weights, matrix, row, j))
        if matrix.has_offsets:
            value += read_float16(weights, at + groups * LANES * SCALE_BYTES)
        out[j] = value


@kernel
def _look_up_floats(weights, table, row, columns, out):
    matrix = table.matrix
    item = ITEM_BYTES[matrix.code]
    if table.packed:
        start = matrix.offset + row // LANES * matrix.block_bytes + row % LANES * item
        step = LANES * item
    else:
        start = matrix.offset + row * matrix.columns * item
        step = item
    for j in range(columns[0], columns[1]):
        out[j] = float_at(weights, matrix.code, start + j * step)


@kernel
def lookup(weights, table, row, columns, out, meter):
    """Copy a part of one row of the table.

    Parameters
    ----------
    weights : (bytes,) uint8
    table : Table
    row : int
        Row of the table, a token's index.
    columns : (int, int)
        First and last + 1 of the columns to copy.
    out : (>= K,) float32
        ``out[columns]`` is written.
    meter : Meter
    """
    lookup_cost(meter, table.matrix, columns[1] - columns[0])
    if table.matrix.pruned != DENSE:
        look_up_sparse(weights, table.matrix, row, columns, out)
    elif table.matrix.code >= INT8:
        _look_up_integers(weights, table.matrix, row, columns, out)
    else:
        _look_up_floats(weights, table, row, columns, out)
