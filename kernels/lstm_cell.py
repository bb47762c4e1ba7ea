"""The element-wise half of an LSTM step: gates to cell and hidden state.

Hochreiter and Schmidhuber (1997) with the forget gate of Gers, Schmidhuber and Cummins (2000), no peepholes:

    c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h' = sigmoid(o) * tanh(c')
"""

from __future__ import annotations

from .charge import ADD, MULTIPLY, TRANSCENDENTAL, UNARY, charge
from .elementary import sigmoid, tanh
from .jit import kernel
from .lanes import LANES, fma, load, store
from .matrix import FLOAT_BITS

GATES = 4


@kernel
def lstm_cell_cost(meter, units):
    """Cost law of ``lstm_cell``: 3 multiplies, 1 add and 5 transcendentals for each unit."""
    charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, 3 * units)
    charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, units)
    charge(meter, TRANSCENDENTAL, FLOAT_BITS, UNARY, 5 * units)


@kernel
def lstm_cell(gates, cells, hidden, blocks, units, meter):
    """Update the units of some blocks of 16.

    Parameters
    ----------
    gates : (4 * 16 * blocks in the layer,) float32
        For each block of 16 units its input, forget, cell and output gates before the non-linearity.
    cells : (16 * blocks in the layer,) float32
        Cell state, modified in place.
    hidden : (16 * blocks in the layer,) float32
        New hidden state, written.
    blocks : (int, int)
        First and last + 1 of the blocks to update.
    units : int
        How many of their units are real; the padding behind them stays zero.
    meter : Meter
    """
    lstm_cell_cost(meter, units)
    for block in range(blocks[0], blocks[1]):
        at = block * LANES
        gate = GATES * at
        input_gate = sigmoid(load(gates, gate))
        forget_gate = sigmoid(load(gates, gate + LANES))
        candidate = tanh(load(gates, gate + 2 * LANES))
        output_gate = sigmoid(load(gates, gate + 3 * LANES))
        cell = fma(input_gate, candidate, forget_gate * load(cells, at))
        store(cells, at, cell)
        store(hidden, at, output_gate * tanh(cell))
