"""Causal attention of one head over the keys and values that are kept.

    s[j] = q . k[j],    p[j] = exp(s[j] - max s),    out = (sum over j of p[j] v[j]) / (sum over j of p[j])

over the positions j that the query sees, oldest first (Vaswani et al., Attention is all you need, 2017; the query comes
scaled). With relative positions s[j] goes on with q' . r[distance to j], where r is a learned vector (Shaw, Uszkoreit
and Vaswani, 2018; q' is q) or made of sinusoids of the distance (Dai et al., Transformer-XL, 2019; q' has a bias of its
own). Under a sparse pattern j runs over a list of positions.

Keys are kept in blocks of 16 positions, ``[position / 16][W][16]``: a dot product is a sum over the head's numbers in
their order, one position a lane, as in a product with packed weights. Values are kept position by position, each padded
to whole lanes: a sum over positions, oldest first. The normaliser is a sum over 16 lanes, lane l over every sixteenth
position from the oldest, and then over the lanes. So no bit depends on where in the memory a position lies. Of a block
that holds a listed position all 16 lanes are computed, as in the oldest block of all: the others are dropped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .across import largest_across, sum_across
from .charge import ADD, COMPARE, DIVIDE, MULTIPLY, TRANSCENDENTAL, UNARY, charge
from .elementary import exp
from .jit import kernel
from .lanes import LANES, broadcast, fma, load, maximum, store, whole_lanes
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
    """Vectors of distances: one set shared by the heads of a layer, or one for each head; and biases of the queries."""

    vectors: Any  # (layers, sets, W, distances and 16 before and behind) float32: [.., d, 16 + farthest - distance]
    farthest: int
    # (layers, 3) int64: declared width, 0: there are none; steps by which a sum over a vector is multiplied; bits
    widths: Any
    biases: Any  # (layers, 2, heads * W) float32: of the query that meets keys, and of that which meets distances
    bias_widths: Any  # (layers, 2, fields of Width) int64; bits 0: there are none


class View(NamedTuple):
    """What a query sees: a layer, a key/value head, a set of vectors of distances, and places in the cache."""

    layer: int
    head: int
    set: int
    own: int
    oldest: int  # from which on it sees all,
    listed: int  # unless this is not 0: then it sees as many places as are listed


@kernel
def attend_cost(meter, width, seen, queries, relative):
    """Cost law of ``attend`` for some queries that see ``seen`` positions together.

    For m positions: m W multiplies and m (W - 1) adds for the scores; with relative positions m W of each more, and the
    multiplies by steps of their vectors, if these have any (``relative``: a row of the widths of ``Relative``); m - 1
    compares, m subtractions, m exponentials, m - 1 adds; m W multiplies and (m - 1) W adds for the mixture, and W
    divisions.
    """
    sums = seen * (width - 1)
    if relative[0] != 0:
        charge(meter, MULTIPLY, relative[0], FLOAT_BITS, seen * width)
        charge(meter, MULTIPLY, relative[2], FLOAT_BITS, seen * relative[1])
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
    padded = whole_lanes(cache.width)
    at = (start + position) * padded
    for d in range(cache.width):
        cache.values[at + d] = value[d]


@kernel
def forget(cache, layers, first, last, pinned):
    """Move positions ``first`` to ``last`` - 1 to the front, behind ``pinned`` ones; both begin blocks."""
    padded = whole_lanes(cache.width)
    positions = whole_lanes(last - first)
    for head in range(layers * cache.heads):
        start = head * cache.capacity
        for array, width in ((cache.keys, cache.width), (cache.values, padded)):
            to, at = (start + pinned) * width, (start + first) * width
            for n in range(positions * width):
                array[to + n] = array[at + n]


@kernel
def _score_blocks(queries, cache, relative, view, run, scores):
    """Scores of all positions of a run (first block, last + 1, where in ``scores``) of blocks."""
    (query, far), (block, last, to) = queries, run
    width, span = cache.width, cache.width * LANES
    start = (view.layer * cache.heads + view.head) * cache.capacity * width
    with_relative, vectors, row = relative.widths[view.layer, 0] != 0, relative.vectors, relative.vectors.shape[3]
    reach = (view.layer * vectors.shape[1] + view.set) * width * row + LANES + relative.farthest - view.own
    while block < last:
        at, away = start + block * span, reach + block * LANES
        if block + 4 <= last:
            a, b, c, e = broadcast(_ZERO), broadcast(_ZERO), broadcast(_ZERO), broadcast(_ZERO)
            for d in range(width):
                q = broadcast(query[d])
                a = fma(load(cache.keys, at), q, a)
                b = fma(load(cache.keys, at + span), q, b)
                c = fma(load(cache.keys, at + 2 * span), q, c)
                e = fma(load(cache.keys, at + 3 * span), q, e)
                at += LANES
            if with_relative:
                for d in range(width):
                    q = broadcast(far[d])
                    a = fma(load(vectors, away), q, a)
                    b = fma(load(vectors, away + LANES), q, b)
                    c = fma(load(vectors, away + 2 * LANES), q, c)
                    e = fma(load(vectors, away + 3 * LANES), q, e)
                    away += row
            store(scores, to, a)
            store(scores, to + LANES, b)
            store(scores, to + 2 * LANES, c)
            store(scores, to + 3 * LANES, e)
            block += 4
            to += 4 * LANES
            continue
        a = broadcast(_ZERO)
        for d in range(width):
            a = fma(load(cache.keys, at), broadcast(query[d]), a)
            at += LANES
        if with_relative:
            for d in range(width):
                a = fma(load(vectors, away), broadcast(far[d]), a)
                away += row
        store(scores, to, a)
        block += 1
        to += LANES


@kernel
def score(queries, cache, relative, view, scores):
    """Scores of all positions from the oldest on, behind FRONT; ``queries`` as for ``attend``."""
    first = view.oldest // LANES
    run = (first, view.own // LANES + 1, FRONT + first * LANES - view.oldest)
    _score_blocks(queries, cache, relative, view, run, scores)


@kernel
def _score_listed(queries, cache, relative, view, places, scores):
    """Scores of the listed places, one behind the other: of runs of blocks, from which those that are meant move up."""
    n = 0
    while n < view.listed:
        first = places[n] // LANES
        last, end = first + 1, n + 1
        while end < view.listed and places[end] // LANES <= last:
            last = places[end] // LANES + 1
            end += 1
        _score_blocks(queries, cache, relative, view, (first, last, FRONT + n), scores)
        start = FRONT + n - first * LANES
        for m in range(n, end):
            scores[FRONT + m] = scores[start + places[m]]
        n = end


@kernel
def weigh(scores, seen, lanes):
    """Scores to exponentials; returns their sum."""
    padded = whole_lanes(seen)
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
def _mix(cache, view, places, scores, at):
    """The sum of the weighted values of 16 numbers of a head; ``at``: those of the cache's first position."""
    padded = whole_lanes(cache.width)
    mixed = broadcast(_ZERO)
    if view.listed:
        for j in range(view.listed):
            mixed = fma(load(cache.values, at + places[j] * padded), broadcast(scores[FRONT + j]), mixed)
        return mixed
    at += view.oldest * padded
    for j in range(view.own - view.oldest + 1):
        mixed = fma(load(cache.values, at), broadcast(scores[FRONT + j]), mixed)
        at += padded
    return mixed


