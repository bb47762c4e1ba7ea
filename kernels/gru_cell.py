"""The element-wise half of a GRU step: what came from the input and from the hidden state to the new hidden state.

Cho et al., Learning phrase representations using RNN encoder-decoder (2014), with the reset gate behind the product,
as cuDNN and PyTorch have it; i and h are the two products:

    r = sigmoid(i_r + h_r),    z = sigmoid(i_z + h_z),    n = tanh(i_n + r * h_n)
    h' = n + z * (h - n)
"""

from __future__ import annotations

from .charge import ADD, MULTIPLY, TRANSCENDENTAL, UNARY, charge
from .elementary import sigmoid, tanh
from .jit import kernel
from .lanes import LANES, fma, load, store
from .matrix import FLOAT_BITS

GATES = 3


@kernel
def gru_cell_cost(meter, units):
    """Cost law of ``gru_cell``: 2 multiplies, 5 adds and 3 transcendentals for each unit."""
    charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, 2 * units)
    charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, 5 * units)
    charge(meter, TRANSCENDENTAL, FLOAT_BITS, UNARY, 3 * units)


@kernel
def gru_cell(of_input, of_hidden, hidden, blocks, units, meter):
    """Update the units of some blocks of 16.

    Parameters
    ----------
    of_input, of_hidden : (3 * 16 * blocks in the layer,) float32
        For each block of 16 units its reset, update and new gates, as the two products made them.
    hidden : (16 * blocks in the layer,) float32
        Hidden state, modified in place.
    blocks : (int, int)
        First and last + 1 of the blocks to update.
    units : int
        How many of their units are real; the padding behind them stays zero.
    meter : Meter
    """
    gru_cell_cost(meter, units)
    for block in range(blocks[0], blocks[1]):
        at = block * LANES
        gate = GATES * at
        reset = sigmoid(load(of_input, gate) + load(of_hidden, gate))
        update = sigmoid(load(of_input, gate + LANES) + load(of_hidden, gate + LANES))
        new = tanh(fma(reset, load(of_hidden, gate + 2 * LANES), load(of_input, gate + 2 * LANES)))
        store(hidden, at, fma(update, load(hidden, at) - new, new))
