"""The moments of a readout of one prediction: ``kernels/readout.py`` and what it calls, and the continuous cache's mix.

The logits of one segment are there at a time, the partial results of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..kernels.bins import NO_MATRIX, Bin
from ..kernels.log_softmax import SEGMENT_ROWS, SUM_BITS
from ..kernels.matrix import FLOAT_BITS
from .activation_sizes import Size, Sizes, numbers


@dataclass(frozen=True)
class _Kernel:
    """What runs in a region: the memory that it reads and writes, by name, and the size of its scratch."""

    region: int
    reads: frozenset[str]
    writes: frozenset[str]
    scratch: Size


class _Readout:
    """The kernels of a readout in their order, and the sizes of what they hand on."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, self.options = sizes, sizes.network.options
        self.memory = {"frozen": self._of(self.options.output_width)}
        self.kernels: list[_Kernel] = []

    def _of(self, count: int, bits: int = FLOAT_BITS) -> Size:
        return self.sizes.nothing + numbers(count, bits)[:, None]

    def _run(self, region: int, reads: set[str], writes: set[str], scratch: Size) -> None:
        self.kernels.append(_Kernel(region, frozenset(reads), frozenset(writes), scratch))

    def project(self, number: int, region: int, source: str, target: str) -> None:
        """A matrix before all bins, or before one."""
        self.memory[target] = self._of(self.sizes.matrices[number].rows)
        self._run(region, {source}, {target}, self.sizes.nothing + self.sizes.prepared(number))

    def evaluate(self, number: int, outputs: str) -> None:
        """A bin: its projection, its segments, that of the clusters, and their combination."""
        part = Bin(*map(int, self.sizes.network.softmax_bins[number]))
        inputs, segments, others = outputs, -(-part.size // SEGMENT_ROWS), 0
        if part.projection != NO_MATRIX:
            inputs = f"reduced {number}"
            self.project(part.projection, part.projection_region, outputs, inputs)
        partials, own = f"partials {number}", self.sizes.prepared(part.matrix)
        for_clusters = self.sizes.nothing
        if part.clusters != NO_MATRIX:
            others = self.sizes.matrices[part.clusters].rows
            for_clusters = for_clusters + self.sizes.prepared(part.clusters)
        self.memory[partials] = self._of(2 * (segments + (others > 0)) + 1)  # and the target's logit
        logits, softmax = self._of(min(part.size, SEGMENT_ROWS)) + for_clusters, self.options.softmax_region
        self._run(part.region, {inputs}, {partials}, logits + own)
        if segments > 1:  # while one is reduced there are others to come
            self._run(softmax, {inputs, partials}, {partials}, logits + own)
        else:
            self._run(softmax, {partials}, {partials}, logits)
        combined = {partials}
        if others:
            self.memory["clusters"] = self._of(others)
            combined.add("clusters")
            place = self._of(others)
            self._run(part.clusters_region, {inputs, partials}, {"clusters"}, place + for_clusters)
            self._run(softmax, {partials, "clusters"}, {partials}, place)
        # The normaliser, and in the first bin what it is to the others.
        written = self._of(2 + (len(self.sizes.network.softmax_bins) - 1 if number == 0 else 0), SUM_BITS)
        self.memory["prediction"] = self._of(1, SUM_BITS)
        self._run(softmax, combined | ({"prediction"} if number else set()), {"prediction"}, written)

    def mix(self) -> None:
        """The continuous cache: a query, the scores of all pairs, and their sum."""
        scratch = self._of(self.options.output_width + 1) + numbers(self.sizes.chunks.pairs)
        self._run(self.options.continuous_region, {"frozen", "prediction"}, {"prediction"}, scratch)

    def moments(self) -> Iterator[tuple[int, Size]]:
        """Regions and what is alive in them: what a kernel reads, writes and works in, and what is read later."""
        live: frozenset[str] = frozenset()
        for kernel in reversed(self.kernels):
            alive = live | kernel.reads | kernel.writes
            yield kernel.region, sum((self.memory[name] for name in alive), kernel.scratch)
            live = (live - kernel.writes) | kernel.reads


def readout_moments(sizes: Sizes) -> Iterator[tuple[int, Size]]:
    """Regions and the size of what is alive in them beside the state: the frozen output and what is made of it."""
    options, evaluated = sizes.network.options, sorted(sizes.chunks.softmax_bins)
    orders = [evaluated]
    if options.needed:  # a prediction wants the first bin, and that of its target
        orders = [[0, number] for number in evaluated[1:]] or [[0]]
    for order in orders:
        readout, outputs = _Readout(sizes), "frozen"
        if options.projection != NO_MATRIX:
            outputs = "projected"
            readout.project(options.projection, options.projection_region, "frozen", outputs)
        for number in order:
            readout.evaluate(number, outputs)
        if sizes.chunks.pairs.any():
            readout.mix()
        yield from readout.moments()
