"""Looking up a row of the embedding: a move under the rules, plus what makes float32 of a row that is stored narrow."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .charge import ADD, CONVERT, MULTIPLY, charge
from .formats import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    INT4,
    INT8,
    ITEM_BYTES,
    OPERAND_BITS,
    SCALE_BITS,
    SCALE_BYTES,
)
from .jit import kernel
from .lanes import LANES, element_pointer
from .matrix import FLOAT_BITS, Matrix, groups_of
from .packing import integer_place

_F32 = ir.FloatType()


class Table(NamedTuple):
    """Where the embedding lies."""

    matrix: Matrix
    packed: int  # 1: in row blocks, as for a product; 0: row-major, floating-point formats only


def _stored_scalar(code: int) -> Any:
    @intrinsic
    def read(typingctx: Any, weights: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = element_pointer(builder, context, signature.args[0], arguments[0], arguments[1], 1)
            if code == FLOAT32:
                return builder.load(pointer, align=4)
            half = builder.load(builder.bitcast(pointer, ir.IntType(16).as_pointer()), align=2)
            if code == FLOAT16:
                return builder.fpext(builder.bitcast(half, ir.HalfType()), _F32)
            wide = builder.shl(builder.zext(half, ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
            return builder.bitcast(wide, _F32)

        return types.float32(weights, types.int64), codegen

    return read


_read_float32, _read_float16, _read_bfloat16 = (_stored_scalar(code) for code in (FLOAT32, FLOAT16, BFLOAT16))


@kernel
def lookup_cost(meter, matrix, columns):
    """Cost law of ``lookup``: the move is free under the rules; what is stored narrow is widened.

    For each number a conversion, where it is not float32; for integers a multiply by the scale, and an add of the
    offset where there is one.
    """
    if matrix.code != FLOAT32:
        charge(meter, CONVERT, OPERAND_BITS[matrix.code], FLOAT_BITS, columns)
    if matrix.code >= INT8:
        charge(meter, MULTIPLY, SCALE_BITS, FLOAT_BITS, columns)
        if matrix.has_offsets:
            charge(meter, ADD, FLOAT_BITS, SCALE_BITS, columns)


@kernel
def _integer(weights, matrix, row, j):
    """The integer that a packed matrix holds at ``row`` and column ``j``, from its code book if it has one."""
    at, shift = integer_place(matrix, row % LANES, j)
    at += matrix.offset + row // LANES * matrix.block_bytes
    if matrix.code == INT8:
        return np.int8(weights[at])
    half = (weights[at] >> shift) & 15
    if matrix.code == INT4:
        return np.int8(half ^ 8) - 8  # two's complement of half a byte
    return np.int8(weights[matrix.book_offset + half])


@kernel
def _look_up_integers(weights, matrix, row, columns, out):
    groups = groups_of(matrix)
    scales = matrix.offset + row // LANES * matrix.block_bytes + matrix.scales_at + row % LANES * SCALE_BYTES
    for j in range(columns[0], columns[1]):
        at = scales + j // matrix.group * LANES * SCALE_BYTES
        value = _read_float16(weights, at) * np.float32(_integer(weights, matrix, row, j))
        if matrix.has_offsets:
            value += _read_float16(weights, at + groups * LANES * SCALE_BYTES)
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
        if matrix.code == FLOAT32:
            out[j] = _read_float32(weights, start + j * step)
        elif matrix.code == FLOAT16:
            out[j] = _read_float16(weights, start + j * step)
        else:
            out[j] = _read_bfloat16(weights, start + j * step)


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
    if table.matrix.code >= INT8:
        _look_up_integers(weights, table.matrix, row, columns, out)
    else:
        _look_up_floats(weights, table, row, columns, out)
