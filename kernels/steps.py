"""What a thread does in each step of a network.

Where one token enters alone every thread works on its own share of the rows of a matrix; what needs a whole vector (a
normalisation) every thread then makes for itself, which saves a meeting; the work of one is counted. Where several
enter, such work is shared among the threads by tokens.
"""

from __future__ import annotations

from .attention_steps import attend_step, keep_step
from .barrier import share
from .charge import Meter
from .embedding import embed_step
from .expert_steps import mix_step, route_step
from .jit import inlined
from .network import (
    ATTEND,
    CELL,
    COPY,
    EMBED,
    EXPERTS,
    KEEP,
    MIX,
    NORMALISE,
    OWN_ALONE,
    POSITION,
    PRODUCT,
    ROUTE,
    SINUSOID,
    buffer_of,
    norm_at,
    rows_of,
)
from .norm import norm_cost, normalise
from .product_step import multiply_step
from .recurrent_steps import cell_step, copy_step
from .rotary import angles, angles_cost
from .sinusoid import sinusoid_step


@inlined
def _normalise(network, memory, step, chunk, team, tally):
    norm, epsilon = norm_at(network.norms, step.matrix), network.options.epsilon
    source, target = (
        buffer_of(network.buffers, memory.buffers, step.source).data,
        buffer_of(network.buffers, memory.buffers, step.target).data,
    )
    first, count = rows_of(step, chunk)
    lanes = memory.lanes[team.thread]
    if chunk.tokens.size == 1 and network.buffers[step.target, 2] == OWN_ALONE:
        normalise(network.weights, norm, epsilon, (source[first], target[team.thread]), lanes)
        norm_cost(Meter(tally, step.region), norm, 1 if team.thread == 0 else 0)
        return
    own = share(count, team)
    for t in range(first + own[0], first + own[1]):
        normalise(network.weights, norm, epsilon, (source[t], target[t]), lanes)
    norm_cost(Meter(tally, step.region), norm, own[1] - own[0])


@inlined
def _freeze(network, memory, step, chunk, team, tally):
    """The last token's vector, normalised if the network ends so, is what the readout will read."""
    if team.thread != 0:
        return
    source, at = buffer_of(network.buffers, memory.buffers, step.source).data, chunk.tokens.size - 1
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
def run_recurrent_step(network, memory, step, chunk, team, tally):
    """One thread's part of a step of a recurrent model for a token."""
    if step.kind == PRODUCT:
        multiply_step(network, memory, step, chunk, team, tally)
    elif step.kind == CELL:
        cell_step(network, memory, step, team, tally)
    elif step.kind == COPY:
        copy_step(network, memory, step, team)
    elif step.kind == EMBED:
        embed_step(network, memory, step, chunk, team, tally)
    else:
        _freeze(network, memory, step, chunk, team, tally)


@inlined
def run_transformer_step(network, memory, step, chunk, team, tally):
    """One thread's part of a step of a transformer for a chunk of tokens."""
    if step.kind == PRODUCT or step.kind == EXPERTS:
        multiply_step(network, memory, step, chunk, team, tally)
    elif step.kind == NORMALISE:
        _normalise(network, memory, step, chunk, team, tally)
    elif step.kind == KEEP:
        keep_step(network, memory, step, chunk, team, tally)
    elif step.kind == ATTEND:
        attend_step(network, memory, step, chunk, team, tally)
    elif step.kind == EMBED:
        embed_step(network, memory, step, chunk, team, tally)
    elif step.kind == POSITION:
        _position(network, step, chunk, team, tally)
    elif step.kind == SINUSOID:
        sinusoid_step(network, memory, step, chunk, team, tally)
    elif step.kind == ROUTE:
        route_step(network, memory, step, chunk, team, tally)
    elif step.kind == MIX:
        mix_step(network, memory, step, chunk, team, tally)
    else:
        _freeze(network, memory, step, chunk, team, tally)