@kernel
def _mix_four(cache, view, scores, at):
    """``_mix`` of 64 numbers at once: four sums that do not wait for each other, each in the same order."""
    padded = whole_lanes(cache.width)
    a = b = c = e = broadcast(_ZERO)
    at += view.oldest * padded
    for j in range(view.own - view.oldest + 1):
        p = broadcast(scores[FRONT + j])
        a = fma(load(cache.values, at), p, a)
        b = fma(load(cache.values, at + LANES), p, b)
        c = fma(load(cache.values, at + 2 * LANES), p, c)
        e = fma(load(cache.values, at + 3 * LANES), p, e)
        at += padded
    return a, b, c, e


@kernel
def attend(queries, cache, relative, view, scratch, out):
    """Attention of one query; charged by the caller.

    Parameters
    ----------
    queries : ((W,) float32, (W,) float32)
        What meets the keys, and the vectors of distances if there are any; scaled.
    cache : Cache
    relative : Relative
    view : View
    scratch : ((FRONT + capacity + 16,) float32, (16,) float32, (capacity,) int64)
        Overwritten, but for the last: listed places, oldest first.
    out : (W,) float32
        Written.
    """
    scores, lanes, places = scratch
    seen = view.own - view.oldest + 1
    if view.listed:
        seen = view.listed
        _score_listed(queries, cache, relative, view, places, scores)
    else:
        score(queries, cache, relative, view, scores)
    z = broadcast(weigh(scores, seen, lanes))
    padded = whole_lanes(cache.width)
    start = (view.layer * cache.heads + view.head) * cache.capacity * padded
    together = 0 if view.listed else cache.width // (4 * LANES) * 4 * LANES
    for d in range(0, together, 4 * LANES):
        a, b, c, e = _mix_four(cache, view, scores, start + d)
        store(out, d, a / z)
        store(out, d + LANES, b / z)
        store(out, d + 2 * LANES, c / z)
        store(out, d + 3 * LANES, e / z)
    for d in range(together, cache.width, LANES):
        mixed = _mix(cache, view, places, scores, start + d) / z
        if d + LANES <= cache.width:
            store(out, d, mixed)
        else:
            store(lanes, 0, mixed)
            for n in range(cache.width - d):
                out[d + n] = lanes[n]
