"""The element-wise half of a QRNN step: gates made from a window of inputs to cell and hidden state.

Bradbury et al., Quasi-recurrent neural networks (2017), section 2.1, pooling "f" and, with output gates, "fo":

    c' = z + f * (c - z),    z = tanh(..), f = sigmoid(..)
    h' = c'    or    h' = sigmoid(o) * c'
"""

from __future__ import annotations

from .charge import ADD, MULTIPLY, TRANSCENDENTAL, UNARY, charge
from .elementary import sigmoid, tanh
from .jit import kernel
from .lanes import LANES, fma, load, store
from .matrix import FLOAT_BITS

WITH_OUTPUT_GATE = 3  # gates: candidate, forget, output
WITHOUT_OUTPUT_GATE = 2


@kernel
def qrnn_cell_cost(meter, gates, units):
    """Cost law of ``qrnn_cell``: 1 multiply, 2 adds, 2 transcendentals a unit; an output gate 1, 0 and 1 more."""
    gated = 1 if gates == WITH_OUTPUT_GATE else 0
    charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, (1 + gated) * units)
    charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, 2 * units)
    charge(meter, TRANSCENDENTAL, FLOAT_BITS, UNARY, (2 + gated) * units)


@kernel
def qrnn_cell(gates, state, count, blocks, units, meter):
    """Update the units of some blocks of 16.

    Parameters
    ----------
    gates : (count * 16 * blocks in the layer,) float32
        For each block of 16 units its candidate, forget and perhaps output gates before the non-linearity.
    state : ((16 * blocks in the layer,) float32, the same)
        Cell state, modified in place, and new hidden state, written.
    count : int
        WITH_OUTPUT_GATE or WITHOUT_OUTPUT_GATE.
    blocks : (int, int)
        First and last + 1 of the blocks to update.
    units : int
        How many of their units are real; the padding behind them stays zero.
    meter : Meter
    """
    cells, hidden = state
    qrnn_cell_cost(meter, count, units)
    for block in range(blocks[0], blocks[1]):
        at = block * LANES
        gate = count * at
        candidate = tanh(load(gates, gate))
        forget_gate = sigmoid(load(gates, gate + LANES))
        cell = fma(forget_gate, load(cells, at) - candidate, candidate)
        store(cells, at, cell)
        if count == WITH_OUTPUT_GATE:
            cell = sigmoid(load(gates, gate + 2 * LANES)) * cell
        store(hidden, at, cell)
