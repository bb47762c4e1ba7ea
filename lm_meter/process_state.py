"""What a child process is doing, found out without taking its exit status from whoever waits for it."""

from __future__ import annotations

import array
import fcntl
import os
import subprocess
import termios
from pathlib import Path
from typing import IO


def status_of(process: subprocess.Popen[bytes]) -> int | None:
    """Exit status of a process, negative for a signal; None while it runs.

    The process is not reaped, where the system can do without: its number, which is that of its group, must not be
    given to another one before the group is killed.
    """
    if not hasattr(os, "waitid") or process.returncode is not None:
        return process.poll()
    try:
        found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # whoever started us ignores SIGCHLD: the system has forgotten the child
        return process.poll()
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def is_stopped(process: subprocess.Popen[bytes]) -> bool:
    """Whether a signal has stopped it; False where the system does not say."""
    if not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def waits_for_pipe(process: subprocess.Popen[bytes]) -> bool:
    """Whether it is blocked reading a pipe; False where the system does not say."""
    try:
        return "pipe_read" in Path(f"/proc/{process.pid}/wchan").read_text()
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
