"""One row block of a pruned matrix times several vectors, by its mask: the inner loop for sparse weights.

Rows are walked in segments of 16 columns, of which those without any number are not stored (``sparse.py``). Lane l of a
row's accumulator sums the columns j with j % 16 = l, in their order; then the lanes are put together in a tree,

    a[l] + a[l + 8] for l < 8,    then l + 4, l + 2, l + 1

for float32 inputs with one rounding each; sums over 8-bit inputs are exact. The segments of sixteen rows are one run,
in which each row has a turn: a row's accumulator lies in memory, in the first-level cache, and what a segment adds to
has long been stored when it is read. So no segment waits for the one before it, and no branch depends on where a row
ends.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .decode import BOOK, every_lane
from .expand import expanded, load_segment
from .formats import CODEBOOK4, NAMES, SCALE_BYTES, STORED_BITS, is_integer
from .lanes import LANES, splat, vector_fma
from .prefetch import emit_prefetch

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_F32 = ir.FloatType()
_FLOATS = ir.VectorType(_F32, LANES)
_INTS = ir.VectorType(_I32, LANES)
# A place of a segment: its row in the block above, its number in the row below.
ROW_SHIFT = 12
MAX_SEGMENTS = 1 << ROW_SHIFT
# A tile for one vector asks for what lies so many bytes further on. Measured on a Sapphire Rapids server, one thread,
# 29 MB of 1x16 blocks: without it 7.3 GB/s, with 2,048, 4,096, 8,192 and 16,384 9.7, 9.7, 9.8 and 9.2.
_AHEAD = 8192


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
        self.rows = builder.alloca(self.vector, self.kind.tokens * LANES)
        zero = self._zero()
        for slot in range(self.kind.tokens * LANES):
            builder.store(zero, builder.gep(self.rows, [ir.Constant(_I64, slot)]))
        self.book = None
        if self.kind.code == CODEBOOK4:
            self.book = builder.load(self._pointer(tile.book, BOOK), align=16)
        places = builder.add(tile.block, ir.Constant(_I64, LANES * SCALE_BYTES if self.scaled else 0))
        masks = builder.add(places, self._times(2, tile.segments))
        numbers = masks if self.kind.is_wide else builder.add(masks, self._times(2, tile.segments))
        builder.cbranch(builder.icmp_signed(">", tile.segments, ir.Constant(_I64, 0)), loop, done)

        builder.position_at_end(loop)
        segment, at = builder.phi(_I64), builder.phi(_I64)
        place = self._word(builder.add(places, self._times(2, segment)))
        row = builder.lshr(place, ir.Constant(_I64, ROW_SHIFT))
        column = self._times(LANES, builder.and_(place, ir.Constant(_I64, MAX_SEGMENTS - 1)))
        mask = None if self.kind.is_wide else self._word(builder.add(masks, self._times(2, segment)))
        if self.kind.tokens == 1:
            ahead = builder.add(ir.Constant(_I64, _AHEAD), self._times(2 if mask is None else 4, segment))
            emit_prefetch(builder, builder.add(at, ahead))
        weights, following_at = self._weights(at, mask)
        for t in range(self.kind.tokens):
            slot = builder.gep(self.rows, [builder.add(row, ir.Constant(_I64, t * LANES))])
            builder.store(self._accumulate(weights, self._inputs(t, column), builder.load(slot)), slot)
        following = builder.add(segment, ir.Constant(_I64, 1))
        for phi, first, next_one in ((segment, ir.Constant(_I64, 0), following), (at, numbers, following_at)):
            phi.add_incoming(first, entry)
            phi.add_incoming(next_one, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, tile.segments), loop, done)

        builder.position_at_end(done)
        for t in range(self.kind.tokens):
            self._finish(t)
        builder.ret_void()

    def _zero(self) -> Any:
        """Zero lanes that LLVM does not know to be zero: it would call memset instead of storing them."""
        unseen = self.builder.asm(ir.FunctionType(_I32, [_I32]), "", "=r,0", [ir.Constant(_I32, 0)], side_effect=False)
        return self.builder.bitcast(every_lane(self.builder, _INTS, unseen), self.vector)

    def _weights(self, at: Any, mask: Any) -> tuple[Any, Any]:
        """A segment's sixteen weights, and the address behind them."""
        builder, code = self.builder, self.kind.code
        pointer = self._pointer(at, _I8)
        if mask is None:
            both, count = load_segment(builder, pointer, code, self.book), ir.Constant(_I64, LANES)
        else:
            both, count = expanded(builder, pointer, mask, code, self.book)
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

    def _accumulate(self, weights: Any, x: Any, sums: Any) -> Any:
        if self.kind.integer_inputs:
            return self.builder.add(sums, self.builder.mul(weights, x))
        return vector_fma(self.builder, weights, x, sums)

    def _finish(self, token: int) -> None:
        """Put the rows' lanes together, apply the scales, write a token's sixteen outputs."""
        builder, tile = self.builder, self.tile
        rows = [builder.load(builder.gep(self.rows, [ir.Constant(_I64, token * LANES + row)])) for row in range(LANES)]
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
