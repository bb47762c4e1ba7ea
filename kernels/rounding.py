"""Intrinsics on lanes for inputs of fewer bits: the largest magnitude, rounding to float16, rounding to integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .lanes import LANES, element_pointer, float32x16

_I16, _I32 = ir.IntType(16), ir.IntType(32)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_HALVES = ir.VectorType(ir.HalfType(), LANES)
_BITS = ir.VectorType(_I32, LANES)
_WORDS = ir.VectorType(_I16, LANES)

# Adding this to a number below 2**15 in magnitude rounds it to the nearest whole number, ties to even, which then
# stands in the sum's lowest 16 bits.
ROUNDER = np.float32(1.5 * 2**23)


def _magnitude_bits(builder: Any, lanes: Any) -> Any:
    return builder.and_(builder.bitcast(lanes, _BITS), ir.Constant(_BITS, [0x7FFFFFFF] * LANES))


@intrinsic
def larger_magnitude(typingctx: Any, a: Any, b: Any) -> Any:
    """The larger of |a| and |b|. Their bits are compared, among which NaN is above everything: it is never lost."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b = (_magnitude_bits(builder, lanes) for lanes in arguments)
        return builder.bitcast(builder.select(builder.icmp_unsigned(">", a, b), a, b), _VECTOR)

    return float32x16(float32x16, float32x16), codegen


@intrinsic
def largest_magnitude(typingctx: Any, lanes: Any) -> Any:
    """The largest of the sixteen magnitudes, as a float32 scalar; NaN if any is NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        reduce = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_I32, [_BITS]), f"llvm.vector.reduce.umax.v{LANES}i32"
        )
        return builder.bitcast(builder.call(reduce, [_magnitude_bits(builder, arguments[0])]), ir.FloatType())

    return types.float32(float32x16), codegen


@intrinsic
def round_to_half(typingctx: Any, lanes: Any) -> Any:
    """The lanes rounded to float16, ties to even, as float32."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.fptrunc(arguments[0], _HALVES), _VECTOR)

    return float32x16(float32x16), codegen


@intrinsic
def store_rounded(typingctx: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Write to ``array[index : index + 16]`` (int16, modified in place) the integers of lanes with ROUNDER added."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words = builder.trunc(builder.bitcast(arguments[2], _BITS), _WORDS)
        pointer = element_pointer(builder, context, signature.args[0], arguments[0], arguments[1], 2)
        builder.store(words, builder.bitcast(pointer, _WORDS.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(array, types.int64, float32x16), codegen
