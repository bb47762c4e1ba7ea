"""The machine's read rate, measured over given memory with given threads."""

from __future__ import annotations

import time

import numpy as np

from .kernels.stream import STRIDE, read_share
from .threads import ThreadTeam

_REPEATS = 7
_MIN_SECONDS = 0.002  # of one timing: the start of the threads must not show


def stream_bytes_per_second(data: np.ndarray, team: ThreadTeam, threads: int | None = None) -> float:
    """Rate of reading ``data``, (bytes,) uint8, every byte once, all threads of the team together, or some.

    What the memory of a model yields to a plain reader is the limit of a step that must read it once: main memory's
    rate for a large model, a cache's for a small one. It is the best of some readings: another program beside it only
    makes a reader slower.
    """
    size = data.size // STRIDE * STRIDE
    if size == 0:
        return 0.0
    readers, rounds = threads or team.threads, 1
    rates: list[float] = []
    while len(rates) < _REPEATS:

        def work(thread: int, rounds: int = rounds) -> None:
            for _ in range(rounds):
                read_share(data, thread, readers)

        started = time.perf_counter()
        team.run(work, readers)
        seconds = time.perf_counter() - started
        if seconds < _MIN_SECONDS:
            rounds *= 2
            continue
        rates.append(size * rounds / seconds)
    return max(rates)
