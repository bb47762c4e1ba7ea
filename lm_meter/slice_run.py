"""A run over a part of a text: what lies before it enters without a prediction, or is taken from a saved state."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .errors import StateError
from .interrupt import Interruption, deferred_interrupt
from .models.runtime import Runtime
from .online import OnlinePass
from .preparation import Prepared, load
from .progress import Progress, Silent
from .run_options import RunOptions
from .saved_state import WRITTEN_BY_EVAL, SavedState
from .thread_trial import trial_of

_CALL_SECONDS = 0.2
_NO_TARGETS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Slice:
    """Predictions ``first`` to ``last`` - 1 of a run."""

    first: int
    last: int


class SliceRun(NamedTuple):
    """What a part gave: (last - first,) float64 in nats, and int64, of which there is none if no ranks were wanted."""

    log_probs: np.ndarray
    ranks: np.ndarray


def run_slice(
    prepared: Prepared,
    part: Slice,
    state: SavedState | None,
    ranked: bool = False,
    progress: Callable[[int], Progress] | None = None,
) -> SliceRun:
    """Log-probabilities of a part, and ranks if they are wanted.

    ``state``: of this run, with at most ``part.first`` predictions. Raises KeyboardInterrupt on Ctrl-C.
    """
    inputs, targets = prepared.inputs, prepared.targets
    with deferred_interrupt() as interruption:
        runtime = load(prepared, interruption, ranked).runtime
        begun = 0
        if state is not None:
            before = OnlinePass(runtime, inputs, targets, prepared.options)
            _take_up(before, state)
            begun = before.done
        _enter(runtime, inputs[begun : part.first], prepared.options, interruption)
        here = slice(part.first, part.last)
        run = OnlinePass(runtime, inputs[here], targets[here], prepared.options, ranked)
        meter = progress(run.targets.size) if progress else Silent()
        try:
            run.go(meter, interruption)
        finally:
            meter.close()
        interruption.obey()
        return SliceRun(run.log_probs, run.ranks)


def _take_up(run: OnlinePass, state: SavedState) -> None:
    try:
        run.take_up(state.progress, state.arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"the state's progress is not a pass's ({error}); {WRITTEN_BY_EVAL}") from None


def _enter(runtime: Runtime, inputs: np.ndarray, options: RunOptions, interruption: Interruption) -> None:
    """Let tokens enter, as far as anything depends on them, in calls that leave room for a Ctrl-C."""
    block, most, tallies = options.block, runtime.threads, runtime.new_tallies()
    size, done, trial = block, runtime.pass_over(inputs), trial_of(most, options.threads)
    while done < inputs.size:
        interruption.obey()
        runtime.use_threads(trial.threads)
        started = time.perf_counter()
        runtime.run(inputs[done : done + size], _NO_TARGETS, block, tallies)
        done += size
        seconds = trial.saw(time.perf_counter() - started)
        if seconds is not None:
            size = max(block, min(2 * size, int(size * _CALL_SECONDS / max(seconds, 1e-9))))
    runtime.use_threads(most)
