"""The compiled token loop of an LSTM language model: step, freeze, read out.

Every thread runs this same code on its share of the rows and meets the others at barriers. The recurrent core steps
token by token; each output is frozen before the next token enters, and the readout of the frozen outputs follows once
for a block of tokens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .barrier import meet, share
from .charge import Meter
from .clock import lap
from .clock import start as start_clock
from .inputs import Narrow, Vectors, own_row, prepare, prepare_cost
from .jit import entry, kernel
from .lanes import LANES
from .lookup import Table, lookup, lookup_cost
from .lstm_cell import GATES, lstm_cell, lstm_cell_cost
from .matrix import matrix_at, whole_load
from .product import Place, Span, product, product_cost, real_rows
from .readout import Buffers, Predictions, Readout, part_of, read_out, readout_cost

# Regions of the meter: the embedding, then the product and the cell of each layer, then the readout.
EMBEDDING = 0


class Network(NamedTuple):
    """What the loop reads: weights and where they lie."""

    weights: Any  # (bytes,) uint8, all packed matrices and their biases
    rows: Any  # (bytes,) uint8, the array that holds the embedding rows: the same one where they are tied
    table: Table
    matrices: Any  # (matrices, fields of Matrix) int64: layers, then the projection if there is one, then the softmax
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
    narrow: Narrow  # (threads, padded widest input)
    readout: Buffers


class Text(NamedTuple):
    """Tokens of a run, and its results."""

    inputs: Any  # (n,) int64, the token that enters at each step
    predictions: Predictions
    block: int  # frozen outputs read out together


@kernel
def advance(network, state, scratch, team, step, tally):
    """Let one token enter: embedding, then every layer.

    ``step`` is (token, phase, row of ``state.frozen`` to write). The phase, 0 or 1 in turn, says which of a layer's two
    input rows is read; the new hidden state goes into the other, so no thread overwrites what another still reads.
    """
    phase = step[1]
    width = network.table.matrix.columns
    lookup(network.rows, network.table, step[0], share(width, team), state.inputs[phase], Meter(tally, EMBEDDING))
    lap(team.clock, EMBEDDING)
    meet(team)
    for layer in range(network.layers):
        matrix = matrix_at(network.matrices, layer)
        units = matrix.rows // GATES
        unit_blocks = (units + LANES - 1) // LANES
        # Shares are pairs of unit blocks: eight row blocks, a multiple of every CPU's tile for one vector.
        pairs = share((unit_blocks + 1) // 2, team)
        first, last = 2 * pairs[0], min(2 * pairs[1], unit_blocks)
        real = real_rows(first, last, units)
        region = 1 + 2 * layer
        vector = Vectors(state.inputs, own_row(scratch.narrow, team.thread), 2 * layer + phase, 1)
        prepare(matrix, vector, 0, 1)
        # Every thread has made its own copy, which saves a barrier; the work of one is counted.
        prepare_cost(Meter(tally, region), matrix, 1 if team.thread == 0 else 0)
        product(
            network.weights,
            matrix,
            Span(GATES * first, GATES * last, GATES * real),
            vector,
            Place(scratch.gates, 0, GATES * first * LANES),
            Meter(tally, region),
        )
        lap(team.clock, region)
        lstm_cell(scratch.gates[0], state.cells[layer], scratch.hidden, (first, last), real, Meter(tally, region + 1))
        own = matrix.columns - units
        for unit in range(first * LANES, first * LANES + real):
            value = scratch.hidden[unit]
            state.inputs[2 * layer + 1 - phase, own + unit] = value
            if layer + 1 < network.layers:
                state.inputs[2 * (layer + 1) + phase, unit] = value
            else:
                state.frozen[step[2], unit] = value
        lap(team.clock, region + 1)
        meet(team)


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
        For each i, ``inputs[i]`` enters, the output is frozen, and target i is predicted from it. Without inputs the
        targets are predicted from the frozen outputs as they are; without targets nothing is predicted.
    tally : (regions, kinds, 65, 65) int64 or None
        This thread's tally, modified in place.
    """
    steps, targets, block = text.inputs.size, text.predictions.targets.size, text.block
    readout = Readout(network.weights, network.matrices[network.layers :], scratch.readout)
    seen = state.clock[0]
    start_clock(team.clock)
    for start in range(0, max(steps, targets), block):
        for at in range(start, min(start + block, steps)):
            advance(network, state, scratch, team, (text.inputs[at], (seen + at) % 2, at - start), tally)
        if start < targets:
            part = part_of(text.predictions, start, min(start + block, targets))
            read_out(readout, state.frozen, part, team, Meter(tally, 1 + 2 * network.layers))
    # Every thread has read the clock by now: it has met this one at the barriers of the first step.
    if team.thread == 0:
        state.clock[0] = seen + steps


@entry
def step_cost(network, tally):
    """Charge one step and one prediction to ``tally`` (modified in place) from the cost laws, without running them."""
    lookup_cost(Meter(tally, EMBEDDING), network.table.matrix, network.table.matrix.columns)
    for layer in range(network.layers):
        matrix = matrix_at(network.matrices, layer)
        prepare_cost(Meter(tally, 1 + 2 * layer), matrix, 1)
        product_cost(Meter(tally, 1 + 2 * layer), matrix, whole_load(matrix), 1)
        lstm_cell_cost(Meter(tally, 2 + 2 * layer), matrix.rows // GATES)
    readout_cost(Meter(tally, 1 + 2 * network.layers), network.matrices[network.layers :])
