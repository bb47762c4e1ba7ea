"""The compiled token loop of an LSTM language model: step, freeze, read out.

Every thread runs this same code on its share of the rows and meets the others at barriers. The recurrent core steps
token by token; each output is frozen before the next token enters, and the readout of the frozen outputs follows once
for a block of tokens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .barrier import next_item, wait
from .charge import Meter
from .jit import entry, kernel
from .lanes import LANES
from .log_softmax import (
    SEGMENT_BLOCKS,
    SEGMENT_ROWS,
    Logits,
    combine_segments,
    log_softmax_cost,
    reduce_segment,
    segments_of,
)
from .lookup import Table, lookup, lookup_cost
from .lstm_cell import GATES, lstm_cell, lstm_cell_cost
from .product import Place, Span, Vectors, matrix_at, product, product_cost

# Regions of the meter: the embedding, then the product and the cell of each layer, then the readout.
EMBEDDING = 0


class Network(NamedTuple):
    """What the loop reads: weights and where they lie."""

    weights: Any  # (bytes,) uint8, all packed matrices and their biases
    rows: Any  # (bytes,) uint8, the array that holds the embedding rows: the same one where they are tied
    table: Table
    matrices: Any  # (matrices, 6) int64: layers, then the projection if there is one, then the softmax
    layers: int


class State(NamedTuple):
    """What lives from token to token, and the frozen outputs of a block. All modified in place."""

    inputs: Any  # (2 L, widest input) float32: rows 2 l and 2 l + 1 are [x, h] of layer l, used in turn
    cells: Any  # (L, padded H) float32
    frozen: Any  # (B rounded up to whole tiles, padded H) float32, the last layer's hidden states
    clock: Any  # (1,) int64, tokens seen


class Scratch(NamedTuple):
    """Buffers without a meaning between calls."""

    gates: Any  # (1, 4 padded H) float32
    hidden: Any  # (padded H,) float32
    projected: Any  # (B rounded up, padded P) float32
    logits: Any  # (threads * B rounded up, SEGMENT_ROWS) float32
    lanes: Any  # (threads, 16) float32
    partials: Any  # Partials of log_softmax.py, for B rounded up tokens
    targets: Any  # (B rounded up,) float32, the targets' logits


class Team(NamedTuple):
    """One thread's place among the threads of a run."""

    sync: Any  # (SYNC_WORDS,) int64, shared
    thread: int
    threads: int


class Text(NamedTuple):
    """Tokens of a run, and its results."""

    inputs: Any  # (n,) int64, the token that enters at each step
    targets: Any  # (m,) int64, the token to predict after each step
    log_probs: Any  # (m,) float64, written, in nats
    normalisers: Any  # (m, 2) float64, written: M and log Z of log_softmax.py
    logits: Any  # (V,) float32, written for the last target where V > 0; empty otherwise
    block: int  # frozen outputs read out together


@kernel
def _share(items, team):
    """First and last + 1 of this thread's part of ``items`` equal pieces of work."""
    return items * team.thread // team.threads, items * (team.thread + 1) // team.threads


@kernel
def _real_units(first, last, units):
    """Units, not padding, in blocks ``first`` to ``last``."""
    return max(0, min(last * LANES, units) - first * LANES)


