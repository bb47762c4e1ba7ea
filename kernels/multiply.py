"""The walk of register tiles over row blocks and tokens, compiled once for each kind of weights and inputs.

A model uses one or two of these loops. They are C functions with an address, compiled when a matrix is loaded that
needs them; the compiled token loop calls them through the address. Compiled into every caller, all of them took 25
seconds.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .formats import FLOAT32, NAMES, is_integer
from .jit import inlined, native_address
from .lanes import LANES
from .matrix import DENSE, EXACT, INTEGER_BITS, WRAP
from .sparse import NARROW, SEGMENTS, TO_DATA, WIDE, read_word
from .sparse_tile import SparseKind, SparseTile, make_sparse_tile
from .tile import make_tile
from .tile_shape import INTEGER_VECTOR_BLOCKS, NO_ADDRESS, TILE_BLOCKS, TILE_TOKENS, VECTOR_BLOCKS, Tile, TileKind

_I64 = ir.IntType(64)

# A tile for one vector asks for what lies a whole number of tiles further on, _AHEAD bytes or more, if that is near
# enough to stay in the second-level cache until it is wanted; else for what comes soon. Rows of 4-bit weights are
# short: the CPU's own prefetching, which starts anew with every row block, is late for most of one. Measured on a Zen 3
# server, 512 columns: without it 57 to 62 % of the memory's speed, with it 77 to 88 %. Behind a thread's last row block
# it asks for what the thread reads next. Measured on a Zen 4 server, SmolLM2-135M in 4 bits, two threads, in turn: 221
# tokens/s where it asked for what lies there, 240 so; and 187 where scales and offsets were not asked for.
_AHEAD, _FAR, _NEAR = 32768, 131072, 2048


class Loop(NamedTuple):
    """What the code of a loop depends on."""

    code: int = FLOAT32
    integer_inputs: bool = False
    overflow: int = EXACT
    pruned: int = DENSE  # or NARROW or WIDE, the blocks that were pruned

    @property
    def name(self) -> str:
        """A name that no other loop has."""
        inputs = "integer" if self.integer_inputs else "float"
        if self.pruned != DENSE:
            return f"{NAMES[self.code]}_{inputs}_pruned_{'wide' if self.pruned == WIDE else 'narrow'}"
        overflow = "" if self.overflow == EXACT else "_wrap" if self.overflow == WRAP else "_saturate"
        return f"{NAMES[self.code]}_{inputs}{overflow}"


def loop_of(matrix: Any) -> Loop:
    """The loop that multiplies a Matrix, or a matrix of a Scheme."""
    pruned = DENSE if matrix.pruned == DENSE else WIDE if matrix.pruned >= WIDE else NARROW
    return Loop(matrix.code, matrix.input_bits == INTEGER_BITS, matrix.overflow, pruned)


@inlined
def ahead(block_bytes):
    """How far ahead of its weights a tile of integer weights for one vector asks for others, in bytes."""
    tile = INTEGER_VECTOR_BLOCKS * block_bytes
    if tile > _FAR:
        return _NEAR
    return (_AHEAD + tile - 1) // tile * tile


@inlined
def _share_ahead(size, token, tokens):
    """Where a tile for several tokens begins to ask for its share of the row blocks that come next: bytes ahead."""
    return size + size * token // tokens


@inlined
def _pace(tokens):
    """How many bytes it asks for with each 256 that it reads of a row block.

    While a group of row blocks meets its tokens the memory is idle: 8-bit weights that are read only when they are
    wanted took half of the time of a block. A share that was asked for all at once made the tile wait for its end:
    measured on a Zen 4 server, 64 tokens, float32 ran at 200 GFLOP/s so, and at 227 of 230 at this pace.
    """
    return 256 * TILE_BLOCKS * TILE_TOKENS // tokens


@inlined
def stored_tile(work):
    """Tile's fields from where they lie one after the other."""
    w = work
    return Tile(
        w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12], w[13], w[14], w[15], w[16],
        w[17], w[18], w[19],
    )  # fmt: skip


@inlined
def _moved(tile, blocks, token, ahead, pace):
    """The tile some row blocks and tokens further on, which asks for others ``ahead`` at a ``pace``."""
    sums = tile.sums + token * tile.sum_bytes if tile.sums != NO_ADDRESS else NO_ADDRESS
    return Tile(
        weights=tile.weights + blocks * tile.block_bytes,
        block_bytes=tile.block_bytes,
        inputs=tile.inputs + token * tile.input_bytes,
        input_bytes=tile.input_bytes,
        out=tile.out + 4 * LANES * blocks + token * tile.out_bytes,
        out_bytes=tile.out_bytes,
        groups=tile.groups,
        columns=tile.columns,
        scales=tile.scales,
        sums=sums,
        sum_bytes=tile.sum_bytes,
        input_scales=tile.input_scales + 4 * token,
        book=tile.book,
        ahead=ahead,
        end=tile.end,
        jump=tile.jump,
        pace=pace,
        accumulator=tile.accumulator,
        starts=tile.starts + token * tile.start_bytes,
        start_bytes=tile.start_bytes,
    )


