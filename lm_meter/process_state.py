"""What a process is doing that does not answer."""

from __future__ import annotations

import array
import fcntl
import termios
from pathlib import Path
from typing import IO

from .process_family import state_of

_STOPPED = ("T", "t")


def is_stopped(pid: int) -> bool:
    """Whether a signal, or a debugger, has stopped it; False where the system does not say."""
    return state_of(pid) in _STOPPED


def waits_for_pipe(pid: int) -> bool:
    """Whether it is blocked reading a pipe; False where the system does not say."""
    try:
        return "pipe_read" in Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return False


def has_unread(pipe: IO[bytes]) -> bool:
    """Whether there is something in a pipe, of which this is either end, that nobody has read yet.

    False where the system does not say.
    """
    count = array.array("i", [0])
    try:
        fcntl.ioctl(pipe, termios.FIONREAD, count)
    except OSError:
        return False
    return count[0] > 0
