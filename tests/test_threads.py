"""The team of threads and its barrier: everybody meets, work is taken once, an error releases the others."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lm_meter import threads
from lm_meter.errors import ConfigError
from lm_meter.kernels.barrier import (
    GENERATION,
    HAS_FUTEX,
    SLEEPING,
    SYNC_WORDS,
    futex_wake,
    next_item,
    sleep_in_naps,
    wait,
)
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


def await_sleepers(sync, number):
    while sync[SLEEPING] != number:
        time.sleep(0.001)


def test_a_thread_that_waits_for_a_late_one_sleeps():
    team, elapsed, spent = ThreadTeam(2), np.zeros(2), np.zeros(2)
    wait(team.sync, 1)  # compiled

    def work(thread):
        if thread == 1:
            time.sleep(1)
        before = time.monotonic(), time.thread_time()
        wait(team.sync, 2)
        elapsed[thread], spent[thread] = time.monotonic() - before[0], time.thread_time() - before[1]

    team.run(work)
    # It spins for some microseconds, and wakes a hundred times a second to see whether the run was given up.
    assert spent[0] < elapsed[0] / 4


def test_where_a_system_wakes_nobody_threads_sleep_too_and_see_the_change():
    sync, spent = np.zeros(SYNC_WORDS, np.int64), []
    sleep_in_naps(sync, 1)  # compiled; the word is another one, so that it returns at once

    def work():
        before = time.monotonic(), time.thread_time()
        sleep_in_naps(sync, 0)
        spent.append((time.monotonic() - before[0], time.thread_time() - before[1]))

    sleeper = threading.Thread(target=work)
    sleeper.start()
    await_sleepers(sync, 1)
    time.sleep(0.5)
    assert spent == []
    sync[GENERATION] = 1
    sleeper.join()
    elapsed, computed = spent[0]
    assert computed < elapsed / 2
    assert sync[SLEEPING] == 0


@compiled
def _wake(sync):
    return futex_wake(sync, GENERATION)


@pytest.mark.skipif(not HAS_FUTEX, reason="this system has no futex: threads sleep in short naps")
def test_who_sleeps_is_woken_by_the_call_that_comes_last():
    team, woken = ThreadTeam(3), 0
    _wake(team.sync)  # compiled

    def work(thread):
        nonlocal woken
        if thread == 0:
            await_sleepers(team.sync, 2)
            # Between two naps a thread is awake for some microseconds: asked until both were found asleep.
            while woken < 2:
                woken = max(woken, _wake(team.sync))
        wait(team.sync, 3)

    team.run(work)
    assert woken == 2
    assert team.sync[SLEEPING] == 0


@pytest.mark.parametrize("failing", [0, 2])
@pytest.mark.parametrize("asleep", [False, True])
def test_an_error_in_one_thread_releases_the_others_and_is_raised(failing, asleep):
    team = ThreadTeam(3)

    def work(thread):
        if thread == failing:
            if asleep:
                await_sleepers(team.sync, 2)
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
