"""The step EMBED: from tokens to vectors.

A plain embedding's row is the vector. In an adaptive one (Baevski and Auli, 2019) the row of the token's bin is
projected to the model's width. Vectors may be scaled, and learned positions be added.
"""

from __future__ import annotations

import numpy as np

from .barrier import share
from .bins import NO_MATRIX, bin_at, bin_of
from .charge import ADD, CHARGED_BY_CALLER, MULTIPLY, Meter, charge
from .inputs import Vectors, own_row, prepare, prepare_cost
from .jit import inlined, kernel
from .lanes import LANES, blocks_of
from .lookup import Table, lookup, lookup_cost
from .matrix import FLOAT_BITS, matrix_at, whole_load
from .network import buffer_of
from .product import READS_ON, Place, Span, product, product_cost, real_rows


@inlined
def _project(network, memory, step, token, team, tally):
    """Look up a bin's row and project it; returns this thread's row of what it made, and the columns made.

    ``token`` is (its row, its bin, whether all threads are at it together). Then each makes its own columns, and looks
    the whole row up for itself, which saves a meeting; the work of one is counted.
    """
    row, part, is_shared = token
    table, matrix = matrix_at(network.matrices, part.matrix), matrix_at(network.matrices, part.projection)
    scratch, made = (
        buffer_of(network.buffers, memory.buffers, step.other).data,
        buffer_of(network.buffers, memory.buffers, step.other + 1).data,
    )
    meter, times = Meter(tally, part.projection_region), 1 if team.thread == 0 or not is_shared else 0
    everything = (0, table.columns)
    lookup(network.weights, Table(table, 1), row, everything, scratch[team.thread], CHARGED_BY_CALLER)
    lookup_cost(Meter(tally, step.region), table, times * table.columns)
    vector = Vectors(scratch, own_row(memory.narrow, team.thread), team.thread, 1)
    prepare(matrix, vector, 0, 1)
    prepare_cost(meter, matrix, times)
    blocks = blocks_of(matrix.rows)
    own = share(blocks, team) if is_shared else (0, blocks)
    real = real_rows(own[0], own[1], matrix.rows)
    place = Place(made, team.thread, own[0] * LANES)
    product(network.weights, matrix, Span(own[0], own[1], real, READS_ON), vector, place, meter)
    return made[team.thread], (own[0] * LANES, own[0] * LANES + real)


@inlined
def _fill(network, memory, step, work, team, tally):
    """Write a vector, and return the columns written: this thread's, where all threads are at it together.

    ``work`` is (the token, whether all threads are, where its vector goes).
    """
    token, is_shared, row = work
    width, meter = network.options.embedding_width, Meter(tally, step.region)
    columns = share(width, team) if is_shared else (0, width)
    if network.embedding_bins.shape[0] == 0:
        lookup(network.rows, network.table, token, columns, row, meter)
        return columns
    part = bin_at(network.embedding_bins, bin_of(network.embedding_bins, token))
    if part.projection == NO_MATRIX:
        table = Table(matrix_at(network.matrices, part.matrix), 1)
        lookup(network.weights, table, token - part.first, columns, row, meter)
        return columns
    made, columns = _project(network, memory, step, (token - part.first, part, is_shared), team, tally)
    for j in range(columns[0], columns[1]):
        row[j] = made[j]
    return columns


@inlined
def embed_step(network, memory, step, chunk, team, tally):
    """Vectors of the chunk's tokens: this thread's columns of a single one, or all of its share of several."""
    target, scratch = (
        buffer_of(network.buffers, memory.buffers, step.target).data,
        buffer_of(network.buffers, memory.buffers, step.other).data,
    )
    is_shared = chunk.tokens.size == 1
    first, last = (0, 1) if is_shared else share(chunk.tokens.size, team)
    count, options = 0, network.options
    for t in range(first, last):
        row = target[t, step.to_column :]
        columns = _fill(network, memory, step, (chunk.tokens[t], is_shared, row), team, tally)
        if options.embedding_scale != np.float32(1):
            for j in range(columns[0], columns[1]):
                row[j] *= options.embedding_scale
        if options.learned_positions:
            place, at = Meter(tally, step.region + 1), chunk.position + t
            lookup(network.position_rows, network.position_table, at, columns, scratch[team.thread], place)
            for j in range(columns[0], columns[1]):
                row[j] += scratch[team.thread, j]
        count += columns[1] - columns[0]
    _numbers_cost(network, step, count, tally)


@kernel
def _numbers_cost(network, step, count, tally):
    """Scaling, and the learned positions' add."""
    if network.options.embedding_scale != np.float32(1):
        charge(Meter(tally, step.region), MULTIPLY, FLOAT_BITS, FLOAT_BITS, count)
    if network.options.learned_positions:
        charge(Meter(tally, step.region + 1), ADD, FLOAT_BITS, FLOAT_BITS, count)


@kernel
def _bin_cost(network, step, part, count, tally):
    """Cost law of rows of one bin, and of their projection."""
    rows = matrix_at(network.matrices, part.matrix)
    lookup_cost(Meter(tally, step.region), rows, count * rows.columns)
    if part.projection != NO_MATRIX:
        matrix, place = matrix_at(network.matrices, part.projection), Meter(tally, part.projection_region)
        prepare_cost(place, matrix, count)
        product_cost(place, matrix, whole_load(matrix), count)


@kernel
def embed_cost(network, step, tokens, count, tally):
    """Cost law of the step for ``count`` tokens, (n,) int64: in an adaptive embedding it is their bins that count.

    Without ``tokens`` all are of the first one.
    """
    width, meter = network.options.embedding_width, Meter(tally, step.region)
    if network.embedding_bins.shape[0] == 0:
        lookup_cost(meter, network.table.matrix, width * count)
    elif tokens.size == 0:
        _bin_cost(network, step, bin_at(network.embedding_bins, 0), count, tally)
    else:
        for token in tokens:
            part = bin_at(network.embedding_bins, bin_of(network.embedding_bins, token))
            _bin_cost(network, step, part, 1, tally)
    if network.options.learned_positions:
        lookup_cost(Meter(tally, step.region + 1), network.position_table.matrix, width * count)
    _numbers_cost(network, step, width * count, tally)
