"""The step PRODUCT: a matrix-vector product, and what is done with its rows when they are there.

Where one token enters alone every thread works on its own share of the rows of the matrix; where several enter, the
inputs are prepared by tokens and multiplied by rows. The step EXPERTS is such a product for each expert that any token
passes, of the vectors of its own items (``expert_steps.py``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .activation import activated, activation_cost
from .barrier import meet, share
from .charge import ADD, MULTIPLY, Meter, charge
from .inputs import Vectors, must_prepare, narrow_rows, prepare, prepare_cost
from .jit import inlined
from .lanes import LANES, address, load, store
from .matrix import FLOAT_BITS, matrix_at
from .network import (
    ACTIVATE,
    ADD_TO,
    EXPERTS,
    GATE,
    NO_BUFFER,
    NO_STEP,
    PLAIN,
    buffer_of,
    has_own_row,
    rows_of,
    step_at,
)
from .product import READS_ON, After, Place, Span, product, real_rows
from .recurrent_steps import own_units
from .sections import Run, run_from, section_blocks


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
def _act(step, buffers, row, run, made):
    """What follows a product, on the rows of a run, for some vectors from ``row`` on; they lie where ``made`` says.

    ``buffers``: the step's target, and its other one.
    """
    (target, other), (place, count) = buffers, made
    if step.action == PLAIN and run.is_whole:
        return
    out = other if step.action == ADD_TO else target
    for t in range(count):
        start = (place.row + t) * place.data.shape[1] + place.column
        other_start = (row + t) * other.shape[1] + run.column
        for j in range(0, run.rows, LANES):
            x = load(place.data, start + j)
            y = x
            if step.action == ADD_TO:
                y = load(other, other_start + j) + x
            elif step.action != PLAIN:
                y = activated(step.function, load(other, other_start + j) if step.action == GATE else x)
                y = y * x if step.action == GATE else y
            if run.is_whole:
                store(out, (row + t) * out.shape[1] + run.column + j, y)
            else:
                store(place.data, start + j, y)
        if not run.is_whole:
            for n in range(run.rows):
                out[row + t, run.column + n] = place.data[place.row + t, n]


@inlined
def _own_blocks(matrix, parts, team):
    """The thread's row blocks, first and last + 1."""
    if parts == 1:
        return share(matrix.sections * section_blocks(matrix), team)
    own = own_units(matrix.rows // parts, team)
    return parts * own[0], parts * own[1]


@inlined
def _run_from(matrix, parts, first, last):
    """As many of the row blocks as can be multiplied together: all, where ``parts`` of a matrix are interleaved."""
    if parts == 1:
        return run_from(matrix, first, last)
    real = parts * real_rows(first // parts, last // parts, matrix.rows // parts)
    return Run(first, last, real, first * LANES, 1)


@inlined
def _after(network, step, own, team):
    """What the thread reads behind its own row blocks of a step's matrix: those of the next step's."""
    if step.following == NO_STEP:
        return READS_ON
    matrix, following = matrix_at(network.matrices, step.matrix), step_at(network.steps, step.following)
    next_matrix = matrix_at(network.matrices, following.matrix)
    first = _own_blocks(next_matrix, following.parts, team)[0]
    end = matrix.offset + own[1] * matrix.block_bytes
    start = next_matrix.offset + first * next_matrix.block_bytes
    return After(address(network.weights) + end, start - end)


class _Work(NamedTuple):
    """A product of one matrix: of the vectors in rows row .. row + count - 1 of the step's buffers."""

    matrix: Any
    row: int
    vectors: int


@inlined
def _work(matrices, routes, step, rows, team, number):
    """The step's only product, of its rows, or that of an expert."""
    if step.kind == EXPERTS:
        share_of = routes.shares[team.thread, number]
        return _Work(matrix_at(matrices, step.matrix + number), share_of[0], share_of[1])
    return _Work(matrix_at(matrices, step.matrix), rows[0], rows[1])


@inlined
def multiply_step(network, memory, step, chunk, team, tally):
    """Multiply this thread's rows of each matrix with its vectors, and act on them."""
    source, target = (
        buffer_of(network.buffers, memory.buffers, step.source).data,
        buffer_of(network.buffers, memory.buffers, step.target).data,
    )
    other = target if step.other == NO_BUFFER else buffer_of(network.buffers, memory.buffers, step.other).data
    rows, meter, waits = rows_of(step, chunk), Meter(tally, step.region), False
    is_one, products = rows[1] == 1, network.experts.total if step.kind == EXPERTS else 1
    ragged = team.thread * (memory.ragged.shape[0] // team.threads)
    for number in range(0 if is_one else products):
        work = _work(network.matrices, memory.routes, step, rows, team, number)
        if work.vectors > 0 and must_prepare(work.matrix):
            narrow = narrow_rows(memory.narrow, work.row, work.row + work.vectors)
            vectors, tokens = Vectors(source, narrow, work.row, work.vectors), share(work.vectors, team)
            prepare(work.matrix, vectors, tokens[0], tokens[1])
            prepare_cost(meter, work.matrix, tokens[1] - tokens[0])
            waits = True
    if waits:
        meet(team)
    for number in range(products):
        work = _work(network.matrices, memory.routes, step, rows, team, number)
        if work.vectors == 0:
            continue
        matrix, row = work.matrix, team.thread if has_own_row(network, step.source, step, chunk) else work.row
        kept = (team.thread, team.thread + 1) if is_one else (work.row, memory.narrow.scales.size)
        vectors = Vectors(source, narrow_rows(memory.narrow, kept[0], kept[1]), row, work.vectors)
        if is_one:
            # Every thread has made its own copy, which saves a barrier; the work of one is counted.
            prepare(matrix, vectors, 0, 1)
            prepare_cost(meter, matrix, 1 if team.thread == 0 else 0)
        own = _own_blocks(matrix, step.parts, team)
        block, real, after = own[0], 0, _after(network, step, own, team)
        while block < own[1]:
            run = _run_from(matrix, step.parts, block, own[1])
            place = Place(target, work.row, run.column) if run.is_whole else Place(memory.ragged, ragged, 0)
            product(network.weights, matrix, Span(run.first, run.last, run.rows, after), vectors, place, meter)
            _act(step, (target, other), work.row, run, (place, work.vectors))
            block, real = run.last, real + run.rows
        action_cost(meter, step, real * work.vectors)
