"""The steps of attention: KEEP turns queries and keys and puts keys and values into the cache, ATTEND reads it."""

from __future__ import annotations

import numpy as np

from .attention import View, attend, attend_cost, keep
from .barrier import share
from .charge import MULTIPLY, Meter, charge
from .jit import inlined
from .matrix import FLOAT_BITS
from .network import buffer_of, rows_of
from .rotary import NO_ROTATION, rotate, rotate_cost


@inlined
def keep_cost(meter, network, keys, queries):
    """Cost law of the step KEEP: ``keys`` and ``queries`` of one head turned, and the queries scaled."""
    if network.rotation.pairs != NO_ROTATION:
        rotate_cost(meter, network.rotation, keys + queries)
    if network.options.query_scale != np.float32(1):
        charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, queries * network.options.head_width)


@inlined
def keep_step(network, memory, step, chunk, team, tally):
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
    first, rows = rows_of(step, chunk)
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
def attend_step(network, memory, step, chunk, team, tally):
    """Attend from each query to what it sees in the cache."""
    queries, out = buffer_of(network, memory, step.source).data, buffer_of(network, memory, step.target).data
    cache, heads = memory.cache, network.options.heads
    width, sharing = cache.width, heads // cache.heads
    first, rows = rows_of(step, chunk)
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
