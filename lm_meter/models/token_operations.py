"""Operations of each prediction of a run, from the cost laws: what its tally is the sum of.

The laws are those by which the kernels are charged. They are evaluated once for each distinct kind of chunk, target and
number of pairs in a continuous cache; what a chunk's tokens cost in an adaptive embedding depends on their bins alone,
and is added to that.
"""

from __future__ import annotations

import functools

import numpy as np

from ..arena import describe_matrix
from ..checkpoint import Checkpoint
from ..context import Context
from ..kernels.charge import KINDS, MAX_BITS
from ..kernels.distances import distances_cost
from ..kernels.network import Network
from ..kernels.step_costs import count_chunks, experts_cost
from ..spool import PART, Spool, forget
from .chunk_kinds import chunk_positions
from .distinct_rows import distinct_rows
from .mixture import routed_alike
from .plan import Plan

_FIRST_BIN = np.zeros(0, np.int64)  # in place of the tokens of chunks that have none but such


class _Counter:
    """A tally of one word: all that is charged to it, every kind counted as 1."""

    def __init__(self, regions: int) -> None:
        self.word = np.zeros(1, np.int64)
        shape = (regions, len(KINDS), MAX_BITS + 1, MAX_BITS + 1)
        self.tally = np.lib.stride_tricks.as_strided(self.word, shape, (0, 0, 0, 0))

    def taken(self) -> int:
        """What was charged since it was last asked."""
        found = int(self.word[0])
        self.word[0] = 0
        return found


class _Laws:
    """The cost laws of one network."""

    def __init__(self, checkpoint: Checkpoint, context: Context | None) -> None:
        self.checkpoint, (plan, network) = checkpoint, checkpoint.architecture.described(checkpoint, context)
        self.plan: Plan = plan
        self.network: Network = network
        self._counter = _Counter(len(plan.regions))
        self._context, self._size = context, checkpoint.model_config.ends.continuous.size
        self._embedding = self.embedding() if len(network.embedding_bins) else np.zeros(0, np.int64)

    def chunks(self, chunks: np.ndarray, tokens: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Operations of some chunks and a prediction behind each, as ``chunks_cost`` takes them: (n,) int64."""
        counts = np.zeros(len(chunks), np.int64)
        count_chunks(self.network, np.ascontiguousarray(chunks, np.int64), tokens, targets, self._counter.tally, counts)
        return counts

    def kinds(self, chunks: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The same for chunks of tokens of the first bin, no two of them alike in the result's making."""
        rows = np.concatenate([chunks, targets[:, None]], axis=1)
        found, which = distinct_rows(rows)
        return self.chunks(found[:, :3], _FIRST_BIN, np.ascontiguousarray(found[:, 3]))[which]

    def firsts(self, bins: np.ndarray) -> np.ndarray:
        """The first token of each bin."""
        return np.ascontiguousarray(bins[:, 0]) if len(bins) else np.zeros(1, np.int64)

    def embedding(self) -> np.ndarray:
        """What a token of each bin of the embedding costs more than one of the first: (bins,) int64."""
        tokens = self.firsts(self.network.embedding_bins)
        chunks = np.tile(np.array([1, 0, 0]), (tokens.size, 1))
        found = self.chunks(chunks, tokens, np.zeros_like(tokens))
        return found - found[0]

    def experts(self, tokens: np.ndarray) -> np.ndarray:
        """Products of experts in chunks of so many tokens, (n,) int64: each token more costs as much as the second."""
        if not self.plan.experts.total:
            return np.zeros_like(tokens)
        one, two = self._products
        return one + (tokens - 1) * (two - one)

    @functools.cached_property
    def _products(self) -> list[int]:
        """The same of a chunk of one token, and of one of two."""
        matrices = [describe_matrix(self.checkpoint, source) for source in self.plan.matrices]
        found = []
        for size in (1, 2):
            # Of the last layer only the last token is needed.
            passing = [size] * (self.network.options.layers - 1) + [1]
            routed = routed_alike(str(self.checkpoint.path), self.plan.steps, matrices, self.plan.experts, passing)
            experts_cost(self.network, routed, self._counter.tally)
            found.append(self._counter.taken())
        return found

    def once(self) -> int:
        """What is done when a run begins."""
        if self.plan.once:
            distances_cost(self.network, self.network.options.window + 1, self._counter.tally)
        return self._counter.taken()

    def predictions(self, number: np.ndarray, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Operations of the predictions of these consecutive numbers, but for what is done once: (n,) int64."""
        counts, positions = np.ones_like(number), np.zeros_like(number)
        if self._context is not None:
            counts, positions = chunk_positions(self.network, self._context, number)
        nothing = np.zeros_like(number)
        home = nothing
        if len(self.network.softmax_bins) > 1:
            firsts = self.network.softmax_bins[:, 0]
            home = firsts[np.searchsorted(firsts, targets[number], side="right") - 1]
        found = self.kinds(np.stack([counts, positions, nothing], axis=1), home) + self.experts(counts)
        if self._size:
            pairs = np.minimum(number, self._size)
            rows = np.stack([np.ones_like(number), nothing, pairs], axis=1)
            # The first prediction sees no pair.
            found += self.kinds(rows, nothing) - self.kinds(np.array([[1, 0, 0]]), nothing[:1])
        if len(self.network.embedding_bins):
            low, end = int((number + 1 - counts).min()), int(number[-1]) + 1
            bins = np.searchsorted(self.network.embedding_bins[:, 0], inputs[low:end], side="right") - 1
            before = np.concatenate([[0], np.cumsum(self._embedding[bins])])
            found += before[number + 1 - low] - before[number + 1 - counts - low]
        return found


def token_operations(
    checkpoint: Checkpoint, context: Context | None, inputs: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Operations of each prediction of a run, every kind counted as 1.

    Parameters
    ----------
    checkpoint : Checkpoint
    context : Context or None
        None: a state.
    inputs, targets : (n,) int64
        Tokens that enter, and those predicted, from the beginning of the run.

    Returns
    -------
    (n,) int64
        Those done once, when a run begins, belong to the first prediction.

    Raises
    ------
    ConfigError
        Where experts differ in what they cost.
    """
    laws, spool = _Laws(checkpoint, context), Spool(np.int64)
    for first in range(0, inputs.size, PART):
        found = laws.predictions(np.arange(first, min(first + PART, inputs.size)), inputs, targets)
        if first == 0:
            found[:1] += laws.once()
        spool.add(found)
        forget(inputs, targets)
    return spool.array()
