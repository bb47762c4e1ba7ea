"""What a thread does in each step of a network.

Where one token enters alone every thread works on its own share of the rows of a matrix; what needs a whole vector (a
normalisation) every thread then makes for itself, which saves a meeting; the work of one is counted. Where several
enter, such work is shared among the threads by tokens.
"""

from __future__ import annotations

import numpy as np

from .activation import activated, activation_cost
from .attention import View, attend, attend_cost, keep
from .barrier import meet, share
from .charge import ADD, MULTIPLY, Meter, charge
from .inputs import Vectors, must_prepare, own_row, prepare, prepare_cost
from .jit import inlined
from .lanes import LANES, load, store
from .lookup import lookup
from .matrix import FLOAT_BITS, matrix_at
from .network import (
    ACTIVATE,
    ADD_TO,
    ATTEND,
    EMBED,
    GATE,
    KEEP,
    NO_BUFFER,
    NORMALISE,
    PLAIN,
    POSITION,
    PRODUCT,
    buffer_of,
    norm_at,
)
from .norm import norm_cost, normalise
from .product import Place, Span, product, real_rows
from .rotary import NO_ROTATION, angles, angles_cost, rotate, rotate_cost


@inlined
def _embed(network, memory, step, chunk, team, tally):
    """Rows of the embedding, scaled, with the learned positions added."""
    target, width = buffer_of(network, memory, step.target).data, network.table.matrix.columns
    scratch = buffer_of(network, memory, step.other).data
    first, last, columns = 0, 1, share(width, team)
    if chunk.tokens.size > 1:
        first, last = share(chunk.tokens.size, team)
        columns = (0, width)
    count = (last - first) * (columns[1] - columns[0])
    meter = Meter(tally, step.region)
    for t in range(first, last):
        lookup(network.rows, network.table, chunk.tokens[t], columns, target[t], meter)
        if network.options.embedding_scale != np.float32(1):
            for j in range(columns[0], columns[1]):
                target[t, j] *= network.options.embedding_scale
        if network.options.learned_positions:
            place, at = Meter(tally, step.region + 1), chunk.position + t
            lookup(network.position_rows, network.position_table, at, columns, scratch[t], place)
            for j in range(columns[0], columns[1]):
                target[t, j] += scratch[t, j]
    if network.options.embedding_scale != np.float32(1):
        charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, count)
    if network.options.learned_positions:
        charge(Meter(tally, step.region + 1), ADD, FLOAT_BITS, FLOAT_BITS, count)


@inlined
def _rows(step, chunk):
    """First row that a step works on, and how many."""
    return (chunk.tokens.size - 1, 1) if step.last else (0, chunk.tokens.size)


@inlined
def _normalise(network, memory, step, chunk, team, tally):
    norm, epsilon = norm_at(network.norms, step.matrix), network.options.epsilon
    source, target = buffer_of(network, memory, step.source).data, buffer_of(network, memory, step.target).data
    first, count = _rows(step, chunk)
    lanes = memory.lanes[team.thread]
    if chunk.tokens.size == 1 and network.buffers[step.target, 2]:
        normalise(network.weights, norm, epsilon, (source[first], target[team.thread]), lanes)
        norm_cost(Meter(tally, step.region), norm, 1 if team.thread == 0 else 0)
        return
    own = share(count, team)
    for t in range(first + own[0], first + own[1]):
        normalise(network.weights, norm, epsilon, (source[t], target[t]), lanes)
    norm_cost(Meter(tally, step.region), norm, own[1] - own[0])


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
def action_cost(meter, step, numbers):
    """Cost law of what follows a product: an add for each number, or its activation, with a multiply as a gate."""
    if step.action == ADD_TO:
        charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, numbers)
    elif step.action == ACTIVATE or step.action == GATE:
        activation_cost(meter, step.function, numbers)
        if step.action == GATE:
            charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, numbers)


@inlined
def _multiply(network, memory, step, chunk, team, tally):
    matrix = matrix_at(network.matrices, step.matrix)
    source, target = buffer_of(network, memory, step.source).data, buffer_of(network, memory, step.target).data
    first, count = _rows(step, chunk)
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
    own = share((matrix.rows + LANES - 1) // LANES, team)
    real = real_rows(own[0], own[1], matrix.rows)
    place = Place(target, first, own[0] * LANES)
    product(network.weights, matrix, Span(own[0], own[1], real), vectors, place, meter)
    _act(network, memory, step, (first, count), (own[0] * LANES, own[1] * LANES, real), tally)


@inlined
def keep_cost(meter, network, keys, queries):
    """Cost law of the step KEEP: ``keys`` and ``queries`` of one head turned, and the queries scaled."""
    if network.rotation.pairs != NO_ROTATION:
        rotate_cost(meter, network.rotation, keys + queries)
    if network.options.query_scale != np.float32(1):
        charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, queries * network.options.head_width)


