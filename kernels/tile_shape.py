"""What a register tile works on, how large it is, and what its code depends on: see ``tile.py``."""

from __future__ import annotations

from typing import Any, NamedTuple

from .isa import has_feature
from .matrix import EXACT

# Shape of the tile for several tokens, and row blocks of the tile for one: accumulators, weights and inputs must fit
# the registers. Without AVX-512, 16 lanes take two or four of them. Integer weights keep a CPU busy with widening, and
# their tile for one token is the smaller, the more of a thread's share is asked for in time: measured on a Zen 4
# server, SmolLM2-135M in 4 bits, two threads, in turn: 271 tokens/s with 4 row blocks, 245 with 8.
TILE_BLOCKS, TILE_TOKENS, VECTOR_BLOCKS = (3, 8, 8) if has_feature("avx512f") else (1, 4, 4)
INTEGER_VECTOR_BLOCKS = 4

NO_ADDRESS = 0


class Tile(NamedTuple):
    """One tile's work: int64 each, places as addresses and distances in bytes."""

    weights: Any  # first row block
    block_bytes: Any  # to the next row block
    inputs: Any  # first token's vector: float32, or int16 that hold 8-bit integers
    input_bytes: Any  # to the next token's
    out: Any  # first token's first output, float32
    out_bytes: Any  # to the next token's
    groups: Any
    columns: Any  # of a group
    scales: Any  # from the beginning of a row block to its scales, 16 for each group; offsets, if any, follow them
    sums: Any  # first token's sums of its inputs over each group, float32; NO_ADDRESS: there are no offsets
    sum_bytes: Any  # to the next token's
    input_scales: Any  # first token's scale, float32: integer inputs only
    book: Any  # 16 int8: code-book formats only
    ahead: Any  # from where weights are read to where the cache is asked to fetch some
    end: Any  # address behind the last row block of a thread
    jump: Any  # from there to what the thread reads then: what is asked for behind the end lies there
    pace: Any  # bytes that are asked for with each 256 that are read of the first row block: several tokens only
    accumulator: Any  # bits of an integer accumulator that overflows
    starts: Any  # first token's sums to start from, one a group, int32: nested integers only
    start_bytes: Any  # to the next token's


class TileKind(NamedTuple):
    """What the code of a tile depends on."""

    blocks: int
    tokens: int
    code: int
    integer_inputs: bool
    overflow: int = EXACT
