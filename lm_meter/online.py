"""The walk over the tokens: predict, then reveal; and the proof that reading out in blocks changed nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .errors import MeterError
from .interrupt import Interruption
from .models.runtime import Runtime
from .progress import Progress
from .run_options import RunOptions
from .spool import forget, spooled_zeros
from .thread_trial import trial_of

# A compiled call works for about this long before Python sees the progress and a Ctrl-C.
_CALL_SECONDS = 0.2
# And has at most so many tokens, whatever the model: their arrays take 50 bytes for each.
_CALL_TOKENS = 1 << 15
RECHECK_SEED = 20190601
# After the first call and after each doubling of their number, one position is recomputed alone.
_FIRST_RECHECK = 1
_MOST = 1 << 53  # of anything that is counted, or timed, in a saved state


class OnlinePass:
    """One walk over the tokens, call by call."""

    def __init__(
        self, runtime: Runtime, inputs: np.ndarray, targets: np.ndarray, options: RunOptions, ranked: bool = False
    ) -> None:
        """By ``options`` the block is chosen, and the threads: those that are asked for, or by a trial of them."""
        self.runtime, self.inputs, self.targets, self.block = runtime, inputs, targets, options.block
        self._trial = trial_of(runtime.threads, options.threads)
        self._worked: Counter[int] = Counter()
        self.log_probs = spooled_zeros(targets.size)
        self.ranks = spooled_zeros(targets.size if ranked else 0, np.int64)
        self.tallies = runtime.new_tallies()
        self.done = 0
        self.seconds = 0.0
        self.rechecked = 0
        self.sittings = 1
        self._random = np.random.default_rng(RECHECK_SEED)

    def go(
        self, progress: Progress, interruption: Interruption, keep: Callable[[OnlinePass], None] | None = None
    ) -> None:
        """Predict every target; stop early on Ctrl-C, which raises KeyboardInterrupt before the first call.

        ``keep`` is called after each call of compiled code.
        """
        size, calls, next_recheck = self.block, 0, _FIRST_RECHECK
        nll = -float(self.log_probs[: self.done].sum())
        interruption.obey()
        if self.done:
            progress.begin(self.done, nll)
        while self.done < self.targets.size and not interruption.requested:
            first, last = self.done, min(self.done + size, self.targets.size)
            self.runtime.use_threads(self._trial.threads)
            seconds = self._trial.saw(self._call(first, last))
            nll -= float(self.log_probs[first:last].sum())
            progress.update(self.done, nll)
            calls += 1
            if calls == next_recheck:
                self._recheck(first, last)
                next_recheck *= 2
            if keep:
                keep(self)
            forget(self.inputs, self.targets, self.log_probs, self.ranks)
            if seconds is None:
                continue
            blocks = max(1, int(_CALL_SECONDS * (last - first) / max(seconds, 1e-9)) // self.block)
            size = self.block * min(blocks, 2 * size // self.block, max(1, _CALL_TOKENS // self.block))

    @property
    def threads(self) -> int:
        """How many threads made most of this sitting's predictions."""
        return max(self._worked, key=self._worked.__getitem__, default=self.runtime.threads)

    def saved(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """All that is needed to go on, between two calls: plain numbers, and arrays."""
        tally = self.tallies.sum(axis=0)
        cells = np.argwhere(tally)
        numbers = {
            "done": self.done,
            "seconds": self.seconds,
            "rechecked": self.rechecked,
            "sittings": self.sittings,
        }
        arrays = {"log_probs": self.log_probs[: self.done], "cells": cells, "counts": tally[tuple(cells.T)]}
        if self.ranks.size:
            arrays["ranks"] = self.ranks[: self.done]
        return numbers, arrays | {f"runtime.{name}": array for name, array in self.runtime.snapshot().items()}

    def take_up(self, numbers: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what ``saved`` gave, before the first call; StateError or ValueError where it cannot be."""
        done, rechecked, sittings = (_count(numbers, name) for name in ("done", "rechecked", "sittings"))
        seconds = numbers["seconds"]
        if type(seconds) not in (int, float) or not 0 <= seconds <= _MOST:
            raise ValueError(f"seconds is {seconds!r:.40}")
        log_probs = saved_log_probs(numbers, arrays)
        if done > self.targets.size:
            raise ValueError(f"it has {done} predictions of {self.targets.size}, the run's")
        cells, counts = (_typed(arrays, name, "i8") for name in ("cells", "counts"))
        shape = self.tallies.shape[1:]
        if cells.shape != (counts.size, 4) or (cells < 0).any() or (cells >= shape).any() or (counts < 0).any():
            raise ValueError("its counts are of no region or kind of operation")
        if self.ranks.size and ("ranks" not in arrays or _typed(arrays, "ranks", "i8").shape != (done,)):
            raise ValueError("it has no ranks: the run that saved it wrote no records")
        prefix = "runtime."
        found = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        self.runtime.restore(found)
        self.log_probs[:done] = log_probs
        if self.ranks.size:
            self.ranks[:done] = arrays["ranks"]
        np.add.at(self.tallies[0], tuple(cells.T), counts)
        self.done, self.seconds, self.rechecked, self.sittings = done, float(seconds), rechecked, sittings + 1

    def _call(self, first: int, last: int) -> float:
        started = time.perf_counter()
        inputs, targets = self.inputs[first:last], self.targets[first:last]
        if self.ranks.size:
            values, self.ranks[first:last] = self.runtime.run_ranked(inputs, targets, self.block, self.tallies)
        else:
            values = self.runtime.run(inputs, targets, self.block, self.tallies)
        seconds = time.perf_counter() - started
        self._worked[self.runtime.threads] += last - first
        if not np.isfinite(values).all():
            position = first + int(np.argmin(np.isfinite(values)))
            raise MeterError(
                f"the log-probability at position {position} is {values[position - first]}: the model overflows "
                "float32, or float16 in its 16-bit activations; there is no perplexity; check the checkpoint's weights"
            )
        self.log_probs[first:last] = values
        self.done = last
        self.seconds += seconds
        return seconds

    def _recheck(self, first: int, last: int) -> None:
        """Read one position of the last block out again, alone, and compare every bit."""
        block_start = first + (last - 1 - first) // self.block * self.block
        position = int(self._random.integers(block_start, last))
        frozen, target = self.runtime.frozen(position - block_start), int(self.targets[position])
        alone = self.runtime.read_out(frozen, target)
        if np.float64(alone).tobytes() != self.log_probs[position].tobytes():
            raise MeterError(
                f"position {position}: log-probability {alone!r} alone, {self.log_probs[position]!r} in a block of "
                f"{self.block}; the bits must be equal; please report this with your CPU's name"
            )
        if self.ranks.size:
            self._recheck_rank(position, self.runtime.distribution(frozen))
        self.rechecked += 1

    def _recheck_rank(self, position: int, log_probs: np.ndarray) -> None:
        """Compare a rank with the whole distribution, in which other logits may have been rounded to equal values."""
        own, rank = log_probs[self.targets[position]], int(self.ranks[position])
        if not (log_probs > own).sum() < rank <= (log_probs >= own).sum():
            raise MeterError(
                f"position {position}: the target's rank is {rank}, {int((log_probs > own).sum()) + 1} in its whole "
                "distribution; please report this with your CPU's name"
            )


def saved_log_probs(numbers: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Log-probabilities in what ``OnlinePass.saved`` gave, (done,) float64; KeyError or ValueError where it did not."""
    done, log_probs = _count(numbers, "done"), _typed(arrays, "log_probs", "f8")
    if log_probs.shape != (done,) or not np.isfinite(log_probs).all():
        raise ValueError(f"it has {log_probs.size} log-probabilities of {done} predictions")
    return log_probs


def _count(numbers: Mapping[str, Any], name: str) -> int:
    value = numbers[name]
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ValueError(f"{name} is {value!r:.40}")
    return value


def _typed(arrays: Mapping[str, np.ndarray], name: str, dtype: str) -> np.ndarray:
    if arrays[name].dtype != dtype:
        raise ValueError(f"{name} is {arrays[name].dtype}")
    return arrays[name]
