"""The moments of a run and what is alive in each: the steps of a chunk, and the readout of one prediction behind it.

A moment is a kernel that runs in a region. Its size is that of its inputs, outputs and scratch, and of everything kept
for a later one; state is what lives from token to token.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import NamedTuple

import numpy as np

from ..kernels.attention_pattern import DENSE, Pattern
from ..kernels.distances import TOGETHER
from ..kernels.network import ATTEND, FREEZE, KEEP, SPREAD, Network, Step
from .activation_sizes import Size, Sizes, indices, numbers
from .chunk_kinds import ChunkKinds
from .held_positions import Held, held_positions
from .liveness import Liveness, Piece, liveness
from .plan import Plan
from .readout_moments import readout_moments


class Moment(NamedTuple):
    """What is alive while a region works: the size of everything, and of what is no state."""

    region: int
    whole: Size
    transient: Size


class _Cache:
    """Keys and values: what is alive of them while the layers attend in their turn."""

    def __init__(self, sizes: Sizes) -> None:
        self._network, self._chunks = sizes.network, sizes.chunks
        options = self._network.options
        self._position = numbers(2 * options.key_heads * options.head_width)[:, None]
        self._found: dict[tuple[Pattern, bool], Held] = {}
        self._layers = {layer: self.held(layer, False).before for layer in range(options.layers)}
        self._transient = np.zeros_like(self._chunks.tokens)

    def pattern(self, layer: int) -> Pattern:
        """Of a layer's attention."""
        return Pattern(*map(int, self._network.patterns[layer]))

    def held(self, layer: int, only_last: bool) -> Held:
        """Positions that are alive in a layer, each (n,) int64."""
        pattern, chunks = self.pattern(layer), self._chunks
        if (pattern, only_last) not in self._found:
            columns, window = (chunks.positions, chunks.tokens, chunks.ends), int(self._network.options.window)
            self._found[pattern, only_last] = held_positions(pattern, window, columns, only_last)
        return self._found[pattern, only_last]

    def begin(self, step: Step) -> None:
        """A step's own accesses: keys come, or queries read them."""
        if step.kind == KEEP:
            held = self.held(step.layer, bool(step.last))
            self._layers[step.layer], self._transient = held.arriving, held.arriving - held.kept_arriving
        elif step.kind == ATTEND:
            held = self.held(step.layer, bool(step.last))
            self._layers[step.layer], self._transient = held.attending, held.attending - held.kept_attending

    def end(self, step: Step) -> None:
        """What nobody reads any more behind a step."""
        if step.kind == ATTEND:
            self._layers[step.layer] = self.held(step.layer, bool(step.last)).behind
            self._transient = np.zeros_like(self._transient)

    def sizes(self) -> tuple[Size, Size]:
        """Of everything, and of what is no state."""
        return self._position * sum(self._layers.values(), np.zeros_like(self._transient)), (
            self._position * self._transient
        )

    def scores(self, step: Step) -> Size:
        """Of one head's scores, and of the places that a sparse pattern lists."""
        seen = self.held(step.layer, bool(step.last)).seen
        return numbers(seen) + (0 if self.pattern(step.layer).kind == DENSE else indices(seen))


def moments(plan: Plan, network: Network, chunks: ChunkKinds) -> Iterator[Moment]:
    """All moments of a run of some chunks; sizes are (2, n), a column for each of some kinds of chunks."""
    if plan.once:
        yield from _once(plan, network)
    found = liveness(plan.steps, network.options.embedding_width, True)
    for part in chunks.parts():
        yield from _of_chunks(Sizes(plan, network, part), found)


def _of_chunks(sizes: Sizes, found: Liveness) -> Iterator[Moment]:
    """The moments of some of the chunks."""
    plan, network, chunks = sizes.plan, sizes.network, sizes.chunks
    cache, vectors, pairs, waiting = _Cache(sizes), sizes.nothing, sizes.nothing, sizes.nothing
    if plan.once:
        vectors = vectors + (network.options.window + 1) * _of_distance(network)
    if chunks.waits:
        width = network.options.output_width
        pairs = (numbers(width) + indices(1))[:, None] * chunks.pairs
        waiting = waiting + numbers(width)[:, None]  # for the token that follows
    for number, step in enumerate(plan.steps):
        cache.begin(step)
        alive, kept = _split(sizes, found, found.during[number], step)
        if step.kind == ATTEND:
            alive = alive + cache.scores(step)
        everywhere, passing = cache.sizes()
        state = kept + everywhere - passing + vectors + pairs
        if step.kind == FREEZE:
            state = state + waiting
        for region, scratch in sizes.scratch(step):
            transient = alive + passing + scratch
            yield Moment(region, transient + state, transient)
        cache.end(step)
    last = plan.steps[-1]
    state = sizes.of_pieces(found.state, last) + cache.sizes()[0] + vectors + pairs + waiting
    for region, alive in readout_moments(sizes):
        yield Moment(region, alive + state, alive)


def _split(sizes: Sizes, found: Liveness, pieces: Set[Piece], step: Step) -> tuple[Size, Size]:
    """What is no state, and what is, of the pieces that are alive in a step."""
    return sizes.of_pieces(pieces - found.state, step), sizes.of_pieces(pieces & found.state, step)


def _of_distance(network: Network) -> Size:
    """The vectors of a distance, of all layers."""
    _, sets, width, _ = network.relative.vectors.shape
    return numbers(network.options.layers * sets * width)[:, None]


def _once(plan: Plan, network: Network) -> Iterator[Moment]:
    """Vectors of distances are made, of some distances at a time: no token has entered yet."""
    first = np.arange(0, network.options.window + 1, TOGETHER)
    nothing = np.zeros_like(first)
    counts = np.minimum(TOGETHER, network.options.window + 1 - first)
    sizes = Sizes(plan, network, ChunkKinds(counts, first, first, nothing, False, frozenset(), frozenset()))
    found, one = liveness(plan.once, network.options.embedding_width, False), _of_distance(network)
    vectors = one * first
    for step, pieces in zip(plan.once, found.during, strict=True):
        if step.kind == SPREAD:
            vectors = vectors + one * counts // network.options.layers
        alive = sizes.of_pieces(pieces, step)
        for region, scratch in sizes.scratch(step):
            yield Moment(region, alive + scratch + vectors, alive + scratch)
