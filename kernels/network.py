"""A network as data: steps that read vectors from one buffer and write to another, and what they read and write.

A step is done for all tokens of a chunk: a run of tokens that enter together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .attention import Cache, Relative
from .experts import Experts, Routes
from .inputs import Narrow
from .jit import inlined
from .lookup import Table
from .norm import Norm
from .readout import Readout
from .rotary import Rotation

EMBED, POSITION, NORMALISE, PRODUCT, KEEP, ATTEND, FREEZE, CELL, COPY, EXPERTS, ROUTE, MIX, SINUSOID, SPREAD = range(14)
# What a product does with its own rows when they are there.
PLAIN, ADD_TO, ACTIVATE, GATE = range(4)
# Kinds of cells.
LSTM, GRU, QRNN = range(3)
NO_BUFFER = -1
NO_STEP = -1
# When the threads meet behind a step.
NEVER, SEVERAL, ALWAYS = range(3)  # SEVERAL: where the chunk has more tokens than one
# When each thread has a row of a buffer for itself: where one token enters alone; where a step works on one alone.
SHARED, OWN_ALONE, OWN_LAST = range(3)


class Step(NamedTuple):
    """One step: all int64."""

    kind: int
    region: int
    source: int  # buffer
    target: int  # buffer
    matrix: int  # PRODUCT: its number; EXPERTS: the first one's; NORMALISE, FREEZE: that of the normalisation, or -1
    action: int  # of a product
    # A buffer: EMBED: two for scratch; PRODUCT: what it is added to, or its gate; KEEP: keys, behind them values, and
    # behind these, where queries have biases, the queries that meet distances; ATTEND: what meets distances; CELL: its
    # state.
    other: int
    function: int  # activation, or kind of cell
    layer: int
    last: int  # 1: only for the chunk's last token
    meets: int  # NEVER, SEVERAL or ALWAYS
    parts: int  # PRODUCT, CELL: parts of a matrix whose rows are interleaved by units, its gates
    width: int  # CELL: units; COPY, MIX: numbers
    from_column: int  # COPY: of the source
    to_column: int  # EMBED, COPY: of the target
    following: int  # PRODUCT: number of the next step of its kind, or NO_STEP


class Options(NamedTuple):
    """Numbers of a network that no step has for itself."""

    epsilon: Any  # float32, of normalisations
    embedding_width: int
    embedding_scale: Any  # float32; 1: none
    query_scale: Any  # float32; 1: none
    learned_positions: int  # 1: added to the embedding
    layers: int
    heads: int
    key_heads: int
    head_width: int
    window: int  # past tokens that a query sees, besides its own
    pinned: int  # positions at the front of the cache that never move, a multiple of 16
    output_width: int  # of what is frozen
    projection: int  # number of the matrix before the softmax, or NO_MATRIX
    projection_region: int
    softmax_region: int
    continuous_region: int
    needed: int  # 1: bins of the softmax behind the first one only where the target is in them


class Network(NamedTuple):
    """What the steps read: weights and where they lie."""

    weights: Any  # (bytes,) uint8, all packed matrices, their biases, and the vectors of normalisations
    rows: Any  # (bytes,) uint8, the array that holds the embedding's rows
    table: Table
    position_rows: Any  # (bytes,) uint8, the learned positions, or none
    position_table: Table
    matrices: Any  # (matrices, fields of Matrix) int64
    norms: Any  # (normalisations, fields of Norm) int64
    steps: Any  # (steps, fields of Step) int64
    embedding_bins: Any  # (bins, fields of Bin) int64, none of a plain embedding
    softmax_bins: Any  # (bins, fields of Bin) int64, one of a plain softmax
    buffers: Any  # (buffers, 4) int64: offset, width, when each thread has a row of its own, rows
    rotation: Rotation
    relative: Relative
    experts: Experts
    sinusoid: Any  # Sinusoid
    patterns: Any  # (layers, fields of Pattern) int64
    once: Any  # (steps, fields of Step) int64: what is done when a run begins
    options: Options


class Memory(NamedTuple):
    """What the steps write to."""

    buffers: Any  # float32, one after the other
    ragged: Any  # (threads * most rows of a buffer, 16) float32: see ``sections.py``
    narrow: Narrow
    cache: Cache
    scores: Any  # (threads, FRONT + capacity + 16, or experts if these are more) float32
    lanes: Any  # (threads, 16) float32
    places: Any  # (threads, capacity) int64, of the cache; without sparse patterns (threads, 0)
    frozen: Any  # (B, padded width) float32
    routes: Routes
    state: Any  # (2,) int64: positions in the cache, and the position of the next token


class Rows(NamedTuple):
    """A buffer, one vector a row."""

    data: Any  # (rows, width) float32


class Chunk(NamedTuple):
    """Tokens that enter together."""

    tokens: Any  # (n,) int64
    kept: int  # positions in the cache before them
    position: int  # of the first one
    frozen: int  # row of ``frozen`` to write


@inlined
def step_at(table, index):
    """Row ``index`` of a table of steps."""
    r = table[index]
    return Step(
        r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]
    )  # fmt: skip


@inlined
def norm_at(table, index):
    """Row ``index`` of a table of normalisations."""
    r = table[index]
    return Norm(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9])


@inlined
def buffer_of(table, memory, number):
    """A buffer, (rows, width) float32."""
    offset, width, rows = table[number, 0], table[number, 1], table[number, 3]
    return Rows(memory[offset : offset + rows * width].reshape((rows, width)))


@inlined
def rows_of(step, chunk):
    """First row that a step works on, and how many."""
    return (chunk.tokens.size - 1, 1) if step.last else (0, chunk.tokens.size)


@inlined
def readout_of(network, buffers):
    """What turns a network's frozen outputs into log-probabilities."""
    options = network.options
    return Readout(
        network.weights,
        network.matrices,
        network.softmax_bins,
        options.projection,
        options.projection_region,
        options.softmax_region,
        options.needed,
        buffers,
    )


@inlined
def has_own_row(network, buffer, step, chunk):
    """Whether each thread finds what a step reads in a row of the buffer that is its own."""
    own = network.buffers[buffer, 2]
    return (own == OWN_ALONE and chunk.tokens.size == 1) or (own == OWN_LAST and rows_of(step, chunk)[1] == 1)
