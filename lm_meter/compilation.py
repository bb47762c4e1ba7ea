"""Compilation of the kernels, as the user sees it: whether it is possible here, and that it is under way."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from .errors import ConfigError

_LOGGER = "lm_meter.kernels.jit"
_BEGINS = (
    "compiling the kernels, which takes a minute or so; they are kept, so that later runs of this version and CPU start "
    "at once"
)
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_ON_A_TERMINAL = 1.0
_ERASE = "\r\x1b[K"


def check_kernels() -> None:
    """ConfigError where the kernels cannot be compiled for this CPU, or with these settings of Numba."""
    from .kernels.isa import unusable

    reason = unusable()
    if reason:
        raise ConfigError(reason)


class _Announcer(logging.Handler):
    """One line when the first kernel is compiled, and then the time that all of them have taken so far.

    On a terminal the time stands in a line that is gone when the compilation has ended; elsewhere it is a line every
    ten seconds. ``quiet``: the one line only.
    """

    def __init__(self, stream: TextIO, quiet: bool) -> None:
        super().__init__(logging.INFO)
        self._stream, self._quiet, self._terminal = stream, quiet, stream.isatty()
        self._begun: float | None = None
        self._before = 0.0  # seconds of compilations that have ended
        self._is_said = False
        self._ended = threading.Event()
        self._ticker: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """A compilation begins, or has ended."""
        if record.__dict__.get("compiling"):
            self._begin()
        else:
            self.end()

    def _begin(self) -> None:
        if self._begun is not None:
            return
        if not self._is_said:
            self._is_said = True
            print(_BEGINS, file=self._stream, flush=True)
        self._begun = time.monotonic()
        if not self._quiet:
            self._ended.clear()
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()

    def end(self) -> None:
        """Nothing is compiled at the moment."""
        if self._begun is None:
            return
        self._before += time.monotonic() - self._begun
        self._begun = None
        if self._ticker:
            self._ended.set()
            self._ticker.join()
            self._ticker = None

    def _tick(self) -> None:
        started, is_shown = time.monotonic() - self._before, False
        step = _SECONDS_ON_A_TERMINAL if self._terminal else _SECONDS_BETWEEN_LINES
        while True:
            elapsed = time.monotonic() - started
            if self._ended.wait((elapsed // step + 1) * step - elapsed):
                break
            before, end = (_ERASE, "") if self._terminal else ("", "\n")
            line = f"compiling the kernels: {time.monotonic() - started:.0f} s so far"
            print(f"{before}{line}", file=self._stream, end=end, flush=True)
            is_shown = True
        if is_shown and self._terminal:
            print(_ERASE, file=self._stream, flush=True, end="")


@contextmanager
def said_compilation(quiet: bool) -> Iterator[None]:
    """Inside the block standard error is told when kernels are compiled; ``quiet``: in one line."""
    logger, announcer = logging.getLogger(_LOGGER), _Announcer(sys.stderr, quiet)
    before = logger.level, logger.propagate
    logger.addHandler(announcer)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.level, logger.propagate = before
        logger.removeHandler(announcer)
        announcer.end()
