"""The steps of attention: KEEP turns queries and keys and puts keys and values into the cache, ATTEND reads it."""

from __future__ import annotations

import numpy as np

from .attention import View, attend, attend_cost, keep
from .attention_pattern import DENSE, list_places, pattern_at
from .barrier import share
from .charge import ADD, MULTIPLY, Meter, charge
from .jit import inlined
from .matrix import FLOAT_BITS
from .network import buffer_of, rows_of
from .rotary import NO_ROTATION, rotate, rotate_cost
from .width import Width, alone_cost


@inlined
def keep_cost(meter, network, step, vectors):
    """Cost law of the step KEEP: keys and queries of one head turned; the queries biased in two ways, and scaled."""
    (keys, queries), widths = vectors, network.relative.bias_widths[step.layer]
    biased = widths[0, 0] != 0
    if network.rotation.pairs != NO_ROTATION:
        rotate_cost(meter, network.rotation, keys + queries)
    numbers = queries * network.options.head_width
    if biased:
        for n in range(2):
            alone_cost(meter, ADD, Width(widths[n, 0], widths[n, 1]), numbers)
    if network.options.query_scale != np.float32(1):
        charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, 2 * numbers if biased else numbers)


@inlined
def keep_step(network, memory, step, chunk, team, tally):
    """Turn keys and queries, bias and scale the queries, put keys and values into the cache."""
    queries, keys = (
        buffer_of(network.buffers, memory.buffers, step.source).data,
        buffer_of(network.buffers, memory.buffers, step.other).data,
    )
    values = buffer_of(network.buffers, memory.buffers, step.other + 1).data
    cache, width, count = memory.cache, memory.cache.width, chunk.tokens.size
    turns = network.rotation.pairs != NO_ROTATION
    own_keys = share(count * cache.heads, team)
    for item in range(own_keys[0], own_keys[1]):
        t, head = item // cache.heads, item % cache.heads
        key = keys[t, head * width : (head + 1) * width]
        if turns:
            rotate(network.rotation, t, key)
        keep(cache, (step.layer, head, chunk.kept + t), key, values[t, head * width : (head + 1) * width])
    heads, scale, biases = network.options.heads, network.options.query_scale, network.relative.biases
    biased = network.relative.bias_widths[step.layer, 0, 0] != 0
    far = buffer_of(network.buffers, memory.buffers, step.other + 2).data if biased else queries
    first, rows = rows_of(step, chunk)
    own_queries = share(rows * heads, team)
    for item in range(own_queries[0], own_queries[1]):
        t, head = first + item // heads, item % heads
        query = queries[t, head * width : (head + 1) * width]
        if turns:
            rotate(network.rotation, t, query)
        if biased:
            for j in range(head * width, (head + 1) * width):
                far[t, j] = scale * (queries[t, j] + biases[step.layer, 1, j])
                queries[t, j] += biases[step.layer, 0, j]
        if scale != np.float32(1):
            for d in range(width):
                query[d] *= scale
    vectors = (own_keys[1] - own_keys[0], own_queries[1] - own_queries[0])
    keep_cost(Meter(tally, step.region), network, step, vectors)


@inlined
def attend_step(network, memory, step, chunk, team, tally):
    """Attend from each query to what it sees in the cache."""
    queries, out = (
        buffer_of(network.buffers, memory.buffers, step.source).data,
        buffer_of(network.buffers, memory.buffers, step.target).data,
    )
    far, cache, relative = buffer_of(network.buffers, memory.buffers, step.other).data, memory.cache, network.relative
    heads, window, sets = network.options.heads, network.options.window, relative.vectors.shape[1]
    width, sharing, pattern = cache.width, heads // cache.heads, pattern_at(network.patterns, step.layer)
    first, rows = rows_of(step, chunk)
    seen, items, listed, listed_of = 0, 0, 0, -1
    places, moved = memory.places[team.thread], (network.options.pinned, chunk.position - chunk.kept)
    scratch = (memory.scores[team.thread], memory.lanes[team.thread], places)
    # Neighbouring items see about as many positions: in turn the threads get equal shares.
    for item in range(team.thread, rows * heads, team.threads):
        t, head = first + item // heads, item % heads
        own = chunk.kept + t
        oldest = max(0, own - window)
        if pattern.kind != DENSE and t != listed_of:
            listed, listed_of = list_places(pattern, chunk.position + t, window, moved, places), t
        place = slice(head * width, (head + 1) * width)
        view = View(step.layer, head // sharing, head if sets > 1 else 0, own, oldest, listed)
        attend((queries[t, place], far[t, place]), cache, relative, view, scratch, out[t, place])
        seen += listed if listed else own - oldest + 1
        items += 1
    attend_cost(Meter(tally, step.region), width, seen, items, relative.widths[step.layer])
