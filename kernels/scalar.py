"""One stored weight at a time, for what is not worth sixteen lanes."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .formats import BFLOAT16, FLOAT16, FLOAT32, INT4, INT8
from .jit import kernel
from .lanes import element_pointer

_F32 = ir.FloatType()


def _stored_scalar(code: int) -> Any:
    @intrinsic
    def read(typingctx: Any, weights: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = element_pointer(builder, context, signature.args[0], arguments[0], arguments[1], 1)
            if code == FLOAT32:
                return builder.load(pointer, align=2)
            half = builder.load(builder.bitcast(pointer, ir.IntType(16).as_pointer()), align=2)
            if code == FLOAT16:
                return builder.fpext(builder.bitcast(half, ir.HalfType()), _F32)
            wide = builder.shl(builder.zext(half, ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
            return builder.bitcast(wide, _F32)

        return types.float32(weights, types.int64), codegen

    return read


_read_float32, read_float16, _read_bfloat16 = (_stored_scalar(code) for code in (FLOAT32, FLOAT16, BFLOAT16))


@kernel
def float_at(weights, code, at):
    """The floating-point weight at byte ``at``, as float32."""
    if code == FLOAT32:
        return _read_float32(weights, at)
    if code == FLOAT16:
        return read_float16(weights, at)
    return _read_bfloat16(weights, at)


@kernel
def integer_at(weights, matrix, at, shift, bias):
    """The integer at bit ``shift`` of byte ``at``, less a field's bias; from the matrix's code book if it has one."""
    if matrix.code == INT8:
        return np.int8(weights[at] ^ np.uint8(bias))
    half = ((weights[at] >> shift) ^ bias) & 15
    if matrix.code == INT4:
        return np.int8(half ^ 8) - 8  # two's complement of half a byte
    return np.int8(weights[matrix.book_offset + half])
