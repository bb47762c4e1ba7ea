"""How many threads make a pass: by default those that were fastest over its first blocks.

Threads meet at every step of a model. Where another program takes a processor, one thread may be faster than two: who
shares a processor is late, and the others wait. Which it is, only a trial says; the result has the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

# A call that is shorter says nothing: waking the threads takes as long as a block of a small model.
_SHORTEST_SECONDS = 0.01
# So long the fastest number of threads has worked when it is chosen.
_ENOUGH_SECONDS = 0.2
# The next trial comes after so many calls, 13 seconds, and each later one after twice as many as the one before: what
# else the machine does may have changed.
_CALLS_BETWEEN = 64


class ThreadTrial:
    """Gives each call of a pass its number of threads: by turns, until the fastest of them is chosen.

    A round is one call for each number; the pass keeps the calls of a round equally long, in tokens.

    Parameters
    ----------
    numbers : sequence of int
        Of threads, at least one; where there is a single one nothing is tried.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers, self._between = list(numbers), _CALLS_BETWEEN
        self._begin()

    def _begin(self) -> None:
        self._tried = list(self._numbers)
        self._seconds = [0.0] * len(self._tried)
        self._round: list[float] = []
        self._left = self._between

    @property
    def threads(self) -> int:
        """Of the next call."""
        return self._tried[len(self._round)]

    def saw(self, seconds: float) -> float | None:
        """Take note of the call's time; returns by which time the next call's length is chosen, None: it stays."""
        if len(self._tried) == 1:
            self._left -= 1
            if self._left == 0:
                self._between *= 2
                self._begin()
            return seconds
        self._round.append(seconds)
        if len(self._round) < len(self._tried):
            return None
        return self._ended(min(self._round))

    def _ended(self, fastest: float) -> float | None:
        """Add up a round whose fastest call took so long, if that says anything, and choose if it is enough."""
        round_seconds, self._round = self._round, []
        if fastest < _SHORTEST_SECONDS:
            return fastest
        self._seconds = [sum(pair) for pair in zip(self._seconds, round_seconds, strict=True)]
        if min(self._seconds) >= _ENOUGH_SECONDS:
            self._tried = [self._tried[self._seconds.index(min(self._seconds))]]
        # The last number of this round is the first of the next one: what becomes faster or slower meets all.
        self._tried.reverse()
        self._seconds.reverse()
        return None


def trial_of(most: int, asked: int | None) -> ThreadTrial:
    """A trial of up to ``most`` threads, those that a model can use; none where a number of threads was asked for.

    One thread is tried, half of them, all but one (another program takes a processor), and all.
    """
    if asked is not None:
        return ThreadTrial([most])
    return ThreadTrial(sorted({1, max(1, most // 2), max(1, most - 1), most}))
