"""One row block of a pruned matrix times several vectors, by its mask: the inner loop for sparse weights.

Rows are walked in segments of 16 columns, of which those without any number are not stored (``sparse.py``). Lane l of a
row's accumulator sums the columns j with j % 16 = l, in their order; then the lanes are put together in a tree,

    a[l] + a[l + 8] for l < 8,    then l + 4, l + 2, l + 1

for float32 inputs with one rounding each; sums over 8-bit inputs are exact. The segments of sixteen rows are one run.
Where whole segments were pruned a row may have just a few, and a branch at its end would often be mispredicted: there
the accumulators are cleared by a mask when the row changes, stored after every segment, and the last store of a row
stands. Where a row has most of its segments they are stored, behind a branch, when it ends.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .decode import BOOK, every_lane
from .expand import HALF, load_half, spread
from .formats import CODEBOOK4, NAMES, SCALE_BYTES, STORED_BITS, is_integer
from .lanes import LANES, splat, vector_fma

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_F32 = ir.FloatType()
_FLOATS = ir.VectorType(_F32, LANES)
_INTS = ir.VectorType(_I32, LANES)
# A place of a segment: its row in the block above, its number in the row below.
ROW_SHIFT = 12
MAX_SEGMENTS = 1 << ROW_SHIFT


class SparseTile(NamedTuple):
    """One row block's work: int64 each, places as addresses and distances in bytes."""

    block: Any  # the block's data: scales if its format has any, places, masks if the blocks are narrow, numbers
    segments: Any
    inputs: Any  # first token's vector: float32, or int16 that hold 8-bit integers
    input_bytes: Any  # to the next token's
    out: Any  # first token's sixteen outputs, float32
    out_bytes: Any  # to the next token's
    input_scales: Any  # first token's scale, float32: integer inputs only
    book: Any  # 16 int8: code-book formats only


class SparseKind(NamedTuple):
    """What the code of a tile depends on."""

    tokens: int
    code: int
    integer_inputs: bool
    is_wide: bool  # segments are stored whole, without masks


