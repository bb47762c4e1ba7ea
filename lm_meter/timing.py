"""Timing of calls that take a number of tokens: how many fill a given time, samples in turn, ratios of pairs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# A pause before each timing: threads of the library timed before still spin for some milliseconds.
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Effort:
    """How long to measure: repeats, seconds for each repeat of each quantity, and threads."""

    repeats: int
    seconds: float
    threads: int


@dataclass(frozen=True)
class Amount:
    """How much is timed at once: ``call(tokens)``, ``rounds`` times."""

    tokens: int
    rounds: int


def amount_for(call: Callable[[int], object], block: int, available: int, seconds: float) -> Amount:
    """Whole blocks, of ``available`` tokens, that fill about ``seconds``; compiles the call and touches every page."""
    most = max(1, available // block)
    blocks, spent = 1, 0.0
    call(block)
    # One short call says little: waking the threads takes as long as a block of a small model.
    while blocks < most and spent < seconds / 4:
        blocks = min(2 * blocks, most)
        started = time.perf_counter()
        call(block * blocks)
        spent = time.perf_counter() - started
    if spent:
        blocks = max(1, int(blocks * seconds / spent))
    return Amount(block * min(blocks, most), max(1, blocks // most))


def timed(call: Callable[[int], object], amount: Amount) -> Callable[[], float]:
    """A function that times an amount of ``call`` and gives milliseconds a token."""

    def sample() -> float:
        started = time.perf_counter()
        for _ in range(amount.rounds):
            call(amount.tokens)
        return (time.perf_counter() - started) * 1e3 / (amount.tokens * amount.rounds)

    return sample


def rested(call: Callable[[int], object], block: int, available: int, seconds: float) -> Callable[[], float]:
    """``timed`` for about ``seconds``, each time after a pause and a block that is not timed."""
    sample = timed(call, amount_for(call, block, available, seconds))

    def rested_sample() -> float:
        time.sleep(_PAUSE_SECONDS)
        call(block)  # wakes the threads, and brings what they need into the caches
        return sample()

    return rested_sample


def in_turn(samplers: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Samples of each quantity, the order turned round each time: A B C, C B A, A B C ..."""
    samples: dict[str, list[float]] = {name: [] for name in samplers}
    order = list(samplers)
    for _ in range(repeats):
        for name in order:
            samples[name].append(samplers[name]())
        order.reverse()
    return samples


# With fewer samples not even the smallest and the largest enclose the median with a probability of 95 %.
ENOUGH_FOR_INTERVAL = 6


def ratio_with_interval(samples: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """Median of the ratios of pairs, and its 95 % interval from the order statistics: ranks n / 2 -+ 0.98 sqrt(n).

    Of fewer than ENOUGH_FOR_INTERVAL pairs it is the smallest and the largest, which is no such interval.
    """
    ratios = sorted(a / b for a, b in zip(samples, others, strict=True))
    n = len(ratios)
    reach = math.ceil(0.98 * math.sqrt(n))
    return statistics.median(ratios), ratios[max(0, n // 2 - reach)], ratios[min(n - 1, (n - 1) // 2 + reach)]
