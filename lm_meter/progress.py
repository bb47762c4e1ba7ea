"""Progress of a pass: a bar on a terminal, a plain line now and then elsewhere; always on standard error."""

from __future__ import annotations

import math
import sys
import time
from typing import Protocol, TextIO

_SECONDS_BETWEEN_LINES = 10.0


class Progress(Protocol):
    """What a pass tells about itself."""

    def begin(self, done: int, nll_nats: float) -> None:
        """The pass goes on from a saved state, behind ``done`` predictions."""

    def update(self, done: int, nll_nats: float) -> None:
        """``done`` predictions so far, with this sum of negative log-likelihoods."""

    def close(self) -> None:
        """The pass has ended."""


class Silent:
    """No progress."""

    def begin(self, done: int, nll_nats: float) -> None:
        """Say nothing."""

    def update(self, done: int, nll_nats: float) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Say nothing."""


def piece_perplexity(nll_nats: float, predictions: int) -> float:
    """exp of the mean loss; infinite where that overflows."""
    mean = nll_nats / max(1, predictions)
    return math.exp(mean) if mean < 700 else math.inf


def _going_on(done: int, total: int, nll_nats: float) -> str:
    perplexity = piece_perplexity(nll_nats, done)
    return f"going on from the saved state: {done}/{total} tokens, perplexity per piece {perplexity:.4g}"


class Bar:
    """A bar with running perplexity, predictions a second and time left."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit="tok", dynamic_ncols=True, file=sys.stderr, smoothing=0.1)

    def begin(self, done: int, nll_nats: float) -> None:
        """Start the bar there: its rate is that of the predictions to come."""
        self._bar.initial = self._bar.n = self._bar.last_print_n = done
        self._bar.write(_going_on(done, self._bar.total, nll_nats), file=sys.stderr)

    def update(self, done: int, nll_nats: float) -> None:
        """Move the bar."""
        self._bar.set_postfix_str(f"ppl/piece {piece_perplexity(nll_nats, done):.4g}", refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


class Lines:
    """A line every ten seconds, for logs."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total, self._stream = total, stream or sys.stderr
        self._started = self._last = time.monotonic()
        self._begun = 0

    def begin(self, done: int, nll_nats: float) -> None:
        """Print where; the rate is that of the predictions to come."""
        self._begun = done
        print(_going_on(done, self._total, nll_nats), file=self._stream, flush=True)

    def update(self, done: int, nll_nats: float) -> None:
        """Print a line if the last one is long ago."""
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = (done - self._begun) / (now - self._started)
        left = (self._total - done) / rate
        print(
            f"{done}/{self._total} tokens, perplexity per piece {piece_perplexity(nll_nats, done):.4g}, "
            f"{rate:.0f} tokens/s, {left:.0f} s left",
            file=self._stream,
            flush=True,
        )

    def close(self) -> None:
        """Nothing to leave behind."""


def on_stderr(total: int) -> Progress:
    """A bar where standard error is a terminal, lines elsewhere."""
    return Bar(total) if sys.stderr.isatty() else Lines(total)
