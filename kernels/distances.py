"""What is done once when a run begins: the vectors of distances of Transformer-XL positions.

    r[d] = W_r R[d],    d = 0 .. window

with R[d] the sinusoids of distance d, and a matrix W_r of each layer (Dai et al., Transformer-XL, 2019, section 3.3).
They do not depend on the text. Steps make them, as they make everything else: distances enter in chunks, as tokens do.
"""

from __future__ import annotations

from .barrier import meet, share
from .charge import Meter
from .clock import lap
from .clock import start as start_clock
from .inputs import prepare_cost
from .jit import entry, inlined
from .lanes import LANES
from .matrix import matrix_at, whole_load
from .network import ALWAYS, PRODUCT, SINUSOID, Chunk, buffer_of, step_at
from .product import product_cost
from .product_step import multiply_step
from .sinusoid import sinusoid_cost, sinusoid_step

TOGETHER = 64  # distances whose vectors are made together


@inlined
def _spread(network, memory, step, chunk, team):
    """Put the chunk's products where scores are made from: moves, not operations."""
    source, relative = buffer_of(network.buffers, memory.buffers, step.source).data, network.relative
    sets, width = relative.vectors.shape[1], relative.vectors.shape[2]
    own = share(chunk.tokens.size, team)
    for t in range(own[0], own[1]):
        at = LANES + relative.farthest - (chunk.position + t)
        for n in range(sets * width):
            relative.vectors[step.layer, n // width, n % width, at] = source[t, n]


@entry
def make_distances(network, memory, team, distances, tally):
    """Run one thread's share of the steps; every thread of the team calls this with the same arguments.

    Parameters
    ----------
    network : Network
        The vectors of ``network.relative`` are written.
    memory : Memory
        Overwritten; buffers have TILE_TOKENS rows more than the TOGETHER distances that enter together.
    team : Team
        The only argument, with ``tally``, in which the threads differ.
    distances : (n,) int64
        0, 1, ... n - 1.
    tally : (regions, kinds, 65, 65) int64 or None
        This thread's tally, modified in place.
    """
    start_clock(team.clock)
    for first in range(0, distances.size, TOGETHER):
        chunk = Chunk(distances[first : min(first + TOGETHER, distances.size)], 0, first, 0)
        for number in range(network.once.shape[0]):
            step = step_at(network.once, number)
            if step.kind == SINUSOID:
                sinusoid_step(network, memory, step, chunk, team, tally)
            elif step.kind == PRODUCT:
                multiply_step(network, memory, step, chunk, team, tally)
            else:
                _spread(network, memory, step, chunk, team)
            lap(team.clock, step.region)
            if step.meets == ALWAYS:
                meet(team)


@entry
def distances_cost(network, count, tally):
    """Charge what ``make_distances`` costs for ``count`` distances to ``tally`` (modified in place)."""
    for number in range(network.once.shape[0]):
        step = step_at(network.once, number)
        meter = Meter(tally, step.region)
        if step.kind == SINUSOID:
            sinusoid_cost(meter, count * network.sinusoid.frequencies.size, False)
        elif step.kind == PRODUCT:
            matrix = matrix_at(network.matrices, step.matrix)
            prepare_cost(meter, matrix, count)
            product_cost(meter, matrix, whole_load(matrix), count)
