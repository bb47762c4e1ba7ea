"""Register tiles: row blocks x tokens of a matrix product, the one place where the inner loop is written out.

A packed matrix is a sequence of blocks of 16 rows, each a sequence of units (``decode.py``). A tile multiplies
``blocks`` neighbouring row blocks with ``tokens`` vectors and keeps all ``blocks * tokens`` accumulators in registers.
For float32 inputs, output row r of token t is

    acc = fma(w[r, j], x[t, j], acc)    for j = 0 .. K - 1, from acc = 0

one lane a row, in that order whatever the tile's shape: that is why a token alone and a token in a block get the same
bits. For 8-bit inputs the sum is one of integers, exact in 32 bits in any order and however it is put together. Weights
with scales are summed so group by group of columns, and the sums put together in the order of the groups:

    out = fma(acc[g], scale[r, g], out);  out = fma(offset[r, g], sum of x[t] over g, out)    for g = 0 .. G - 1

then multiplied by the inputs' own scale if these are 8-bit.

Enough accumulators hide the latency of fma and reuse each loaded weight: where registers hold 16 lanes (AVX-512),
24 for 3 row blocks and 8 tokens, and up to 8 row blocks at once for a single vector; elsewhere what fits: see
``tile_shape.py``.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .accumulator import OverflowCounter
from .decode import (
    BOOK,
    PAIRS,
    all_lanes,
    columns_of_unit,
    every_lane,
    load_column,
    load_pairs,
    multiply_add_pairs,
    nested_pairs,
    products_of_pairs,
)
from .formats import CODEBOOK4, FIELD_BIAS, NAMES, SCALE_BYTES, UNIT_BYTES, UNIT_COLUMNS, is_integer
from .lanes import LANES, splat, vector_fma
from .matrix import EXACT
from .prefetch import emit_prefetch
from .tile_shape import NO_ADDRESS, Tile, TileKind

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_F32 = ir.FloatType()
_FLOATS = ir.VectorType(_F32, LANES)
_INTS = ir.VectorType(_I32, LANES)


class _Emitter:
    """Writes the LLVM function of one tile: Tile's fields are its arguments, and how many tokens are real ones."""

    def __init__(self, module: Any, kind: TileKind) -> None:
        self.blocks, self.tokens, self.code, self.integer_inputs, self.overflow = kind
        self.scaled = is_integer(self.code)
        self.lazy = self.scaled and not self.integer_inputs
        self.nested = self.integer_inputs and self.overflow == EXACT and FIELD_BIAS[self.code] != 0
        inputs = "integer" if self.integer_inputs else "float"
        name = f"tile_{self.blocks}x{self.tokens}_{NAMES[self.code]}_{inputs}_{self.overflow}"
        self.function = module.globals.get(name)
        if self.function is None:
            signature = ir.FunctionType(_I64, [_I64] * (len(Tile._fields) + 1))
            self.function = ir.Function(module, signature, name)
            self.function.linkage = "internal"
            # Never inlined: what surrounds a call could otherwise take registers away from the accumulators.
            self.function.attributes.add("noinline")
            self._emit()

    def _at(self, *terms: Any, kind: Any = _F32) -> Any:
        address = terms[0]
        for term in terms[1:]:
            address = self.builder.add(address, term)
        return self.builder.inttoptr(address, kind.as_pointer())

    def _times(self, factor: int, value: Any) -> Any:
        return self.builder.mul(ir.Constant(_I64, factor), value)

    def _emit(self) -> None:
        entry, group_loop, unit_loop, group_end, done = (
            self.function.append_basic_block(label) for label in ("entry", "group", "unit", "group_end", "done")
        )
        self.builder = builder = ir.IRBuilder(entry)
        self.tile = tile = Tile(*self.function.args[:-1])
        self.counter = None if self.overflow == EXACT else OverflowCounter(builder, self.overflow, tile.accumulator)
        columns, item = UNIT_COLUMNS[self.code], 2 if self.integer_inputs else 4
        units = builder.udiv(builder.add(tile.columns, ir.Constant(_I64, columns - 1)), ir.Constant(_I64, columns))
        group_weights = self._times(UNIT_BYTES[self.code], units)
        group_inputs = self._times(item, tile.columns)
        self.ahead = [self._ahead(b) for b in range(self.blocks if self.tokens == 1 and self.scaled else 0)]
        self.book = None
        if self.code == CODEBOOK4:
            self.book = builder.load(self._at(tile.book, kind=BOOK), align=16)
        builder.branch(group_loop)

        builder.position_at_end(group_loop)
        self.group = group = builder.phi(_I64)
        group.add_incoming(ir.Constant(_I64, 0), entry)
        weights_at = builder.mul(group, group_weights)
        inputs_at = builder.mul(group, group_inputs)
        weights = [
            builder.add(builder.add(tile.weights, weights_at), self._times(b, tile.block_bytes))
            for b in range(self.blocks)
        ]
        asked = [builder.add(pointer, distance) for pointer, distance in zip(weights, self.ahead, strict=False)]
        inputs = [
            builder.add(builder.add(tile.inputs, inputs_at), self._times(t, tile.input_bytes))
            for t in range(self.tokens)
        ]
        first = [self._start(t) for t in range(self.tokens)]
        builder.branch(unit_loop)

        builder.position_at_end(unit_loop)
        unit = builder.phi(_I64)
        unit.add_incoming(ir.Constant(_I64, 0), group_loop)
        vector = _INTS if self.integer_inputs else _FLOATS
        start = [[builder.phi(vector) for _ in range(self.tokens)] for _ in range(self.blocks)]
        sums = [list(row) for row in start]
        weight_at = self._times(UNIT_BYTES[self.code], unit)
        input_at = self._times(item * columns, unit)
        # All weights first, then one input at a time: the other way round, 8 inputs and 24 accumulators leave no
        # register.
        steps = [self._weights_of_unit(builder.add(pointer, weight_at)) for pointer in weights]
        if self.tokens > 1:
            read = builder.add(weights_at, weight_at)
            share = builder.lshr(builder.mul(read, tile.pace), ir.Constant(_I64, 8))
            emit_prefetch(builder, builder.add(builder.add(tile.weights, tile.ahead), share))
        elif self.scaled:
            for pointer in asked:
                emit_prefetch(builder, builder.add(pointer, weight_at))
        step_bytes = item * columns // len(steps[0])
        for step in range(len(steps[0])):
            pieces = [row[step]() if self.lazy else row[step] for row in steps]
            for t in range(self.tokens):
                x = self._input(builder.add(builder.add(inputs[t], input_at), ir.Constant(_I64, step_bytes * step)))
                for b in range(self.blocks):
                    sums[b][t] = self._accumulate(pieces[b], x, sums[b][t], (b, t))
        for block, after_block in zip(start, sums, strict=True):
            for before, value, after in zip(block, first, after_block, strict=True):
                before.add_incoming(value, group_loop)
                before.add_incoming(after, unit_loop)
        following = builder.add(unit, ir.Constant(_I64, 1))
        unit.add_incoming(following, unit_loop)
        builder.cbranch(builder.icmp_signed("<", following, units), unit_loop, group_end)

        builder.position_at_end(group_end)
        following = builder.add(group, ir.Constant(_I64, 1))
        self.is_last = builder.icmp_signed(">=", following, tile.groups)
        for b in range(self.blocks):
            for t in range(self.tokens):
                self._finish_group(sums[b][t], b, t)
        group.add_incoming(following, builder.block)
        builder.cbranch(self.is_last, done, group_loop)

        builder.position_at_end(done)
        builder.ret(self._overflows(self.counter) if self.counter else ir.Constant(_I64, 0))

    def _ahead(self, block: int) -> Any:
        """How far ahead of a row block's weights some are asked for: what lies behind the thread's end is elsewhere."""
        builder, tile = self.builder, self.tile
        asked = builder.add(builder.add(tile.weights, self._times(block, tile.block_bytes)), tile.ahead)
        is_behind = builder.icmp_unsigned(">=", asked, tile.end)
        return builder.add(tile.ahead, builder.select(is_behind, tile.jump, ir.Constant(_I64, 0)))

    def _overflows(self, counter: OverflowCounter) -> Any:
        """Overflows of the real rows, whose scales are not zero, and of the real tokens."""
        words, places = ir.VectorType(_I16, LANES), []
        for block in range(self.blocks):
            address = self._at(
                self.tile.weights, self._times(block, self.tile.block_bytes), self.tile.scales, kind=words
            )
            scales = self.builder.load(address, align=2)
            places.append(self.builder.icmp_unsigned("!=", scales, ir.Constant(words, None)))
        return counter.total(places, self.function.args[-1])

    def _start(self, token: int) -> Any:
        """What a token's sums over a group begin with."""
        if not self.nested:
            return ir.Constant(_INTS if self.integer_inputs else _FLOATS, None)
        address = self._at(
            self.tile.starts, self._times(token, self.tile.start_bytes), self._times(4, self.group), kind=_I32
        )
        return every_lane(self.builder, _INTS, self.builder.load(address, align=4))

    def _weights_of_unit(self, address: Any) -> list[Any]:
        """Weights of a unit, in the pieces that meet one input each; columns of integers: what makes them."""
        if self.lazy:
            return columns_of_unit(self.builder, self._at(address), self.code, self.book)
        if self.nested:
            return nested_pairs(self.builder, self._at(address), self.code)
        if not self.scaled:
            return [load_column(self.builder, self._at(address), self.code)]
        return load_pairs(self.builder, self._at(address), self.code, self.book)

    def _input(self, address: Any) -> Any:
        """A token's float32 input, or its pair of 16-bit ones, in every lane."""
        if not self.integer_inputs:
            return splat(self.builder, self.builder.load(self._at(address), align=4))
        pair = self.builder.load(self._at(address, kind=_I32), align=4)
        return self.builder.bitcast(every_lane(self.builder, _INTS, pair), PAIRS)

    def _accumulate(self, weights: Any, x: Any, sums: Any, place: tuple[int, int]) -> Any:
        if self.counter:
            for product in products_of_pairs(self.builder, weights, x):
                sums = self.counter.limited(self.builder.add(sums, product), place)
            return sums
        if self.integer_inputs:
            return multiply_add_pairs(self.builder, weights, x, sums)
        return vector_fma(self.builder, weights, x, sums)

    def _finish_group(self, total: Any, block: int, token: int) -> None:
        """Put a group's sums into the outputs of a row block and a token."""
        builder, tile = self.builder, self.tile
        place = self._at(
            tile.out,
            self._times(token, tile.out_bytes),
            ir.Constant(_I64, 4 * LANES * block),
            kind=_FLOATS,
        )
        if self.scaled:
            total = self._scaled(total, place, block, token)
        builder.store(total, place, align=4)

    def _scaled(self, total: Any, place: Any, block: int, token: int) -> Any:
        builder, tile = self.builder, self.tile
        if self.integer_inputs:
            total = builder.sitofp(total, _FLOATS)
        scales = builder.add(builder.add(tile.weights, self._times(block, tile.block_bytes)), tile.scales)
        at_group = self._times(LANES * SCALE_BYTES, self.group)
        self._ask(builder.add(scales, at_group), block)
        is_first = builder.icmp_signed("==", self.group, ir.Constant(_I64, 0))
        before = builder.select(is_first, all_lanes(_FLOATS, 0.0), builder.load(place, align=4))
        total = vector_fma(builder, total, self._half_lanes(builder.add(scales, at_group)), before)
        with_offsets = builder.icmp_signed("!=", tile.sums, ir.Constant(_I64, NO_ADDRESS))
        result = cgutils.alloca_once_value(builder, total)
        with builder.if_then(with_offsets):
            offsets = builder.add(scales, self._times(LANES * SCALE_BYTES, tile.groups))
            sums = builder.add(tile.sums, self._times(token, tile.sum_bytes))
            x = builder.load(self._at(sums, self._times(4, self.group)), align=4)
            self._ask(builder.add(offsets, at_group), block)
            offset = self._half_lanes(builder.add(offsets, at_group))
            builder.store(vector_fma(builder, offset, splat(builder, x), total), result)
        total = builder.load(result)
        if not self.integer_inputs:
            return total
        scale = builder.load(self._at(tile.input_scales, ir.Constant(_I64, 4 * token)), align=4)
        scale = builder.select(self.is_last, scale, ir.Constant(_F32, 1.0))
        return builder.fmul(total, splat(builder, scale))

    def _ask(self, address: Any, block: int) -> None:
        """Ask for what lies as far ahead of scales or offsets as what is asked for ahead of the weights."""
        if self.ahead:
            emit_prefetch(self.builder, self.builder.add(address, self.ahead[block]))

    def _half_lanes(self, address: Any) -> Any:
        halves = self.builder.load(self._at(address, kind=ir.VectorType(ir.HalfType(), LANES)), align=2)
        return self.builder.fpext(halves, _FLOATS)


def make_tile(kind: TileKind) -> Any:
    """The intrinsic that computes one tile, ``tile(Tile, real tokens)``; it returns overflows (int64)."""

    @intrinsic
    def tile(typingctx: Any, work: Any, real: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            fields = cgutils.unpack_tuple(builder, arguments[0])
            return builder.call(_Emitter(builder.module, kind).function, [*fields, arguments[1]])

        return types.int64(work, types.int64), codegen

    return tile