@inlined
def _keep(network, memory, step, chunk, team, tally):
    """Turn keys and queries, scale the queries, put keys and values into the cache."""
    queries, keys = buffer_of(network, memory, step.source).data, buffer_of(network, memory, step.other).data
    values = buffer_of(network, memory, step.other + 1).data
    cache, width, count = memory.cache, memory.cache.width, chunk.tokens.size
    turns = network.rotation.pairs != NO_ROTATION
    own_keys = share(count * cache.heads, team)
    for item in range(own_keys[0], own_keys[1]):
        t, head = item // cache.heads, item % cache.heads
        key = keys[t, head * width : (head + 1) * width]
        if turns:
            rotate(network.rotation, t, key)
        keep(cache, (step.layer, head, chunk.kept + t), key, values[t, head * width : (head + 1) * width])
    heads = network.options.heads
    first, rows = _rows(step, chunk)
    own_queries = share(rows * heads, team)
    for item in range(own_queries[0], own_queries[1]):
        t, head = first + item // heads, item % heads
        query = queries[t, head * width : (head + 1) * width]
        if turns:
            rotate(network.rotation, t, query)
        if network.options.query_scale != np.float32(1):
            for d in range(width):
                query[d] *= network.options.query_scale
    keep_cost(Meter(tally, step.region), network, own_keys[1] - own_keys[0], own_queries[1] - own_queries[0])


@inlined
def _attend(network, memory, step, chunk, team, tally):
    queries, out = buffer_of(network, memory, step.source).data, buffer_of(network, memory, step.target).data
    cache, heads = memory.cache, network.options.heads
    width, sharing = cache.width, heads // cache.heads
    first, rows = _rows(step, chunk)
    seen, items = 0, 0
    scratch = (memory.scores[team.thread], memory.lanes[team.thread])
    # Neighbouring items see about as many positions: in turn the threads get equal shares.
    for item in range(team.thread, rows * heads, team.threads):
        t, head = first + item // heads, item % heads
        own = chunk.kept + t
        oldest = max(0, own - network.options.window)
        place = slice(head * width, (head + 1) * width)
        view = View(step.layer, head // sharing, own, oldest)
        attend(queries[t, place], cache, network.relative, view, scratch, out[t, place])
        seen += own - oldest + 1
        items += 1
    attend_cost(Meter(tally, step.region), width, seen, items, network.relative.bits[step.layer])


@inlined
def _freeze(network, memory, step, chunk, team, tally):
    """The last token's vector, normalised if the network ends so, is what the readout will read."""
    if team.thread != 0:
        return
    source, at = buffer_of(network, memory, step.source).data, chunk.tokens.size - 1
    if step.matrix >= 0:
        norm = norm_at(network.norms, step.matrix)
        vectors = (source[at], memory.frozen[chunk.frozen])
        normalise(network.weights, norm, network.options.epsilon, vectors, memory.lanes[0])
        norm_cost(Meter(tally, step.region), norm, 1)
        return
    for j in range(memory.frozen.shape[1]):
        memory.frozen[chunk.frozen, j] = source[at, j]


@inlined
def _position(network, step, chunk, team, tally):
    """Sines and cosines of the chunk's positions."""
    own = share(chunk.tokens.size, team)
    for t in range(own[0], own[1]):
        angles(network.rotation, t, chunk.position + t)
    angles_cost(Meter(tally, step.region), network.rotation, own[1] - own[0])


@inlined
def run_step(network, memory, step, chunk, team, tally):
    """One thread's part of a step for a chunk of tokens."""
    if step.kind == PRODUCT:
        _multiply(network, memory, step, chunk, team, tally)
    elif step.kind == NORMALISE:
        _normalise(network, memory, step, chunk, team, tally)
    elif step.kind == KEEP:
        _keep(network, memory, step, chunk, team, tally)
    elif step.kind == ATTEND:
        _attend(network, memory, step, chunk, team, tally)
    elif step.kind == EMBED:
        _embed(network, memory, step, chunk, team, tally)
    elif step.kind == POSITION:
        _position(network, step, chunk, team, tally)
    else:
        _freeze(network, memory, step, chunk, team, tally)
