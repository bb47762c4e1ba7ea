"""The step PRODUCT: a matrix-vector product, and what is done with its rows when they are there.

Where one token enters alone every thread works on its own share of the rows of the matrix; where several enter, the
inputs are prepared by tokens and multiplied by rows.
"""

from __future__ import annotations

from .activation import activated, activation_cost
from .barrier import meet, share
from .charge import ADD, MULTIPLY, Meter, charge
from .inputs import Vectors, must_prepare, own_row, prepare, prepare_cost
from .jit import inlined
from .lanes import LANES, load, store
from .matrix import FLOAT_BITS, matrix_at
from .network import ACTIVATE, ADD_TO, GATE, NO_BUFFER, PLAIN, buffer_of, rows_of
from .product import Place, Span, product, real_rows
from .recurrent_steps import own_units


@inlined
def action_cost(meter, step, numbers):
    """Cost law of what follows a product: an add for each number, or its activation, with a multiply as a gate."""
    if step.action == ADD_TO:
        charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, numbers)
    elif step.action == ACTIVATE or step.action == GATE:
        activation_cost(meter, step.function, numbers)
        if step.action == GATE:
            charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, numbers)


@inlined
def _act(network, memory, step, rows, own, tally):
    """What follows a product, on this thread's own columns: first and last + 1, of which ``real`` are no padding."""
    first, count = rows
    start, end, real = own
    if step.action == PLAIN:
        return
    target = buffer_of(network, memory, step.target).data
    other = target if step.other == NO_BUFFER else buffer_of(network, memory, step.other).data
    width, other_width = target.shape[1], other.shape[1]
    for t in range(first, first + count):
        for j in range(start, end, LANES):
            at, other_at = t * width + j, t * other_width + j
            x = load(target, at)
            if step.action == ADD_TO:
                store(other, other_at, load(other, other_at) + x)
                continue
            y = activated(step.function, load(other, other_at) if step.action == GATE else x)
            store(target, at, y * x if step.action == GATE else y)
    action_cost(Meter(tally, step.region), step, real * count)


@inlined
def _own_rows(rows, parts, team):
    """The thread's row blocks, first and last + 1, and how many of their rows are real."""
    if parts == 1:
        own = share((rows + LANES - 1) // LANES, team)
        return own, real_rows(own[0], own[1], rows)
    units = rows // parts
    own = own_units(units, team)
    return (parts * own[0], parts * own[1]), parts * real_rows(own[0], own[1], units)


@inlined
def multiply_step(network, memory, step, chunk, team, tally):
    """Multiply this thread's rows of a matrix with the vectors, and act on them."""
    matrix = matrix_at(network.matrices, step.matrix)
    source, target = buffer_of(network, memory, step.source).data, buffer_of(network, memory, step.target).data
    first, count = rows_of(step, chunk)
    meter = Meter(tally, step.region)
    row = team.thread if chunk.tokens.size == 1 and network.buffers[step.source, 2] else first
    narrow = own_row(memory.narrow, team.thread) if count == 1 else memory.narrow
    vectors = Vectors(source, narrow, row, count)
    if count == 1:
        # Every thread has made its own copy, which saves a barrier; the work of one is counted.
        prepare(matrix, vectors, 0, 1)
        prepare_cost(meter, matrix, 1 if team.thread == 0 else 0)
    elif must_prepare(matrix):
        tokens = share(count, team)
        prepare(matrix, vectors, tokens[0], tokens[1])
        prepare_cost(meter, matrix, tokens[1] - tokens[0])
        meet(team)
    own, real = _own_rows(matrix.rows, step.parts, team)
    place = Place(target, first, own[0] * LANES)
    product(network.weights, matrix, Span(own[0], own[1], real), vectors, place, meter)
    _act(network, memory, step, (first, count), (own[0] * LANES, own[1] * LANES, real), tally)
