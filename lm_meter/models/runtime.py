"""A loaded model: what all architectures have in common when they run."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import MeterError
from ..kernels.attention import FRONT
from ..kernels.barrier import Team
from ..kernels.bins import Bin
from ..kernels.charge import new_tallies
from ..kernels.clock import UNTIMED, new_clocks
from ..kernels.continuous_cache import DROPPED, Continuous, mix_distribution
from ..kernels.inputs import Narrow
from ..kernels.lanes import LANES
from ..kernels.matrix import Matrix
from ..kernels.readout import Predictions
from ..regions import Region
from ..threads import ThreadTeam

# Weights that a thread must have in a step to be worth the meetings. Measured on a Zen 3 server: two threads took, for
# models of 7, 29, 65, 115, 334 and 634 KB, 1.23, 1.15, 1.06, 0.95, 0.97 and 0.72 of the time of one.
SHARE_BYTES = 96 << 10
_LINE = 64  # bytes
_NO_TOKENS = np.zeros(0, np.int64)
_NO_LOGITS = np.zeros((0, 0), np.float32)


def padded(n: int, to: int = LANES) -> int:
    """``n`` rounded up to whole lanes, or to a multiple of ``to``."""
    return -(-n // to) * to


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Zeroed memory that begins at a multiple of 64 bytes, a line of the cache; MeterError where the system has none.

    A pruned matrix of 1x16 blocks reads its inputs a line at a time, up to 10 % faster than two halves.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        raw = np.zeros(size + _LINE, np.uint8)
        start = -raw.ctypes.data % _LINE
        return raw[start : start + size].view(dtype).reshape(shape)
    except MemoryError:
        raise MeterError(
            f"no memory for an array of {' x '.join(map(str, shape))} numbers; choose a shorter context, a smaller "
            "continuous cache or a smaller block"
        ) from None


def narrow_inputs(tokens: int, width: int, groups: int) -> Narrow:
    """Memory for the inputs of products that are not float32."""
    integers, starts = np.zeros((tokens, width), np.int16), np.zeros((tokens, groups), np.int32)
    return Narrow(zeros(tokens, width), integers, zeros(tokens), zeros(tokens, groups), starts)


def most_groups(matrices: list[Matrix]) -> int:
    """Scale groups in an input vector of the matrix that has most."""
    return max(matrix.sections * matrix.columns // matrix.group for matrix in matrices)


def widest_inputs(matrices: list[Matrix]) -> int:
    """Numbers that the widest input vector takes where it is prepared: whole lanes for each section."""
    return max(matrix.sections * padded(matrix.columns) for matrix in matrices)


def _as_tokens(tokens: np.ndarray) -> np.ndarray:
    """Tokens as the kernels have them: those of a text are held in fewer bytes."""
    return np.ascontiguousarray(tokens, np.int64)


class Frozen(NamedTuple):
    """What a prediction is made from, fixed before its token was known."""

    output: np.ndarray  # (padded width,) float32
    known: int  # pairs that a continuous cache had been given


class Runtime(ABC):
    """Packed weights, state, and the compiled loop over tokens.

    Attributes
    ----------
    vocabulary : int
    team : ThreadTeam
    threads : int
        Threads of the team that run the model: fewer than all where it is too small to be shared among these.
    regions : list of Region
        What the first index of a tally means.
    weights : (bytes,) uint8
        All packed weights.
    """

    vocabulary: int
    weights: np.ndarray
    _continuous: Continuous  # of size 0 if there is none
    _kept_logits: np.ndarray = _NO_LOGITS  # of a block, where ranks are found from them

    def __init__(self, team: ThreadTeam, regions: list[Region]) -> None:
        self.team, self.threads, self.regions = team, team.threads, regions
        # Where uncharged calls count: the kernels without a meter would be compiled for them alone.
        self._unused = self.new_tallies()

    @abstractmethod
    def reserve(self, block: int, ranks: bool = False) -> None:
        """Make room for blocks of up to ``block`` tokens, and for ranks of their targets."""

    @abstractmethod
    def weight_bytes(self, block: int) -> float:
        """Bytes of weights read for a token where ``block`` of them are read out together."""

    @abstractmethod
    def moments(self, inputs: np.ndarray, targets: np.ndarray) -> Iterator[Any]:
        """What is alive at each moment of a run over these tokens: ``Moment`` of ``moments.py``."""

    @abstractmethod
    def reset(self) -> None:
        """Back to the state before any token."""

    @abstractmethod
    def snapshot(self) -> dict[str, np.ndarray]:
        """Copies of all that is kept from token to token, between two calls: see ``snapshot.py``."""

    @abstractmethod
    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a snapshot of the same model in the same context; StateError where it is of another one."""

    def pass_over(self, inputs: np.ndarray) -> int:
        """Take in as many of the next tokens, (n,) int64, as nothing behind them depends on; returns how many.

        They are neither run nor charged. Of a state every token is remembered, so there are none.
        """
        return 0

    @property
    @abstractmethod
    def _bins(self) -> list[Bin]:
        """Bins of the softmax: one of a plain one."""

    @property
    @abstractmethod
    def _leaves_bins_out(self) -> bool:
        """Whether bins are evaluated only where the target is in them."""

    @property
    @abstractmethod
    def _outputs(self) -> np.ndarray:
        """Frozen outputs of the last block, a row each."""

    @abstractmethod
    def _call(self, inputs: np.ndarray, predictions: Predictions, block: int) -> Any:
        """A function of a Team and a tally that does one thread's share of letting tokens enter and predicting."""

    def _use_few_threads(self) -> None:
        self.threads = max(1, min(self.team.threads, int(self.weight_bytes(1)) // SHARE_BYTES))

    def use_threads(self, threads: int) -> None:
        """Run with some of the team's threads from the next call on: no bit of it depends on how many."""
        self.threads = threads

    def new_tallies(self) -> np.ndarray:
        """Empty tallies, one for each thread; the sum over the first axis is the run's."""
        return new_tallies(self.team.threads, len(self.regions))

    def new_clocks(self) -> np.ndarray:
        """Stopped clocks, one for each thread."""
        return new_clocks(self.team.threads, len(self.regions))

    def run(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        block: int,
        tallies: np.ndarray | None,
        clocks: np.ndarray | None = None,
    ) -> np.ndarray:
        """Let each input token enter and predict the target after it.

        Parameters
        ----------
        inputs, targets : (n,) integers
            Tokens, 0 to V - 1. Without inputs, targets are predicted from the frozen outputs as they are.
        block : int
            Frozen outputs read out together, at most what was reserved.
        tallies : (threads, regions, kinds, 65, 65) int64 or None
            Modified in place. None runs kernels that are compiled without a meter, to measure what it costs.
        clocks : (threads, regions and more) int64, optional
            Of ``new_clocks``, modified in place: the time of each region.

        Returns
        -------
        (n,) float64
            Log-probability of each target, in nats.
        """
        inputs, targets = _as_tokens(inputs), _as_tokens(targets)
        predictions = self._predictions(targets)
        self._run(inputs, predictions, block, tallies, clocks)
        return predictions.log_probs

    def run_ranked(
        self, inputs: np.ndarray, targets: np.ndarray, block: int, tallies: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """``run``, and the rank of each target, (n,) int64, where room was made for these; ranks are not charged."""
        inputs, targets, ranks = _as_tokens(inputs), _as_tokens(targets), np.zeros(targets.size, np.int64)
        if not self._leaves_bins_out:
            predictions = self._predictions(targets, self._kept_logits, ranks)
            self._run(inputs, predictions, block, tallies)
            return predictions.log_probs, ranks
        log_probs = np.zeros(targets.size)
        for first in range(0, targets.size, block):
            part = slice(first, first + block)
            log_probs[part] = self.run(inputs[part], targets[part], block, tallies)
            # The bins that were left out are evaluated for the rank alone.
            predictions = self._predictions(targets[part], self._kept_logits, ranks[part])
            self._run(_NO_TOKENS, predictions, block, self._unused)
        return log_probs, ranks

    @property
    def _is_one_softmax(self) -> bool:
        """Whether the logits alone have the order of the log-probabilities."""
        return len(self._bins) == 1 and self._continuous.size == 0

    def _run(
        self,
        inputs: np.ndarray,
        predictions: Predictions,
        block: int,
        tallies: np.ndarray | None,
        clocks: np.ndarray | None = None,
    ) -> None:
        call = self._call(inputs, predictions, block)

        def work(thread: int) -> None:
            clock = UNTIMED if clocks is None else clocks[thread]
            call(Team(self.team.sync, thread, self.threads, clock), None if tallies is None else tallies[thread])

        self.team.run(work, self.threads)

    def frozen(self, row: int) -> Frozen:
        """Copy of a frozen output of the last block: what the readout reads, before the token was known."""
        return Frozen(self._outputs[row].copy(), int(self._continuous.known[row]))

    def read_out(self, frozen: Frozen, target: int, tallies: np.ndarray | None = None) -> float:
        """Log-probability of ``target`` from one frozen output, alone; not metered without ``tallies``."""
        self._restore(frozen)
        tallies = self._unused if tallies is None else tallies
        return float(self.run(_NO_TOKENS, np.array([target], np.int64), 1, tallies)[0])

    def _restore(self, frozen: Frozen) -> None:
        self._outputs[0], self._continuous.known[0] = frozen.output, frozen.known

    def distribution(self, frozen: Frozen) -> np.ndarray:
        """Log-probabilities of the whole vocabulary from one frozen output: (V,) float64; not metered."""
        self._restore(frozen)
        predictions = self._predictions(np.zeros(1, np.int64), zeros(1, self.vocabulary))
        self._run(_NO_TOKENS, predictions, 1, self._unused)
        log_probs, parts = predictions.logits[0].astype(np.float64), self._bins
        for part, (top, log_total, _) in zip(parts, predictions.normalisers[0], strict=True):
            place = slice(part.first, part.first + part.size)
            log_probs[place] = (log_probs[place] - top) - log_total
        top, log_total, _ = predictions.normalisers[0, 0]
        for part, (_, _, cluster) in zip(parts[1:], predictions.normalisers[0, 1:], strict=True):
            log_probs[part.first : part.first + part.size] += (cluster - top) - log_total
        self._mix(frozen.known, log_probs)
        return log_probs

    def _mix(self, known: int, log_probs: np.ndarray) -> None:
        """Mix the model's distribution with the continuous cache's, as the exponentials of the last readout give it."""
        continuous = self._continuous
        seen = min(known, continuous.size)
        if seen == 0:
            return
        cached, first = np.zeros(self.vocabulary, np.float32), known - seen - continuous.state[DROPPED]
        np.add.at(cached, continuous.tokens[first : first + seen], continuous.scores[0, FRONT : FRONT + seen])
        mix_distribution(continuous, log_probs, cached / continuous.totals[0, 0])

    def _predictions(
        self, targets: np.ndarray, logits: np.ndarray = _NO_LOGITS, ranks: np.ndarray = _NO_TOKENS
    ) -> Predictions:
        normalisers = np.zeros((targets.size, len(self._bins), 3))
        return Predictions(targets, np.zeros(targets.size), normalisers, logits, ranks)
