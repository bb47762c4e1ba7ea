"""From the numbers that a pruned matrix keeps to sixteen columns: the LLVM code that spreads them by a mask.

The numbers of sixteen columns of a row lie one after the other, as many as their mask has bits; they are widened and
then moved, in registers, to the lanes of their columns. The other lanes are zero. AVX-512 has an instruction for that;
without it the columns are two halves of eight.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .decode import all_lanes, every_lane, look_up
from .formats import BFLOAT16, CODEBOOK4, FLOAT16, FLOAT32, INT8, ITEM_BYTES
from .isa import has_feature

HALF = 8  # columns whose numbers are widened and moved at once

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_INTS = ir.VectorType(_I32, HALF)
_BYTES = ir.VectorType(_I8, 4 * HALF)


def load_half(builder: Any, pointer: Any, first: Any, code: int, book: Any) -> Any:
    """Eight neighbouring numbers of a format, from number ``first`` (i64) behind a byte pointer, as wide lanes.

    Floating-point formats give ``<8 x float>``, integer ones ``<8 x i32>``. Up to 16 numbers are read.
    """
    if code in (FLOAT32, FLOAT16, BFLOAT16):
        distance = builder.mul(first, ir.Constant(_I64, ITEM_BYTES[code]))
        return _floats(builder, _at(builder, pointer, distance), code, HALF)
    if code == INT8:
        kind = ir.VectorType(_I8, HALF)
        stored = builder.load(builder.bitcast(_at(builder, pointer, first), kind.as_pointer()), align=1)
        return builder.sext(stored, _INTS)
    both = builder.load(builder.bitcast(pointer, _I64.as_pointer()), align=1)
    word = builder.trunc(builder.lshr(both, builder.shl(first, ir.Constant(_I64, 2))), _I32)
    high = builder.shl(every_lane(builder, _INTS, word), ir.Constant(_INTS, [28 - 4 * n for n in range(HALF)]))
    if code != CODEBOOK4:
        return builder.ashr(high, all_lanes(_INTS, 28))
    indices = builder.bitcast(builder.lshr(high, all_lanes(_INTS, 28)), _BYTES)
    entries = builder.bitcast(look_up(builder, book, indices), _INTS)
    return builder.ashr(builder.shl(entries, all_lanes(_INTS, 24)), all_lanes(_INTS, 24))


def load_segment(builder: Any, pointer: Any, code: int, book: Any) -> Any:
    """Sixteen neighbouring numbers of a format, as wide lanes."""
    if code in (FLOAT32, FLOAT16, BFLOAT16):
        return _floats(builder, pointer, code, 2 * HALF)
    halves = [load_half(builder, pointer, ir.Constant(_I64, first), code, book) for first in (0, HALF)]
    return _joined(builder, *halves)


def expanded(builder: Any, pointer: Any, mask: Any, code: int, book: Any) -> tuple[Any, Any]:
    """Sixteen columns by their mask (i64, 16 bits), zero where it is, and how many numbers it takes (i64)."""
    counter = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_I64, [_I64]), "llvm.ctpop.i64")
    count = builder.call(counter, [mask])
    if has_feature("avx512f"):
        return _expanded_at_once(builder, load_segment(builder, pointer, code, book), mask), count
    low_mask = builder.and_(mask, ir.Constant(_I64, 255))
    low = load_half(builder, pointer, ir.Constant(_I64, 0), code, book)
    high = load_half(builder, pointer, builder.call(counter, [low_mask]), code, book)
    high_mask = builder.lshr(mask, ir.Constant(_I64, HALF))
    return _joined(builder, spread(builder, low, low_mask), spread(builder, high, high_mask)), count


def _joined(builder: Any, low: Any, high: Any) -> Any:
    return builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(_I32, 2 * HALF), [*range(2 * HALF)]))


def _expanded_at_once(builder: Any, numbers: Any, mask: Any) -> Any:
    """Sixteen lanes by one instruction of AVX-512, vpexpandd."""
    words = ir.VectorType(_I32, 2 * HALF)
    bits = ir.VectorType(ir.IntType(1), 2 * HALF)
    expand = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(words, [words, words, bits]), "llvm.x86.avx512.mask.expand.v16i32"
    )
    lanes = builder.bitcast(builder.trunc(mask, _I16), bits)
    moved = builder.call(expand, [builder.bitcast(numbers, words), ir.Constant(words, None), lanes])
    return builder.bitcast(moved, numbers.type)


def _at(builder: Any, pointer: Any, distance: Any) -> Any:
    return builder.gep(pointer, [distance])


def _floats(builder: Any, pointer: Any, code: int, lanes: int) -> Any:
    floats, ints = ir.VectorType(ir.FloatType(), lanes), ir.VectorType(_I32, lanes)
    if code == FLOAT32:
        return builder.load(builder.bitcast(pointer, floats.as_pointer()), align=1)
    raw = builder.load(builder.bitcast(pointer, ir.VectorType(_I16, lanes).as_pointer()), align=1)
    if code == FLOAT16:
        return builder.fpext(builder.bitcast(raw, ir.VectorType(ir.HalfType(), lanes)), floats)
    return builder.bitcast(builder.shl(builder.zext(raw, ints), all_lanes(ints, 16)), floats)


def spread(builder: Any, numbers: Any, mask: Any) -> Any:
    """Move number n of eight to the lane of the mask's (i64, 8 bits) n-th bit that is set; zero elsewhere."""
    words = builder.bitcast(numbers, _INTS)
    moved = _permuted(builder, words, mask) if has_feature("avx2") else _picked(builder, words, mask)
    lanes = every_lane(builder, _INTS, builder.trunc(mask, _I32))
    own = builder.and_(lanes, ir.Constant(_INTS, [1 << n for n in range(HALF)]))
    kept = builder.select(builder.icmp_unsigned("!=", own, all_lanes(_INTS, 0)), moved, all_lanes(_INTS, 0))
    return builder.bitcast(kept, numbers.type)


def _permuted(builder: Any, words: Any, mask: Any) -> Any:
    """One permutation, by a table of the sources of every lane under every mask."""
    rows = ir.ArrayType(ir.ArrayType(_I8, HALF), 1 << HALF)
    name = "sources_of_lanes"
    table = builder.module.globals.get(name)
    if table is None:
        below = [[(m & ((1 << n) - 1)).bit_count() for n in range(HALF)] for m in range(1 << HALF)]
        table = cgutils.global_constant(builder.module, name, ir.Constant(rows, below))
    row = builder.gep(table, [ir.Constant(_I64, 0), mask, ir.Constant(_I64, 0)])
    kind = ir.VectorType(_I8, HALF)
    sources = builder.zext(builder.load(builder.bitcast(row, kind.as_pointer()), align=1), _INTS)
    permute = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_INTS, [_INTS, _INTS]), "llvm.x86.avx2.permd"
    )
    return builder.call(permute, [words, sources])


def _picked(builder: Any, words: Any, mask: Any) -> Any:
    """The portable twin: each lane's number by itself."""
    count = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_I64, [_I64]), "llvm.ctpop.i64")
    moved = ir.Constant(_INTS, ir.Undefined)
    for n in range(HALF):
        source = builder.call(count, [builder.and_(mask, ir.Constant(_I64, (1 << n) - 1))])
        number = builder.extract_element(words, builder.trunc(source, _I32))
        moved = builder.insert_element(moved, number, ir.Constant(_I32, n))
    return moved