@inlined
def _sparse_tile(tile):
    """The work of a row block of a pruned matrix: the tile's weights are its row of the table."""
    return SparseTile(
        block=tile.weights + read_word(tile.weights + 8 * TO_DATA),
        segments=read_word(tile.weights + 8 * SEGMENTS),
        inputs=tile.inputs,
        input_bytes=tile.input_bytes,
        out=tile.out,
        out_bytes=tile.out_bytes,
        input_scales=tile.input_scales,
        book=tile.book,
    )


@functools.cache
def multiply_address(loop: Loop) -> int:
    """Address of a loop; compiles it, or reads it from the cache."""
    signature = types.int64(types.CPointer(types.int64), types.int64, types.int64)
    make = _make_multiply if loop.pruned == DENSE else _make_sparse_multiply
    return native_address(make(loop), loop.name, signature)


def _make_multiply(loop: Loop) -> Any:
    def tile_of(blocks: int, tokens: int) -> Any:
        return make_tile(TileKind(blocks, tokens, loop.code, loop.integer_inputs, loop.overflow))

    most = INTEGER_VECTOR_BLOCKS if is_integer(loop.code) else VECTOR_BLOCKS
    vector, vector_4, vector_2, vector_1 = (tile_of(blocks, 1) for blocks in (most, 4, 2, 1))
    tile, narrow_tile = tile_of(TILE_BLOCKS, TILE_TOKENS), tile_of(1, TILE_TOKENS)

    def multiply(work, blocks, tokens):
        start = stored_tile(work)
        block, overflows = 0, 0
        if tokens == 1:
            while block < blocks:
                left = blocks - block
                at = _moved(start, block, 0, start.ahead, 0)
                if left >= most:
                    overflows += vector(at, 1)
                    block += most
                elif left >= 4:
                    overflows += vector_4(at, 1)
                    block += 4
                elif left >= 2:
                    overflows += vector_2(at, 1)
                    block += 2
                else:
                    overflows += vector_1(at, 1)
                    block += 1
            return overflows
        # A group of row blocks meets every token before the next group is read: it stays in the cache meanwhile.
        while block < blocks:
            if blocks - block >= TILE_BLOCKS:
                size = TILE_BLOCKS * start.block_bytes
                for t in range(0, tokens, TILE_TOKENS):
                    at = _moved(start, block, t, _share_ahead(size, t, tokens), _pace(tokens))
                    overflows += tile(at, tokens - t)
                block += TILE_BLOCKS
            else:
                for t in range(0, tokens, TILE_TOKENS):
                    overflows += narrow_tile(_moved(start, block, t, 0, 0), tokens - t)
                block += 1
        return overflows

    return multiply


def _make_sparse_multiply(loop: Loop) -> Any:
    def tile_of(tokens: int) -> Any:
        return make_sparse_tile(SparseKind(tokens, loop.code, loop.integer_inputs, loop.pruned == WIDE))

    vector, tile = tile_of(1), tile_of(TILE_TOKENS)

    def multiply(work, blocks, tokens):
        start = stored_tile(work)
        for block in range(blocks):
            if tokens == 1:
                vector(_sparse_tile(_moved(start, block, 0, 0, 0)))
            else:
                for t in range(0, tokens, TILE_TOKENS):
                    tile(_sparse_tile(_moved(start, block, t, 0, 0)))
        return 0

    return multiply


@intrinsic
def call_multiply(typingctx: Any, address: Any, work: Any, blocks: Any, tokens: Any) -> Any:
    """Compute some row blocks for some tokens: ``work`` is the Tile of the first of both. Returns overflows (int64)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        fields = cgutils.unpack_tuple(builder, arguments[1])
        memory = cgutils.alloca_once(builder, ir.ArrayType(_I64, len(fields)))
        for number, (field, kind) in enumerate(zip(fields, signature.args[1], strict=True)):
            place = cgutils.gep_inbounds(builder, memory, 0, number)
            builder.store(context.cast(builder, field, kind, types.int64), place)
        start = builder.bitcast(memory, _I64.as_pointer())
        kind = ir.FunctionType(_I64, [start.type, _I64, _I64])
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [start, *arguments[2:]])

    return types.int64(types.int64, work, types.int64, types.int64), codegen
