"""The machine's read rate, measured over given memory with given threads."""

from __future__ import annotations

import statistics
import time

import numpy as np

from .kernels.stream import STRIDE, read_share
from .threads import ThreadTeam

_REPEATS = 7
_MIN_SECONDS = 0.002  # of one timing: the start of the threads must not show


def stream_bytes_per_second(data: np.ndarray, team: ThreadTeam) -> float:
    """Median rate of reading ``data``, (bytes,) uint8, every byte once, all threads together.

    What the memory of a model yields to a plain reader is the limit of a step that must read it once: main memory's
    rate for a large model, a cache's for a small one.
    """
    size = data.size // STRIDE * STRIDE
    if size == 0:
        return 0.0
    rounds = 1
    rates: list[float] = []
    while len(rates) < _REPEATS:

        def work(thread: int, rounds: int = rounds) -> None:
            for _ in range(rounds):
                read_share(data, thread, team.threads)

        started = time.perf_counter()
        team.run(work)
        seconds = time.perf_counter() - started
        if seconds < _MIN_SECONDS:
            rounds *= 2
            continue
        rates.append(size * rounds / seconds)
    return statistics.median(rates)
