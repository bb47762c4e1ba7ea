"""A run of a model in which every step is a call of its own, so that memory can be spoilt between the steps."""

import numpy as np
from reference_positions import pattern_sees

from lm_meter.kernels import token_loop as loop
from lm_meter.kernels.barrier import Team
from lm_meter.kernels.clock import UNTIMED
from lm_meter.kernels.continuous_cache import PAIRS, WAITS
from lm_meter.kernels.distances import make_distances
from lm_meter.kernels.network import ATTEND, KEEP, NO_STEP, Step
from lm_meter.models.liveness import liveness
from lm_meter.threads import ThreadTeam

LANES = 16


class StepByStep:
    """A model of one thread. ``between(moment)`` is called before each step, number len(steps) being the readout."""

    def __init__(self, opened, context):
        self.runtime = opened.architecture.load(opened, ThreadTeam(1), context)
        self.runtime.reserve(1)
        self.context, self.config = context, opened.model_config
        self.network, self.plan = self.runtime._network, self.runtime._plan
        self.memory, self.buffers = self.runtime._memory, self.runtime._buffers
        self.continuous = self.runtime._continuous
        self.steps = [Step(*map(int, row)) for row in self.network.steps]
        self.found = liveness(self.plan.steps, self.network.options.embedding_width, True)
        self._tally = self.runtime.new_tallies()[0]
        self._team = Team(self.runtime.team.sync, 0, 1, UNTIMED)
        self.first, self.count, self.end = 0, 0, 0  # the chunk's first position, its tokens, the context's last one

    def _call(self, steps, text):
        table = self.network.steps[steps].copy()
        table[:, Step._fields.index("following")] = NO_STEP  # what would be read ahead
        self.runtime._loop(
            self.network._replace(steps=table), self.memory, self.buffers, self._team, text, self._tally
        )  # fmt: skip

    def run(self, inputs, targets, between):
        """Log-probabilities of the targets, one behind each input."""
        tokens, chunks = self.runtime._entering(inputs)
        if self.plan.once:
            distances = np.arange(self.network.options.window + 1)
            make_distances(self.network, self.memory, self._team, distances, self._tally)
        nothing, no_chunk = np.zeros(0, np.int64), np.zeros((0, 3), np.int64)
        none, off = self.runtime._predictions(nothing), self.continuous._replace(size=0)
        found, state = [], self.memory.state
        for row, target in zip(chunks, targets, strict=True):
            chunk = row[None]
            if row[2]:
                state[:] = 0
            self._enter(state, row, len(found))
            before = state.copy()
            if self.continuous.size:  # the token follows the output that waits; none waits until this one is frozen
                self._call(slice(0, 0), loop.Text(tokens, chunk, none, 1, self.continuous))
                self.continuous.state[WAITS] = 0
            for number in range(len(self.steps)):
                between(number)
                state[:] = before
                self._call(slice(number, number + 1), loop.Text(tokens, chunk, none, 1, off))
            if self.continuous.size:
                state[:] = before
                self._call(slice(0, 0), loop.Text(tokens, chunk, none, 1, self.continuous))
            between(len(self.steps))
            wanted = self.runtime._predictions(np.array([target]))
            self._call(slice(0, 0), loop.Text(nothing, no_chunk, wanted, 1, self.continuous))
            found.append(wanted.log_probs[0])
        return np.array(found)

    def _enter(self, state, row, number):
        self.first, self.count, self.number = int(state[0]), int(row[1]), number
        policy = self.context.policy if self.context else "state"
        last = self.first + self.count - 1
        self.end = {"recompute": last, "segment": self.context and self.context.length - 1}.get(policy, 1 << 40)

    # What is alive, by name or number, and what is there to spoil.

    def alive(self, moment):
        """Pieces that are declared alive in a moment."""
        return self.found.during[moment] if moment < len(self.steps) else self.found.behind

    def array(self, piece):
        """The numbers of a piece, padding left out; None where nothing is."""
        found = self._named(piece) if isinstance(piece.memory, str) else self._of_buffer(piece)
        return found if found is not None and found.size else None

    def has_items(self, piece):
        """Whether a piece has rows of experts."""
        return isinstance(piece.memory, int) and self.plan.items[piece.memory]

    def _of_buffer(self, piece):
        offset, width, _, rows = map(int, self.network.buffers[piece.memory])
        table = self.memory.buffers[offset : offset + rows * width].reshape(rows, width)
        if self.has_items(piece):  # rows of experts: they lie anywhere, so that all are of the last token
            return table[:, : self.plan.widths[piece.memory]] if piece.is_last else None
        chosen = slice(self.count - 1, self.count) if piece.is_last else slice(0, self.count - 1)
        first, last = piece.columns or (0, self.plan.widths[piece.memory])
        return table[chosen, first:last]

    def _named(self, piece):
        rotation, routes, width = self.network.rotation, self.memory.routes, self.network.options.output_width
        chosen = slice(self.count - 1, self.count) if piece.is_last else slice(0, self.count - 1)
        if piece.memory == "angles":
            return rotation.sines[chosen]
        if piece.memory == "frozen":
            return self.memory.frozen[0, :width]
        return routes.weights if piece.memory == "mixture" and piece.is_last else None

    def every_piece(self):
        """All pieces that are ever alive."""
        return set().union(*self.found.during, self.found.behind)

    def positions(self, layer, moment):
        """Positions of a layer's cache that are alive in a moment, by the pattern's own words."""
        own = next(n for n, s in enumerate(self.steps) if s.kind == KEEP and s.layer == layer)
        attends = next(n for n, s in enumerate(self.steps) if s.kind == ATTEND and s.layer == layer)
        last, only_last = self.first + self.count - 1, self.steps[own].last
        asking = {last} if only_last else set(range(self.first, last + 1))
        window = self.network.options.window
        later = set(range(last + 1, min(self.end, last + window + 40) + 1))
        entry = self.config.patterns[layer]
        pattern = {"kind": entry.kind, "local": entry.local, "stride": entry.stride}
        pattern = None if entry.kind == "dense" else pattern | {"summary": entry.extra, "global": entry.extra}
        queries = later if moment > attends else later | asking
        there = range(self.first if moment < own else last + 1)
        return {
            j for j in there if (moment == own and j >= self.first)
            or any(q >= j and pattern_sees(pattern, q, j, window) for q in queries)
        }  # fmt: skip

    def keys_and_values(self, layer, positions):
        """Numbers of positions of a layer's cache: pairs of arrays and indices."""
        cache, padded = self.memory.cache, -(-self.memory.cache.width // LANES) * LANES
        found = ([], [])
        for head in range(cache.heads):
            start = (layer * cache.heads + head) * cache.capacity
            for j in positions:
                at = start * cache.width + j // LANES * cache.width * LANES + j % LANES
                found[0].extend(at + d * LANES for d in range(cache.width))
                found[1].extend((start + j) * padded + d for d in range(cache.width))
        return (cache.keys, np.array(found[0], np.int64)), (cache.values, np.array(found[1], np.int64))

    def scratch(self, moment):
        """Memory that means nothing between two steps; and the continuous cache's."""
        memory, buffers, continuous = self.memory, self.buffers, self.continuous
        narrow = [n for each in (memory.narrow, buffers.narrow, buffers.clusters_narrow) for n in each]
        found = [memory.ragged, memory.scores, memory.lanes, *narrow, buffers.projected, buffers.gathered]
        found += [buffers.reduced, buffers.logits, buffers.lanes, *buffers.partials, buffers.targets, buffers.clusters]
        found += [continuous.scores, continuous.totals, continuous.queries, continuous.lanes]
        width, pairs = continuous.outputs.width, int(continuous.state[PAIRS])
        for j in range(continuous.outputs.capacity if continuous.size else 0):
            if not pairs - continuous.size <= j < pairs:
                at = j // LANES * width * LANES + j % LANES
                found.append(continuous.outputs.keys[at : at + width * LANES : LANES])
        return found + ([continuous.last] if moment < len(self.steps) else [])

    def layers(self):
        """Numbers of the layers that attend."""
        return range(self.network.options.layers)
