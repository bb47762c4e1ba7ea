"""Causal attention of one head over the keys and values that are kept.

    s[j] = q . k[j],    p[j] = exp(s[j] - max s),    out = (sum over j of p[j] v[j]) / (sum over j of p[j])

over the positions j that the query sees, oldest first (Vaswani et al., Attention is all you need, 2017; the query comes
scaled). With learned relative positions (Shaw, Uszkoreit and Vaswani, 2018) s[j] goes on with q . r[distance to j].

Keys are kept in blocks of 16 positions, ``[position / 16][W][16]``: a dot product is a sum over the head's numbers in
their order, one position a lane, as in a product with packed weights. Values are kept position by position, each padded
to whole lanes: a sum over positions, oldest first. The normaliser is a sum over 16 lanes, lane l over every sixteenth
position from the oldest, and then over the lanes. So no bit depends on where in the memory a position lies.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .across import largest_across, sum_across
from .charge import ADD, COMPARE, DIVIDE, MULTIPLY, TRANSCENDENTAL, UNARY, charge
from .elementary import exp
from .jit import kernel
from .lanes import LANES, broadcast, fma, load, maximum, store
from .matrix import FLOAT_BITS

_LOWEST = np.float32(-np.inf)
_ZERO = np.float32(0.0)
# In front of a head's scores, for positions of the oldest block that the query does not see any more.
FRONT = LANES


class Cache(NamedTuple):
    """Keys and values of the positions that are kept, of every layer and key/value head."""

    keys: Any  # (layers * heads * capacity * W,) float32
    values: Any  # (layers * heads * capacity * W rounded up to 16,) float32, zeros behind W
    heads: int  # key/value heads
    width: int  # W, of a head
    capacity: int  # positions, a multiple of 16


class Relative(NamedTuple):
    """Learned vectors of distances, shared by the heads of a layer."""

    vectors: Any  # (layers, W, distances and 16 before and behind) float32: [layer, d, 16 + farthest - distance]
    farthest: int
    bits: Any  # (layers,) int64, declared widths; 0: there are none


class View(NamedTuple):
    """What a query sees: a layer, a key/value head, its own place in the cache and the oldest one that it sees."""

    layer: int
    head: int
    own: int
    oldest: int


@kernel
def attend_cost(meter, width, seen, queries, relative_bits):
    """Cost law of ``attend`` for some queries that see ``seen`` positions together.

    For m positions: m W multiplies and m (W - 1) adds for the scores; with relative positions m W of each more; m - 1
    compares, m subtractions, m exponentials, m - 1 adds; m W multiplies and (m - 1) W adds for the mixture, and W
    divisions.
    """
    sums = seen * (width - 1)
    if relative_bits != 0:
        charge(meter, MULTIPLY, relative_bits, FLOAT_BITS, seen * width)
        sums += seen * width
    charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, 2 * seen * width)
    charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, sums + seen + (seen - queries) + (seen - queries) * width)
    charge(meter, COMPARE, FLOAT_BITS, FLOAT_BITS, seen - queries)
    charge(meter, TRANSCENDENTAL, FLOAT_BITS, UNARY, seen)
    charge(meter, DIVIDE, FLOAT_BITS, FLOAT_BITS, width * queries)


@kernel
def keep(cache, place, key, value):
    """Put a position's key and value at ``place`` (layer, head, position of the cache): moves, not operations."""
    layer, head, position = place
    start = (layer * cache.heads + head) * cache.capacity
    at = start * cache.width + position // LANES * cache.width * LANES + position % LANES
    for d in range(cache.width):
        cache.keys[at + d * LANES] = key[d]
    padded = (cache.width + LANES - 1) // LANES * LANES
    at = (start + position) * padded
    for d in range(cache.width):
        cache.values[at + d] = value[d]


@kernel
def forget(cache, layers, first, last):
    """Move positions ``first`` to ``last`` - 1 to the front; ``first`` is a multiple of 16."""
    padded = (cache.width + LANES - 1) // LANES * LANES
    blocks = (last - first + LANES - 1) // LANES * LANES
    for head in range(layers * cache.heads):
        start = head * cache.capacity
        for array, width in ((cache.keys, cache.width), (cache.values, padded)):
            to, at = start * width, (start + first) * width
            for n in range(blocks * width):
                array[to + n] = array[at + n]


@kernel
def score(query, cache, relative, view, scores):
    """Scores of the positions, from the oldest on, behind FRONT."""
    width, span = cache.width, cache.width * LANES
    start = (view.layer * cache.heads + view.head) * cache.capacity * width
    with_relative = relative.bits[view.layer] != 0
    block, last = view.oldest // LANES, view.own // LANES + 1
    while block < last:
        at, to = start + block * span, FRONT + block * LANES - view.oldest
        if block + 4 <= last and not with_relative:
            a, b, c, e = broadcast(_ZERO), broadcast(_ZERO), broadcast(_ZERO), broadcast(_ZERO)
            for d in range(width):
                q = broadcast(query[d])
                a = fma(load(cache.keys, at), q, a)
                b = fma(load(cache.keys, at + span), q, b)
                c = fma(load(cache.keys, at + 2 * span), q, c)
                e = fma(load(cache.keys, at + 3 * span), q, e)
                at += LANES
            store(scores, to, a)
            store(scores, to + LANES, b)
            store(scores, to + 2 * LANES, c)
            store(scores, to + 3 * LANES, e)
            block += 4
            continue
        a = broadcast(_ZERO)
        for d in range(width):
            a = fma(load(cache.keys, at), broadcast(query[d]), a)
            at += LANES
        if with_relative:
            vectors = relative.vectors[view.layer]
            at = LANES + relative.farthest - (view.own - block * LANES)
            for d in range(width):
                a = fma(load(vectors, d * vectors.shape[1] + at), broadcast(query[d]), a)
        store(scores, to, a)
        block += 1


@kernel
def weigh(scores, seen, lanes):
    """Scores to exponentials; returns their sum."""
    padded = (seen + LANES - 1) // LANES * LANES
    for j in range(seen, padded):
        scores[FRONT + j] = _LOWEST
    top = load(scores, FRONT)
    for j in range(LANES, padded, LANES):
        top = maximum(load(scores, FRONT + j), top)
    highest = largest_across(lanes, top)
    total = broadcast(_ZERO)
    for j in range(0, padded, LANES):
        p = exp(load(scores, FRONT + j) - broadcast(highest))
        store(scores, FRONT + j, p)
        total = total + p
    return sum_across(lanes, total)


@kernel
def attend(query, cache, relative, view, scratch, out):
    """Attention of one query; charged by the caller.

    Parameters
    ----------
    query : (W,) float32
        Scaled.
    cache : Cache
    relative : Relative
    view : View
    scratch : ((FRONT + capacity + 16,) float32, (16,) float32)
        Overwritten.
    out : (W,) float32
        Written.
    """
    scores, lanes = scratch
    score(query, cache, relative, view, scores)
    seen = view.own - view.oldest + 1
    z = broadcast(weigh(scores, seen, lanes))
    padded = (cache.width + LANES - 1) // LANES * LANES
    start = ((view.layer * cache.heads + view.head) * cache.capacity + view.oldest) * padded
    for d in range(0, cache.width, LANES):
        at, mixed = start + d, broadcast(_ZERO)
        for j in range(seen):
            mixed = fma(load(cache.values, at), broadcast(scores[FRONT + j]), mixed)
            at += padded
        mixed = mixed / z
        if d + LANES <= cache.width:
            store(out, d, mixed)
        else:
            store(lanes, 0, mixed)
            for n in range(cache.width - d):
                out[d + n] = lanes[n]
