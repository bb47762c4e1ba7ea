"""From stored weights to numbers in registers: the LLVM code that widens one unit of sixteen rows.

A unit of a floating-point format is one column, ``<16 x float>``. A unit of an integer format is a 32-bit word a row,
with four 8-bit or eight 4-bit columns; column j lies in its half j % 2, at bit ``bits * (j // 2)`` of that half. So the
halves of a word, shifted alike, are columns 2 i and 2 i + 1 as two 16-bit integers side by side: what a multiply-add of
pairs of such integers wants (vpmaddwd, and vpdpwssd where the CPU has VNNI), and no lane is crossed on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .formats import (
    BFLOAT16,
    CODEBOOK4,
    CODEBOOK_ENTRIES,
    FIELD_BIAS,
    FLOAT16,
    FLOAT32,
    STORED_BITS,
    UNIT_BYTES,
)
from .isa import has_feature
from .lanes import LANES, element_pointer, float32x16

_I8, _I16, _I32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(_I32, LANES)
_HALVES = ir.VectorType(_I16, LANES)
_BYTES = ir.VectorType(_I8, 4 * LANES)
PAIRS = ir.VectorType(_I16, 2 * LANES)
BOOK = ir.VectorType(_I8, CODEBOOK_ENTRIES)


def all_lanes(vector: Any, value: Any) -> Any:
    """``value`` in every lane."""
    return ir.Constant(vector, [value] * vector.count)


def every_lane(builder: Any, vector: Any, scalar: Any) -> Any:
    """A value that is known only when the code runs, in every lane."""
    empty = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count))


def load_column(builder: Any, pointer: Any, code: int) -> Any:
    """Sixteen stored floating-point weights as float32 lanes; exact for each of the formats."""
    if code == FLOAT32:
        return builder.load(builder.bitcast(pointer, _FLOATS.as_pointer()), align=4)
    raw = builder.load(builder.bitcast(pointer, _HALVES.as_pointer()), align=2)
    if code == FLOAT16:
        return builder.fpext(builder.bitcast(raw, ir.VectorType(ir.HalfType(), LANES)), _FLOATS)
    if code == BFLOAT16:
        return builder.bitcast(builder.shl(builder.zext(raw, _INTS), all_lanes(_INTS, 16)), _FLOATS)
    raise ValueError(f"no columns in weight format {code}")


def _lower_fields(code: int) -> Any:
    """The bias of all fields of a half but the highest one: what makes them signed."""
    bits = STORED_BITS[code]
    return all_lanes(PAIRS, sum(FIELD_BIAS[code] << bits * i for i in range(16 // bits - 1)))


def load_pairs(builder: Any, pointer: Any, code: int, book: Any) -> list[Any]:
    """The pairs of columns of one unit of an integer format, ``<32 x i16>`` each, in the order of the columns.

    ``book`` is the code book, ``<16 x i8>``, where the format has one.
    """
    raw = builder.load(builder.bitcast(pointer, PAIRS.as_pointer()), align=UNIT_BYTES[code])
    if code != CODEBOOK4:
        bits, raw = STORED_BITS[code], builder.xor(raw, _lower_fields(code))
        return [_field(builder, raw, bits, bits * i) for i in range(16 // bits)]
    # The low half bytes hold the indices of pairs 0 and 2, the high ones those of 1 and 3.
    even, odd = (
        builder.bitcast(
            look_up(builder, book, builder.and_(builder.bitcast(half, _BYTES), all_lanes(_BYTES, 15))), PAIRS
        )
        for half in (raw, builder.lshr(raw, all_lanes(PAIRS, 4)))
    )
    return [_field(builder, half, 8, at) for at in (0, 8) for half in (even, odd)]


def nested_pairs(builder: Any, pointer: Any, code: int) -> list[Any]:
    """The 16-bit halves of one unit, whole and shifted right by one field after the other: ``<32 x i16>`` each.

    Taking fields of b bits out one by one costs two shifts each. Here they stay nested: of a half whose highest field
    is signed and whose others are not,

        h[0] = f[0] + 2**b h[1],  h[1] = f[1] + 2**b h[2],  ...

    so that the sum of f[i] x[i] is the sum of h[i] (x[i] - 2**b x[i - 1]), one shift for each field but the first. The
    inputs are so prepared once for all rows (``inputs.py``), and the lower fields' bias is taken away with their sum.
    All this is exact modulo 2**32, and so the result is exact. Measured on one thread of a Zen 3 server, 512 columns in
    the cache, best of three runs of each way in turn: 32 GB/s of 8-bit weights instead of 28, 18 of 4-bit ones instead
    of 14.
    """
    raw = builder.load(builder.bitcast(pointer, PAIRS.as_pointer()), align=UNIT_BYTES[code])
    bits = STORED_BITS[code]
    return [builder.ashr(raw, all_lanes(PAIRS, bits * i)) if i else raw for i in range(16 // bits)]


def _field(builder: Any, words: Any, bits: int, at: int) -> Any:
    """Signed numbers of some bits that begin at bit ``at`` of 16-bit words."""
    above = 16 - bits - at
    high = builder.shl(words, all_lanes(PAIRS, above)) if above else words
    return builder.ashr(high, all_lanes(PAIRS, 16 - bits))


def has_float_table() -> bool:
    """Whether the CPU picks sixteen of sixteen floats at once."""
    return has_feature("avx512f")


def columns_of_unit(builder: Any, pointer: Any, code: int, book: Any) -> list[Callable[[], Any]]:
    """The columns of one unit of an integer format as float32 lanes, each made when its function is called."""
    if code == CODEBOOK4 and not has_float_table():
        pairs = load_pairs(builder, pointer, code, book)
        return [partial(_column_of_pairs, builder, pair, side) for pair in pairs for side in (0, 1)]
    raw = builder.load(builder.bitcast(pointer, _INTS.as_pointer()), align=UNIT_BYTES[code])
    halves, bits = (raw, builder.lshr(raw, all_lanes(_INTS, 16))), STORED_BITS[code]
    places = [(halves[j % 2], bits * (j // 2)) for j in range(32 // bits)]
    if code == CODEBOOK4:
        return [partial(_entry, builder, builder.sitofp(book, _FLOATS), *place) for place in places]
    # The highest field of a half is packed otherwise than the lower ones and would need a table of its own.
    has_table = bits == 4 and has_float_table()
    table = ir.Constant(_FLOATS, [float(number) for number in range(-8, 8)]) if has_table else None
    return [
        partial(_number, builder, code, words, at)
        if table is None or _is_highest(code, at)
        else partial(_entry, builder, table, words, at)
        for words, at in places
    ]


def _is_highest(code: int, at: int) -> bool:
    """Whether the field at a bit of a half of a word is its highest."""
    return at + STORED_BITS[code] == 16


def _column_of_pairs(builder: Any, pair: Any, side: int) -> Any:
    """The first or second column of ``<32 x i16>`` pairs as float32 lanes."""
    words = builder.bitcast(pair, _INTS)
    words = words if side else builder.shl(words, all_lanes(_INTS, 16))
    return builder.sitofp(builder.ashr(words, all_lanes(_INTS, 16)), _FLOATS)


def _entry(builder: Any, entries: Any, words: Any, at: int) -> Any:
    """Entries (``<16 x float>``) of a code book at the 4-bit indices that begin at a bit of 32-bit words.

    One permutation, which looks at no bits above the lowest four, and a shift. Measured on one thread of a Zen 4
    server, groups of 32 columns with offsets in the cache: 20.6 GB/s of 4-bit weights, and 15.3 by ``_number`` alone.
    """
    kind = ir.FunctionType(_FLOATS, [_FLOATS, _INTS])
    pick = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.permvar.sf.512")
    return builder.call(pick, [entries, builder.lshr(words, all_lanes(_INTS, at)) if at else words])


def _number(builder: Any, code: int, words: Any, at: int) -> Any:
    """The integers that begin at a bit of the lower halves of 32-bit words, as float32 lanes.

    The field is left where it is and becomes the lowest bits of a float's mantissa: with the exponent for which the
    field's lowest bit is worth 1, the float is 2**(23 - at) and the field's unsigned number, from which the former and
    the field's bias are taken away, exactly. An and with an exclusive or (one instruction of AVX-512) and a subtraction
    take the place of two shifts and a conversion, which fewer of a CPU's units can do.
    """
    bits = STORED_BITS[code]
    bias, one = 1 << bits - 1, 23 - at
    pattern = 127 + one << 23
    if _is_highest(code, at):  # the only one that was packed signed
        pattern ^= bias << at
    lanes = builder.and_(words, all_lanes(_INTS, (1 << bits) - 1 << at))
    number = builder.bitcast(builder.xor(lanes, all_lanes(_INTS, pattern)), _FLOATS)
    return builder.fsub(number, all_lanes(_FLOATS, float((1 << one) + bias)))


def look_up(builder: Any, book: Any, indices: Any) -> Any:
    """Entries of a 16-entry table, ``<16 x i8>``, at 32 or 64 8-bit indices 0 to 15, without touching memory."""
    if not has_feature("avx2"):
        return _select_entries(builder, book, indices)
    half = ir.VectorType(_I8, 32)
    shuffle = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(half, [half, half]), "llvm.x86.avx2.pshuf.b"
    )
    table = builder.shuffle_vector(book, book, ir.Constant(ir.VectorType(_I32, 32), [*range(CODEBOOK_ENTRIES)] * 2))
    if indices.type == half:
        return builder.call(shuffle, [table, indices])
    found = []
    for first in (0, 32):
        picked = ir.Constant(ir.VectorType(_I32, 32), [*range(first, first + 32)])
        found.append(builder.call(shuffle, [table, builder.shuffle_vector(indices, indices, picked)]))
    return builder.shuffle_vector(*found, ir.Constant(ir.VectorType(_I32, 64), [*range(64)]))


def _select_entries(builder: Any, book: Any, indices: Any) -> Any:
    """The portable twin of a byte shuffle: four rounds of choosing between two entries by one bit of the index."""
    kind = indices.type
    every = ir.VectorType(_I32, kind.count)
    entries = [builder.shuffle_vector(book, book, all_lanes(every, n)) for n in range(CODEBOOK_ENTRIES)]
    for bit in range(4):
        is_set = builder.icmp_unsigned("!=", builder.and_(indices, all_lanes(kind, 1 << bit)), all_lanes(kind, 0))
        entries = [builder.select(is_set, b, a) for a, b in zip(entries[::2], entries[1::2], strict=True)]
    return entries[0]


def products_of_pairs(builder: Any, weights: Any, inputs: Any) -> list[Any]:
    """Both products of each pair of 16-bit integers: ``<16 x i32>`` each, first columns first."""
    products = ir.VectorType(_I32, 2 * LANES)
    product = builder.mul(builder.sext(weights, products), builder.sext(inputs, products))
    return [
        builder.shuffle_vector(product, product, ir.Constant(_INTS, [2 * n + i for n in range(LANES)])) for i in (0, 1)
    ]


def multiply_add_pairs(builder: Any, weights: Any, inputs: Any, sums: Any) -> Any:
    """``sums`` + both products of each pair of 16-bit integers: ``<16 x i32>``, exact.

    LLVM knows this form: vpmaddwd and vpaddd on AVX2, vpdpwssd with VNNI, smull and addp on NEON.
    """
    even, odd = products_of_pairs(builder, weights, inputs)
    return builder.add(sums, builder.add(even, odd))


def _stored_lanes(code: int) -> Any:
    @intrinsic
    def load_stored(typingctx: Any, weights: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = element_pointer(builder, context, signature.args[0], arguments[0], arguments[1], 1)
            return load_column(builder, pointer, code)

        return float32x16(weights, types.int64), codegen

    return load_stored


load_float32 = _stored_lanes(FLOAT32)
load_float16 = _stored_lanes(FLOAT16)
load_bfloat16 = _stored_lanes(BFLOAT16)
