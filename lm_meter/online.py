"""The walk over the tokens: predict, then reveal; and the proof that reading out in blocks changed nothing."""

from __future__ import annotations

import time

import numpy as np

from .errors import MeterError
from .interrupt import Interruption
from .models.runtime import Runtime
from .progress import Progress

# A compiled call works for about this long before Python sees the progress and a Ctrl-C.
_CALL_SECONDS = 0.2
_SEED = 20190601
# After the first call and after each doubling of their number, one position is recomputed alone.
_FIRST_RECHECK = 1


class OnlinePass:
    """One walk over the tokens, call by call."""

    def __init__(self, runtime: Runtime, inputs: np.ndarray, targets: np.ndarray, block: int) -> None:
        self.runtime, self.inputs, self.targets, self.block = runtime, inputs, targets, block
        self.log_probs = np.zeros(targets.size)
        self.tallies = runtime.new_tallies()
        self.done = 0
        self.seconds = 0.0
        self.rechecked = 0
        self._random = np.random.default_rng(_SEED)

    def go(self, progress: Progress, interruption: Interruption) -> None:
        """Predict every target; stop early on Ctrl-C, which raises KeyboardInterrupt before the first call."""
        size, calls, next_recheck = self.block, 0, _FIRST_RECHECK
        nll = 0.0
        interruption.obey()
        while self.done < self.targets.size and not interruption.requested:
            first, last = self.done, min(self.done + size, self.targets.size)
            seconds = self._call(first, last)
            nll -= float(self.log_probs[first:last].sum())
            progress.update(self.done, nll)
            calls += 1
            if calls == next_recheck:
                self._recheck(first, last)
                next_recheck *= 2
            blocks = max(1, int(_CALL_SECONDS * (last - first) / max(seconds, 1e-9)) // self.block)
            size = self.block * min(blocks, 2 * size // self.block)

    def _call(self, first: int, last: int) -> float:
        started = time.perf_counter()
        values = self.runtime.run(self.inputs[first:last], self.targets[first:last], self.block, self.tallies)
        seconds = time.perf_counter() - started
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
        alone = self.runtime.read_out(self.runtime.frozen(position - block_start), int(self.targets[position]))
        if np.float64(alone).tobytes() != self.log_probs[position].tobytes():
            raise MeterError(
                f"position {position}: log-probability {alone!r} alone, {self.log_probs[position]!r} in a block of "
                f"{self.block}; the bits must be equal; please report this with your CPU's name"
            )
        self.rechecked += 1
