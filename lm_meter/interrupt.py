"""Ctrl-C or SIGTERM during a pass: noted at once, obeyed between two compiled calls, so that no count is half-made."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from .ending import end_at_once

_noted = [int(signal.SIGINT)]
_times = [0]


class Interruption:
    """``requested`` is True once Ctrl-C was pressed or SIGTERM came; a second one raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.requested = False

    def _note(self, number: int, frame: Any) -> None:
        _note(number)
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def obey(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed: at a place where nothing has to be kept."""
        if self.requested:
            raise KeyboardInterrupt


def obey_sigterm() -> None:
    """From now on SIGTERM is taken as Ctrl-C is, and both end a process that is importing at once.

    What a broken-off import raises is anybody's guess: NumPy reports that it is not installed. In the middle of one
    nothing is being written.
    """

    def end(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            end_at_once(number, frame)
        _note(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def exit_status() -> int:
    """What a program ends with that was interrupted: 128 and the signal that came last; that of Ctrl-C before any."""
    return 128 + _noted[-1]


def times_noted() -> int:
    """How often Ctrl-C or SIGTERM has come until now, also where a pass was complete all the same."""
    return _times[0]


def forget_signals() -> None:
    """A new command begins."""
    del _noted[1:]


def _note(number: int) -> None:
    _noted[1:] = [number]
    _times[0] += 1


@contextmanager
def deferred_interrupt() -> Iterator[Interruption]:
    """Collect Ctrl-C inside the block, and SIGTERM where the program does not leave it to the system.

    What the program was started to ignore stays ignored, as Ctrl-C is in the background of a shell without job control.

    Compiled code needs it too: Numba, interrupted while it compiles, prints a traceback and goes on. Only the main
    thread receives signals; elsewhere nothing is changed.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    handled = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # not of the command line; a script may be ended at once
        handled.remove(signal.SIGTERM)
    before = {number: signal.signal(number, interruption._note) for number in handled}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
