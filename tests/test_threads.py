"""The team of threads and its barrier: everybody meets, work is taken once, an error releases the others."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lm_meter import threads
from lm_meter.errors import ConfigError
from lm_meter.kernels.barrier import next_item, wait
from lm_meter.kernels.jit import compiled
from lm_meter.threads import MAX_THREADS, ThreadTeam, check_threads, usable_cpus


@compiled
def _rounds(sync, thread, threads, board, sums):
    # Each round everybody writes, meets, and reads what the others wrote: a missed meeting shows as an old number.
    for number in range(board.shape[0]):
        board[number, thread] = number + thread
        wait(sync, threads)
        sums[thread] += board[number].sum()
        wait(sync, threads)


@compiled
def _take_items(sync, threads, taken, rounds):
    # Between two meetings each thread takes what it gets; the meeting makes all of them free again.
    for _ in range(rounds):
        wait(sync, threads)
        while True:
            item = next_item(sync)
            if item >= taken.size:
                break
            taken[item] += 1
        wait(sync, threads)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_see_what_the_others_wrote_before_the_barrier(threads):
    rounds = 500
    board, sums = np.zeros((rounds, threads), np.int64), np.zeros(threads, np.int64)
    team = ThreadTeam(threads)
    team.run(lambda thread: _rounds(team.sync, thread, threads, board, sums))
    # Sum over rounds n and threads t of n + t.
    expected = threads * rounds * (rounds - 1) // 2 + rounds * threads * (threads - 1) // 2
    assert sums.tolist() == [expected] * threads


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_item_is_taken_once_between_two_meetings(threads):
    taken = np.zeros(1000, np.int64)
    team = ThreadTeam(threads)
    team.run(lambda thread: _take_items(team.sync, threads, taken, 3))
    assert taken.tolist() == [3] * 1000


@pytest.mark.parametrize("failing", [0, 2])
def test_an_error_in_one_thread_releases_the_others_and_is_raised(failing):
    team = ThreadTeam(3)

    def work(thread):
        if thread == failing:
            raise KeyboardInterrupt
        wait(team.sync, 3)

    with pytest.raises(KeyboardInterrupt):
        team.run(work)
    board, sums = np.zeros((5, 3), np.int64), np.zeros(3, np.int64)
    team.run(lambda thread: _rounds(team.sync, thread, 3, board, sums))
    assert sums[0] == sums[1] == sums[2] > 0


def test_default_is_every_usable_processor():
    expected = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable_cpus() == expected
    assert check_threads(None) == threads.usable_cpus() >= 1  # in this suite a share of them: see conftest.py
    assert check_threads(3) == 3


def test_a_machine_of_many_processors_gives_no_more_threads_than_may_be_asked_for(monkeypatch):
    monkeypatch.setattr("lm_meter.threads.usable_cpus", lambda: 2 * MAX_THREADS)
    assert check_threads(None) == check_threads(MAX_THREADS) == MAX_THREADS


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_number_of_threads_is_checked(threads):
    with pytest.raises(ConfigError, match=f"threads is {threads}; expected 1 to 256"):
        check_threads(threads)


def test_every_thread_is_there_before_the_first_run():
    team = ThreadTeam(4)
    assert len(team._pool._threads) == 3


def test_a_team_that_cannot_be_started_is_refused(monkeypatch):
    submit = ThreadPoolExecutor.submit
    started = []

    def failing(pool, *arguments):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(submit(pool, *arguments))
        return started[0]

    monkeypatch.setattr(ThreadPoolExecutor, "submit", failing)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        ThreadTeam(3)
    assert started[0].done()


def test_a_thread_that_cannot_be_started_leaves_no_other_waiting(monkeypatch):
    team = ThreadTeam(3)
    submit = team._pool.submit
    started = []

    def failing(*arguments):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(submit(*arguments))
        return started[0]

    monkeypatch.setattr(team._pool, "submit", failing)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        team.run(lambda thread: wait(team.sync, 3))
    assert started[0].done()
