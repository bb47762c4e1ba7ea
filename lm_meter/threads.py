"""A team of threads that run the same compiled function side by side and meet at its barriers."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Callable

import numpy as np

from .compilation import check_kernels
from .errors import ConfigError
from .kernels.barrier import ABORT, SYNC_WORDS

MAX_THREADS = 256


def usable_cpus() -> int:
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_whole(value: object) -> bool:
    """Whether ``value`` is a whole number of Python's or NumPy's; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_threads(threads: int | None) -> int:
    """``threads``, or for None the number of usable processors, up to the most that a team may have."""
    if threads is None:
        return min(usable_cpus(), MAX_THREADS)
    if not is_whole(threads) or not 1 <= threads <= MAX_THREADS:
        raise ConfigError(f"threads is {threads!r:.60}; expected 1 to {MAX_THREADS}")
    return int(threads)


class ThreadTeam:
    """``threads`` threads; the caller's is thread 0. ``sync`` is the memory of their barriers."""

    def __init__(self, threads: int) -> None:
        check_kernels()
        self.threads = threads
        self.sync = np.zeros(SYNC_WORDS, np.int64)
        self._pool = concurrent.futures.ThreadPoolExecutor(threads - 1) if threads > 1 else None
        if self._pool:
            self._start(self._pool)

    def _start(self, pool: concurrent.futures.Executor) -> None:
        """Start every thread of the pool now.

        A pool that starts its threads one by one may give two tasks to one thread, and the tasks of a run meet.
        """
        meeting = threading.Barrier(self.threads - 1)
        futures = []
        try:
            for _ in range(1, self.threads):
                futures.append(pool.submit(meeting.wait))
        except BaseException:
            meeting.abort()
            raise
        finally:
            concurrent.futures.wait(futures)

    def run(self, work: Callable[[int], object], threads: int | None = None) -> None:
        """Call ``work(thread)`` once in every thread, or in the first ``threads`` of them, and wait for all of these.

        If one of them raises, or cannot be started, the others are released from their barriers.
        """
        self.sync[:] = 0
        futures = []
        try:
            if self._pool:
                for thread in range(1, self.threads if threads is None else threads):
                    futures.append(self._pool.submit(self._releasing, work, thread))
            self._releasing(work, 0)
        except BaseException:
            self.sync[ABORT] = 1
            raise
        finally:
            concurrent.futures.wait(futures)
        for future in futures:
            future.result()

    def _releasing(self, work: Callable[[int], object], thread: int) -> None:
        try:
            work(thread)
        except BaseException:
            self.sync[ABORT] = 1
            raise