class _Emitter:
    """Writes the LLVM function of one row block: SparseTile's fields are its arguments."""

    def __init__(self, module: Any, kind: SparseKind) -> None:
        self.kind, self.scaled = kind, is_integer(kind.code)
        self.vector = _INTS if kind.integer_inputs else _FLOATS
        name = "sparse_{}_{}_{}_{}".format(
            kind.tokens,
            NAMES[kind.code],
            "integer" if kind.integer_inputs else "float",
            "wide" if kind.is_wide else "narrow",
        )
        self.function = module.globals.get(name)
        if self.function is None:
            signature = ir.FunctionType(ir.VoidType(), [_I64] * len(SparseTile._fields))
            self.function = ir.Function(module, signature, name)
            self.function.linkage = "internal"
            self.function.attributes.add("noinline")
            self._emit()

    def _pointer(self, address: Any, kind: Any) -> Any:
        return self.builder.inttoptr(address, kind.as_pointer())

    def _times(self, factor: int, value: Any) -> Any:
        return self.builder.mul(ir.Constant(_I64, factor), value)

    def _word(self, address: Any) -> Any:
        """A 16-bit number at an address, as i64."""
        return self.builder.zext(self.builder.load(self._pointer(address, _I16), align=2), _I64)

    def _emit(self) -> None:
        entry, loop, done = (self.function.append_basic_block(label) for label in ("entry", "segment", "done"))
        self.builder = builder = ir.IRBuilder(entry)
        self.tile = tile = SparseTile(*self.function.args)
        tokens = self.kind.tokens
        # A row more than there are: what is stored before the first one.
        self.rows = builder.alloca(self.vector, tokens * (LANES + 1))
        zero, no_row = ir.Constant(self.vector, None), ir.Constant(_I64, LANES)
        for row in range(LANES):
            self._store_sums([zero] * tokens, ir.Constant(_I64, row))
        self.book = None
        if self.kind.code == CODEBOOK4:
            self.book = builder.load(self._pointer(tile.book, BOOK), align=16)
        places = builder.add(tile.block, ir.Constant(_I64, LANES * SCALE_BYTES if self.scaled else 0))
        masks = builder.add(places, self._times(2, tile.segments))
        numbers = masks if self.kind.is_wide else builder.add(masks, self._times(2, tile.segments))
        builder.cbranch(builder.icmp_signed(">", tile.segments, ir.Constant(_I64, 0)), loop, done)

        builder.position_at_end(loop)
        segment, at, row = (builder.phi(_I64) for _ in range(3))
        start = [builder.phi(self.vector) for _ in range(tokens)]
        place = self._word(builder.add(places, self._times(2, segment)))
        this_row = builder.lshr(place, ir.Constant(_I64, ROW_SHIFT))
        column = self._times(LANES, builder.and_(place, ir.Constant(_I64, MAX_SEGMENTS - 1)))
        same = builder.icmp_signed("==", this_row, row)
        if self.kind.is_wide:
            keep = builder.sext(same, _I32)
            before = [self._kept(sums, keep) for sums in start]
        else:
            before = self._stored_at_the_end(start, row, same)
        mask = None if self.kind.is_wide else self._word(builder.add(masks, self._times(2, segment)))
        weights, following_at = self._weights(at, mask)
        sums = [self._accumulate(weights, self._inputs(t, column), held) for t, held in enumerate(before)]
        if self.kind.is_wide:
            self._store_sums(sums, this_row)
        following, body = builder.add(segment, ir.Constant(_I64, 1)), builder.block
        for phi, first, next_one in (
            (segment, ir.Constant(_I64, 0), following),
            (at, numbers, following_at),
            (row, no_row, this_row),
            *zip(start, [zero] * tokens, sums, strict=True),
        ):
            phi.add_incoming(first, entry)
            phi.add_incoming(next_one, body)
        builder.cbranch(builder.icmp_signed("<", following, tile.segments), loop, done)

        builder.position_at_end(done)
        if not self.kind.is_wide:
            last_row, last = builder.phi(_I64), [builder.phi(self.vector) for _ in range(tokens)]
            for phi, first, held in ((last_row, no_row, this_row), *zip(last, [zero] * tokens, sums, strict=True)):
                phi.add_incoming(first, entry)
                phi.add_incoming(held, body)
            self._store_sums(last, last_row)
        for t in range(tokens):
            self._finish(t)
        builder.ret_void()

    def _stored_at_the_end(self, sums: list[Any], row: Any, same: Any) -> list[Any]:
        """The sums to go on with: stored, and zero, if the row changed; in a block of its own, behind a branch."""
        builder, before = self.builder, self.builder.block
        change, body = (self.function.append_basic_block(label) for label in ("change", "body"))
        builder.cbranch(same, body, change)
        builder.position_at_end(change)
        self._store_sums(sums, row)
        builder.branch(body)
        builder.position_at_end(body)
        held = [builder.phi(self.vector) for _ in sums]
        for phi, value in zip(held, sums, strict=True):
            phi.add_incoming(value, before)
            phi.add_incoming(ir.Constant(self.vector, None), change)
        return held

    def _store_sums(self, sums: list[Any], row: Any) -> None:
        """Keep the sums of a row, those of each token."""
        for t, held in enumerate(sums):
            slot = self.builder.add(row, ir.Constant(_I64, t * (LANES + 1)))
            self.builder.store(held, self.builder.gep(self.rows, [slot]))

    def _weights(self, at: Any, mask: Any) -> tuple[Any, Any]:
        """A segment's sixteen weights, and the address behind them."""
        builder, code = self.builder, self.kind.code
        pointer = self._pointer(at, _I8)
        low_count, count = ir.Constant(_I64, HALF), ir.Constant(_I64, LANES)
        if mask is not None:
            counter = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_I64, [_I64]), "llvm.ctpop.i64")
            low_mask = builder.and_(mask, ir.Constant(_I64, 255))
            low_count, count = builder.call(counter, [low_mask]), builder.call(counter, [mask])
        low = load_half(builder, pointer, ir.Constant(_I64, 0), code, self.book)
        high = load_half(builder, pointer, low_count, code, self.book)
        if mask is not None:
            low, high = spread(builder, low, low_mask), spread(builder, high, builder.lshr(mask, ir.Constant(_I64, 8)))
        both = builder.shuffle_vector(low, high, ir.Constant(_INTS, [*range(LANES)]))
        if self.scaled and not self.kind.integer_inputs:
            both = builder.sitofp(both, _FLOATS)
        # 4-bit numbers of a segment begin at a byte of their own.
        bits = self._times(STORED_BITS[code], count)
        return both, builder.add(at, builder.lshr(builder.add(bits, ir.Constant(_I64, 7)), ir.Constant(_I64, 3)))

    def _inputs(self, token: int, column: Any) -> Any:
        item = 2 if self.kind.integer_inputs else 4
        address = self.builder.add(self.tile.inputs, self._times(token, self.tile.input_bytes))
        address = self.builder.add(address, self._times(item, column))
        if not self.kind.integer_inputs:
            return self.builder.load(self._pointer(address, _FLOATS), align=4)
        stored = self.builder.load(self._pointer(address, ir.VectorType(_I16, LANES)), align=2)
        return self.builder.sext(stored, _INTS)

    def _kept(self, sums: Any, keep: Any) -> Any:
        """``sums``, or zero where ``keep`` (i32, all bits or none) is zero: without a branch."""
        builder = self.builder
        mask = every_lane(builder, _INTS, keep)
        return builder.bitcast(builder.and_(builder.bitcast(sums, _INTS), mask), self.vector)

    def _accumulate(self, weights: Any, x: Any, sums: Any) -> Any:
        if self.kind.integer_inputs:
            return self.builder.add(sums, self.builder.mul(weights, x))
        return vector_fma(self.builder, weights, x, sums)

    def _finish(self, token: int) -> None:
        """Put the rows' lanes together, apply the scales, write a token's sixteen outputs."""
        builder, tile = self.builder, self.tile
        rows = [
            builder.load(builder.gep(self.rows, [ir.Constant(_I64, token * (LANES + 1) + row)])) for row in range(LANES)
        ]
        total = self._tree(rows)
        if self.scaled:
            if self.kind.integer_inputs:
                total = builder.sitofp(total, _FLOATS)
            scales = builder.load(self._pointer(tile.block, ir.VectorType(ir.HalfType(), LANES)), align=2)
            total = builder.fmul(total, builder.fpext(scales, _FLOATS))
        if self.kind.integer_inputs:
            address = builder.add(tile.input_scales, ir.Constant(_I64, 4 * token))
            total = builder.fmul(total, splat(builder, builder.load(self._pointer(address, _F32), align=4)))
        out = builder.add(tile.out, self._times(token, tile.out_bytes))
        builder.store(total, self._pointer(out, _FLOATS), align=4)

    def _tree(self, rows: list[Any]) -> Any:
        """Sums of the lanes of sixteen rows, in the order of the rows: each step halves the lanes and the vectors."""
        builder, width = self.builder, LANES // 2
        while len(rows) > 1:
            # Lanes k * 2 * width .. belong to one row; its lower and its upper half are added.
            low = [start + n for start in range(0, 2 * LANES, 2 * width) for n in range(width)]
            halves = [
                [builder.shuffle_vector(a, b, ir.Constant(_INTS, [n + add for n in low])) for add in (0, width)]
                for a, b in zip(rows[::2], rows[1::2], strict=True)
            ]
            add = builder.add if self.kind.integer_inputs else builder.fadd
            rows, width = [add(a, b) for a, b in halves], width // 2
        return rows[0]


def make_sparse_tile(kind: SparseKind) -> Any:
    """The intrinsic that computes one row block, ``tile(SparseTile)``."""

    @intrinsic
    def tile(typingctx: Any, work: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            fields = cgutils.unpack_tuple(builder, arguments[0])
            builder.call(_Emitter(builder.module, kind).function, fields)
            return context.get_dummy_value()

        return types.void(work), codegen

    return tile