@kernel
def advance(network, state, scratch, team, step, tally):
    """Let one token enter: embedding, then every layer.

    ``step`` is (token, phase, row of ``state.frozen`` to write). The phase, 0 or 1 in turn, says which of a layer's two
    input rows is read; the new hidden state goes into the other, so no thread overwrites what another still reads.
    """
    phase = step[1]
    width = network.table.columns
    lookup(network.rows, network.table, step[0], _share(width, team), state.inputs[phase], Meter(tally, EMBEDDING))
    wait(team.sync, team.threads)
    for layer in range(network.layers):
        matrix = matrix_at(network.matrices, layer)
        units = matrix.rows // GATES
        unit_blocks = (units + LANES - 1) // LANES
        # Shares are pairs of unit blocks: eight row blocks, a multiple of the height of every CPU's tile.
        pairs = _share((unit_blocks + 1) // 2, team)
        first, last = 2 * pairs[0], min(2 * pairs[1], unit_blocks)
        real = _real_units(first, last, units)
        region = 1 + 2 * layer
        product(
            network.weights,
            matrix,
            Span(GATES * first, GATES * last, GATES * real),
            Vectors(state.inputs, 2 * layer + phase, 1),
            Place(scratch.gates, 0, GATES * first * LANES),
            Meter(tally, region),
        )
        lstm_cell(scratch.gates[0], state.cells[layer], scratch.hidden, (first, last), real, Meter(tally, region + 1))
        own = matrix.columns - units
        for unit in range(first * LANES, first * LANES + real):
            value = scratch.hidden[unit]
            state.inputs[2 * layer + 1 - phase, own + unit] = value
            if layer + 1 < network.layers:
                state.inputs[2 * (layer + 1) + phase, unit] = value
            else:
                state.frozen[step[2], unit] = value
        wait(team.sync, team.threads)


@kernel
def _part(text, first, last):
    """Targets ``first`` to ``last`` - 1 of a text, and where their results go."""
    return Text(
        text.inputs,
        text.targets[first:last],
        text.log_probs[first:last],
        text.normalisers[first:last],
        text.logits,
        text.block,
    )


@kernel
def read_out(network, state, scratch, team, text, tally):
    """Log-probabilities of the targets of ``text``, a block or less, from the first frozen outputs."""
    tokens = text.targets.size
    region = 1 + 2 * network.layers
    outputs = Vectors(state.frozen, 0, tokens)
    index = network.layers
    if network.matrices.shape[0] == network.layers + 2:
        matrix = matrix_at(network.matrices, index)
        blocks = (matrix.rows + LANES - 1) // LANES
        first, last = _share(blocks, team)
        product(
            network.weights,
            matrix,
            Span(first, last, _real_units(first, last, matrix.rows)),
            outputs,
            Place(scratch.projected, 0, first * LANES),
            Meter(tally, region),
        )
        outputs = Vectors(scratch.projected, 0, tokens)
        region += 1
        index += 1
    wait(team.sync, team.threads)
    matrix = matrix_at(network.matrices, index)
    blocks = (matrix.rows + LANES - 1) // LANES
    segments = segments_of(matrix.rows)
    own_row = team.thread * state.frozen.shape[0]
    while True:
        segment = next_item(team.sync)
        if segment >= segments:
            break
        first = segment * SEGMENT_BLOCKS
        last = min(first + SEGMENT_BLOCKS, blocks)
        start = segment * SEGMENT_ROWS
        rows = min(SEGMENT_ROWS, matrix.rows - start)
        place = Place(scratch.logits, own_row, 0)
        product(network.weights, matrix, Span(first, last, rows), outputs, place, Meter(tally, region))
        for t in range(tokens):
            row = own_row + t
            target = text.targets[t] - start
            if 0 <= target < rows:
                scratch.targets[t] = scratch.logits[row, target]
            if t == tokens - 1 and text.logits.size > 0:
                for r in range(rows):
                    text.logits[start + r] = scratch.logits[row, r]
        logits = Logits(scratch.logits, own_row, tokens, rows)
        reduce_segment(logits, segment, scratch.lanes[team.thread], scratch.partials, Meter(tally, region + 1))
    wait(team.sync, team.threads)
    for t in range(team.thread, tokens, team.threads):
        top, log_total = combine_segments(scratch.partials, t, segments, Meter(tally, region + 1))
        text.log_probs[t] = (np.float64(scratch.targets[t]) - top) - log_total
        text.normalisers[t, 0] = top
        text.normalisers[t, 1] = log_total
    wait(team.sync, team.threads)


@entry
def run(network, state, scratch, team, text, tally):
    """Run one thread's share of a piece of text; every thread of the team calls this with the same arguments.

    Parameters
    ----------
    network : Network
    state : State
        Modified in place.
    scratch : Scratch
        Overwritten.
    team : Team
        The only argument, with ``tally``, in which the threads differ.
    text : Text
        For each i, ``inputs[i]`` enters, the output is frozen, and ``targets[i]`` is predicted from it. Without
        inputs the targets are predicted from the frozen outputs as they are; without targets nothing is predicted.
    tally : (regions, kinds, 65, 65) int64 or None
        This thread's tally, modified in place.
    """
    steps, targets, block = text.inputs.size, text.targets.size, text.block
    seen = state.clock[0]
    for start in range(0, max(steps, targets), block):
        for at in range(start, min(start + block, steps)):
            advance(network, state, scratch, team, (text.inputs[at], (seen + at) % 2, at - start), tally)
        if start < targets:
            read_out(network, state, scratch, team, _part(text, start, min(start + block, targets)), tally)
    # Every thread has read the clock by now: it has met this one at the barriers of the first step.
    if team.thread == 0:
        state.clock[0] = seen + steps


@entry
def step_cost(network, tally):
    """Charge one step and one prediction to ``tally`` (modified in place) from the cost laws, without running them."""
    lookup_cost(Meter(tally, EMBEDDING), network.table, network.table.columns)
    for layer in range(network.layers):
        matrix = matrix_at(network.matrices, layer)
        product_cost(Meter(tally, 1 + 2 * layer), matrix, matrix.rows, 1)
        lstm_cell_cost(Meter(tally, 2 + 2 * layer), matrix.rows // GATES)
    region = 1 + 2 * network.layers
    for index in range(network.layers, network.matrices.shape[0]):
        matrix = matrix_at(network.matrices, index)
        product_cost(Meter(tally, region), matrix, matrix.rows, 1)
        region += 1
    log_softmax_cost(Meter(tally, region), matrix_at(network.matrices, network.matrices.shape[0] - 1).rows, 1)
