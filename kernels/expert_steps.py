"""The steps of a mixture of experts: ROUTE chooses each token's experts, MIX puts their outputs together.

Between them stand products of the experts (``product_step.py``), each over an expert's own items: tokens that pass the
same expert lie one after the other, so that one walk through its weights serves all of them.
"""

from __future__ import annotations

from .barrier import meet, share
from .charge import Meter
from .experts import EXPERT, ITEM, choose, choose_cost, mix_experts, mix_experts_cost
from .jit import inlined, kernel
from .lanes import LANES
from .network import buffer_of, has_own_row, rows_of
from .tile_shape import TILE_TOKENS


@kernel
def _copy(source, target):
    for j in range(source.size):
        target[j] = source[j]


@kernel
def _share_out(chosen, shares):
    """Where each expert's items begin, and how many there are.

    A tile of several tokens writes whole tiles of rows, so that experts with more items than one begin at those.
    """
    for e in range(shares.shape[0]):
        shares[e, 1] = 0
    for t in range(chosen.shape[0]):
        for slot in range(chosen.shape[1]):
            shares[chosen[t, slot, EXPERT], 1] += 1
    first = 0
    for e in range(shares.shape[0]):
        shares[e, 0] = first
        first += shares[e, 1] if shares[e, 1] < 2 else (shares[e, 1] + TILE_TOKENS - 1) // TILE_TOKENS * TILE_TOKENS


@kernel
def _give_items(chosen, shares, own):
    """Tell each of a thread's own tokens its items: those of an expert are in the order of the tokens."""
    for t in range(own[1]):
        for slot in range(chosen.shape[1]):
            e = chosen[t, slot, EXPERT]
            if t >= own[0]:
                chosen[t, slot, ITEM] = shares[e, 0]
            shares[e, 0] += 1
    for t in range(own[1]):
        for slot in range(chosen.shape[1]):
            shares[chosen[t, slot, EXPERT], 0] -= 1


@inlined
def route_step(network, memory, step, chunk, team, tally):
    """Choose the experts of each token, and put its vector where each of them reads it: moves, not operations.

    For a token alone every thread does so for itself, and needs no other.
    """
    source, target = (
        buffer_of(network.buffers, memory.buffers, step.other).data,
        buffer_of(network.buffers, memory.buffers, step.target).data,
    )
    logits, routes = buffer_of(network.buffers, memory.buffers, step.source).data, memory.routes
    shares = routes.shares[team.thread]
    first, count = rows_of(step, chunk)
    row, own, charged = 0, share(count, team), 0
    if count == 1:
        row, own, charged = team.thread, (0, 1), -1 if team.thread > 0 else 0
    chosen, weights = routes.chosen[row : row + count], routes.weights[row : row + count]
    for t in range(own[0], own[1]):
        choose(logits[first + t], network.experts, chosen[t], weights[t], memory.scores[team.thread])
    choose_cost(Meter(tally, step.region), network.experts, own[1] - own[0] + charged)
    if count > 1:
        meet(team)
    _share_out(chosen, shares)
    _give_items(chosen, shares, own)
    if count == 1:
        _copy(source[team.thread if has_own_row(network, step.other, step, chunk) else first], target[team.thread])
        return
    for t in range(own[0], own[1]):
        for slot in range(chosen.shape[1]):
            _copy(source[t], target[chosen[t, slot, ITEM]])


@inlined
def mix_step(network, memory, step, chunk, team, tally):
    """Add the mixture of the experts' outputs to each token's vector."""
    outputs, x = (
        buffer_of(network.buffers, memory.buffers, step.source).data,
        buffer_of(network.buffers, memory.buffers, step.target).data,
    )
    first, count = rows_of(step, chunk)
    row, own, columns = 0, share(count, team), (0, x.shape[1])
    if count == 1:
        blocks = share(x.shape[1] // LANES, team)
        row, own, columns = team.thread, (0, 1), (blocks[0] * LANES, blocks[1] * LANES)
    for t in range(own[0], own[1]):
        mix_experts(outputs, memory.routes.chosen[row + t], memory.routes.weights[row + t], columns, x[first + t])
    numbers = max(0, min(columns[1], step.width) - columns[0])
    mix_experts_cost(Meter(tally, step.region), network.experts, (own[1] - own[0]) * numbers)
