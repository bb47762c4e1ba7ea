"""Ctrl-C or SIGTERM during a pass: noted at once, obeyed between two compiled calls, so that no count is half-made."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interruption:
    """``requested`` is True once Ctrl-C was pressed or SIGTERM came; a second one raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.requested = False

    def _note(self, number: int, frame: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def obey(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed: at a place where nothing has to be kept."""
        if self.requested:
            raise KeyboardInterrupt


def obey_sigterm() -> None:
    """From now on SIGTERM is taken as Ctrl-C is."""

    def end(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


@contextmanager
def deferred_interrupt() -> Iterator[Interruption]:
    """Collect Ctrl-C inside the block, and SIGTERM where the program does not leave it to the system.

    Compiled code needs it too: Numba, interrupted while it compiles, prints a traceback and goes on. Only the main
    thread receives signals; elsewhere nothing is changed.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    handled = [signal.SIGINT]
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # of the command line; a script may be ended at once
        handled.append(signal.SIGTERM)
    before = {number: signal.signal(number, interruption._note) for number in handled}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
