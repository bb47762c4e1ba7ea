"""Sixteen float32 lanes as a Numba type: the portable vector that every kernel is written in.

Numba's own loops will not keep a set of accumulators in registers. These intrinsics emit LLVM vector code
(``<16 x float>``), which LLVM lowers to one AVX-512 register, two of AVX2 or four of NEON. Every operation is the IEEE
one, applied lane by lane, so the bits do not depend on which of those it became.

An array argument is addressed by the index of an element; nothing is checked, as in C.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from .jit import inlined, name_apart

LANES = 16

_F32 = ir.FloatType()
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_VECTOR = ir.VectorType(_F32, LANES)
_BITS = ir.VectorType(_I32, LANES)


@inlined
def blocks_of(n):
    """Blocks of sixteen that ``n`` rows, positions or numbers take."""
    return (n + LANES - 1) // LANES


@inlined
def whole_lanes(n):
    """``n`` rounded up to whole lanes."""
    return (n + LANES - 1) // LANES * LANES


class Float32x16(types.Type):
    """The Numba type of sixteen float32 lanes."""

    def __init__(self) -> None:
        super().__init__(name="Float32x16")


float32x16 = Float32x16()


@register_model(Float32x16)
class _Float32x16Model(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _VECTOR)


def element_pointer(builder: Any, context: Any, array_type: Any, array: Any, index: Any, itemsize: int) -> Any:
    """Pointer to element ``index`` (an i64 value) of an array, ``itemsize`` bytes each."""
    data = context.make_array(array_type)(context, builder, array).data
    address = builder.ptrtoint(data, _I64)
    return builder.inttoptr(builder.add(address, builder.mul(index, ir.Constant(_I64, itemsize))), _F32.as_pointer())


def splat(builder: Any, scalar: Any) -> Any:
    """``scalar`` in every lane."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_BITS, [0] * LANES))


def _call(builder: Any, name: str, arguments: list[Any]) -> Any:
    function_type = ir.FunctionType(_VECTOR, [_VECTOR] * len(arguments))
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def vector_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c with one rounding, lane by lane."""
    return _call(builder, "llvm.fma.v16f32", [a, b, c])


@intrinsic
def address(typingctx: Any, array: Any) -> Any:
    """Address of an array's first element: int64."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(data, _I64)

    return types.int64(array), codegen


@intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """Lanes from ``array[index : index + 16]`` (float32)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = element_pointer(builder, context, signature.args[0], arguments[0], arguments[1], 4)
        return builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)

    return float32x16(array, types.int64), codegen


@intrinsic
def store(typingctx: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Write the lanes to ``array[index : index + 16]`` (float32, modified in place)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = element_pointer(builder, context, signature.args[0], arguments[0], arguments[1], 4)
        builder.store(arguments[2], builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, float32x16), codegen


@intrinsic
def broadcast(typingctx: Any, scalar: Any) -> Any:
    """The float32 ``scalar`` in every lane."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return splat(builder, arguments[0])

    return float32x16(types.float32), codegen


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c with one rounding."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return vector_fma(builder, *arguments)

    return float32x16(float32x16, float32x16, float32x16), codegen


@intrinsic
def maximum(typingctx: Any, a: Any, b: Any) -> Any:
    """The larger of a and b; b where either is not a number."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b = arguments
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    return float32x16(float32x16, float32x16), codegen


@intrinsic
def minimum(typingctx: Any, a: Any, b: Any) -> Any:
    """The smaller of a and b; b where either is not a number."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b = arguments
        return builder.select(builder.fcmp_ordered("<", a, b), a, b)

    return float32x16(float32x16, float32x16), codegen


@intrinsic
def where_less(typingctx: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
    """``then`` where a < b, else ``otherwise`` (also where either is not a number)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, then, otherwise = arguments
        return builder.select(builder.fcmp_ordered("<", a, b), then, otherwise)

    return float32x16(float32x16, float32x16, float32x16, float32x16), codegen


@intrinsic
def keep_nan(typingctx: Any, source: Any, value: Any) -> Any:
    """``value``, but ``source`` where ``source`` is not a number: bit tricks must not launder a NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, value = arguments
        return builder.select(builder.fcmp_unordered("uno", source, source), source, value)

    return float32x16(float32x16, float32x16), codegen


@intrinsic
def add_to_exponent(typingctx: Any, value: Any, shifted: Any) -> Any:
    """value * 2**n, where ``shifted`` is n + 1.5 * 2**23, so that n stands in its lowest bits.

    Exact while the result stays in the range of normal numbers.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], _BITS)
        steps = builder.shl(builder.bitcast(arguments[1], _BITS), ir.Constant(_BITS, [23] * LANES))
        return builder.bitcast(builder.add(bits, steps), _VECTOR)

    return float32x16(float32x16, float32x16), codegen


@intrinsic
def magnitude(typingctx: Any, value: Any) -> Any:
    """The absolute value (clears the sign bit)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.and_(builder.bitcast(arguments[0], _BITS), ir.Constant(_BITS, [0x7FFFFFFF] * LANES))
        return builder.bitcast(bits, _VECTOR)

    return float32x16(float32x16), codegen


@intrinsic
def with_sign_of(typingctx: Any, value: Any, sign: Any) -> Any:
    """The magnitude of ``value`` with the sign bit of ``sign``."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = builder.and_(builder.bitcast(arguments[0], _BITS), ir.Constant(_BITS, [0x7FFFFFFF] * LANES))
        sign = builder.and_(builder.bitcast(arguments[1], _BITS), ir.Constant(_BITS, [0x80000000] * LANES))
        return builder.bitcast(builder.or_(value, sign), _VECTOR)

    return float32x16(float32x16, float32x16), codegen


def _lane_operator(python_operator: Any, method: str) -> None:
    @intrinsic
    def apply(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, method)(*arguments)

        return float32x16(float32x16, float32x16), codegen

    def lanes(a, b):
        return apply(a, b)

    name_apart(lanes, method)

    @overload(python_operator)
    def operate(a, b):
        return lanes if isinstance(a, Float32x16) and isinstance(b, Float32x16) else None


for _operator, _method in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _lane_operator(_operator, _method)
