"""Looking up a row of the embedding: a move under the rules, plus a conversion where the row is stored narrow."""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .charge import CONVERT, charge
from .formats import BFLOAT16, BITS, FLOAT16, FLOAT32, ITEM_BYTES
from .jit import kernel
from .lanes import LANES, element_pointer
from .product import ACTIVATION_BITS

_F32 = ir.FloatType()


class Table(NamedTuple):
    """Where the embedding lies: all int64, offset in bytes."""

    offset: int
    code: int  # format of the weights
    columns: int
    packed: int  # 1: packed in row blocks (shared with the softmax), 0: row-major


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
def lookup_cost(meter, table, columns):
    """Cost law of ``lookup``: the move is free under the rules; a 16-bit row is converted, one conversion a number."""
    if BITS[table.code] != ACTIVATION_BITS:
        charge(meter, CONVERT, BITS[table.code], ACTIVATION_BITS, columns)


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
    lookup_cost(meter, table, columns[1] - columns[0])
    item = ITEM_BYTES[table.code]
    if table.packed:
        start = table.offset + ((row // LANES) * table.columns * LANES + row % LANES) * item
        step = LANES * item
    else:
        start = table.offset + row * table.columns * item
        step = item
    for j in range(columns[0], columns[1]):
        if table.code == FLOAT32:
            out[j] = _read_float32(weights, start + j * step)
        elif table.code == FLOAT16:
            out[j] = _read_float16(weights, start + j * step)
        else:
            out[j] = _read_bfloat16(weights, start + j * step)
