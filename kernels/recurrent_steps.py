"""The steps of recurrent layers: CELL makes new states from gates, COPY takes numbers to where they are read next.

Every thread works on its own units in the product, the cell and the copies, so that threads meet only before somebody
else's units are read.
"""

from __future__ import annotations

from .barrier import share
from .charge import Meter
from .gru_cell import gru_cell, gru_cell_cost
from .jit import inlined, kernel
from .lanes import LANES, blocks_of
from .lstm_cell import lstm_cell, lstm_cell_cost
from .network import LSTM, QRNN, buffer_of
from .product import real_rows
from .qrnn_cell import qrnn_cell, qrnn_cell_cost

# Blocks of units that stay together: with the four gates of an LSTM eight row blocks, a multiple of every CPU's tile
# for one vector.
_TOGETHER = 2


@inlined
def own_units(units, team):
    """First and last + 1 of the thread's blocks of 16 units."""
    blocks = blocks_of(units)
    groups = share((blocks + _TOGETHER - 1) // _TOGETHER, team)
    return _TOGETHER * groups[0], min(_TOGETHER * groups[1], blocks)


@kernel
def cell_cost(meter, step, units):
    """Cost law of the step CELL for some units."""
    if step.function == LSTM:
        lstm_cell_cost(meter, units)
    elif step.function == QRNN:
        qrnn_cell_cost(meter, step.parts, units)
    else:
        gru_cell_cost(meter, units)


@inlined
def cell_step(network, memory, step, team, tally):
    """Update this thread's units."""
    gates, hidden = (
        buffer_of(network.buffers, memory.buffers, step.source).data[0],
        buffer_of(network.buffers, memory.buffers, step.target).data[0],
    )
    other = buffer_of(network.buffers, memory.buffers, step.other).data[0]
    own, meter = own_units(step.width, team), Meter(tally, step.region)
    units = real_rows(own[0], own[1], step.width)
    if step.function == LSTM:
        lstm_cell(gates, other, hidden, own, units, meter)
    elif step.function == QRNN:
        qrnn_cell(gates, (other, hidden), step.parts, own, units, meter)
    else:
        gru_cell(gates, other, hidden, own, units, meter)


@inlined
def copy_step(network, memory, step, team):
    """Copy this thread's numbers: a move, not an operation."""
    source, target = (
        buffer_of(network.buffers, memory.buffers, step.source).data,
        buffer_of(network.buffers, memory.buffers, step.target).data,
    )
    own = own_units(step.width, team)
    for n in range(own[0] * LANES, min(own[1] * LANES, step.width)):
        target[0, step.to_column + n] = source[0, step.from_column + n]
