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
_BEGINS = "compiling kernels: the first run of a version on a CPU takes a minute or so, later ones find most compiled"
_SECONDS_OF_SILENCE = 1.0  # a kernel or two that no cache keeps are not worth a word
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
    """One line when kernels have been compiled for a second, and then the time that all of them have taken so far.

    On a terminal the time stands in a line that is gone when the compilation has ended; elsewhere it is a line every
    ten seconds. ``quiet``: the one line only.
    """

    def __init__(self, stream: TextIO, quiet: bool) -> None:
        super().__init__(logging.INFO)
        self._stream, self._quiet = stream, quiet
        self._seconds = 0.0  # of compilations that have ended
        self._is_said = False
        self._ended = threading.Event()
        self._teller: threading.Thread | None = None  # while something is compiled

    def emit(self, record: logging.LogRecord) -> None:
        """A compilation begins, or has ended."""
        if not record.__dict__.get("compiling"):
            self.end()
        elif self._teller is None:
            self._ended.clear()
            self._teller = threading.Thread(target=self._tell, args=(time.monotonic(),), daemon=True)
            self._teller.start()

    def end(self) -> None:
        """Nothing is compiled at the moment."""
        if self._teller is not None:
            self._ended.set()
            self._teller.join()
            self._teller = None

    def _tell(self, begun: float) -> None:
        started = begun - self._seconds
        if not self._is_said and not self._ends_before(started + _SECONDS_OF_SILENCE):
            self._is_said = True
            self._write(f"{_BEGINS}\n")
        if not self._quiet and self._is_said:
            self._tell_time(started)
        self._ended.wait()
        self._seconds = time.monotonic() - started

    def _tell_time(self, started: float) -> None:
        terminal = self._stream.isatty()
        before, after = (_ERASE, "") if terminal else ("", "\n")
        step, is_shown = _SECONDS_ON_A_TERMINAL if terminal else _SECONDS_BETWEEN_LINES, False
        while not self._ends_before(started + ((time.monotonic() - started) // step + 1) * step):
            self._write(f"{before}compiling kernels: {time.monotonic() - started:.0f} s so far{after}")
            is_shown = True
        if is_shown and terminal:
            self._write(_ERASE)

    def _ends_before(self, moment: float) -> bool:
        return self._ended.wait(min(max(0.0, moment - time.monotonic()), threading.TIMEOUT_MAX))

    def _write(self, text: str) -> None:
        print(text, file=self._stream, end="", flush=True)


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
