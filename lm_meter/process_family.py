"""All that a process has started, also in sessions of its own: found in /proc, so on Linux only."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import NamedTuple

# Longest wait for a process that has just begun a program, and shows no environment yet.
_BEGIN_SECONDS = 1.0
_ZOMBIE = "Z"
_KERNEL = 2  # parent of the kernel's threads, which never have an environment


class _Process(NamedTuple):
    """A process that has not ended."""

    pid: int
    parent: int
    started: int


def descendants(leader: int) -> set[int]:
    """Processes whose parents lead to ``leader``, without itself: not those whose parent has ended."""
    found, before = {leader}, 0
    processes = list(_processes())
    while len(found) > before:
        before = len(found)
        found |= {process.pid for process in processes if process.parent in found}
    return found - {leader}


def state_of(pid: int) -> str:
    """What a process is doing, as one letter (proc(5)); nothing where that is not known."""
    try:
        return _fields(pid)[0]
    except OSError:
        return ""


def start_of(pid: int) -> int:
    """Moment at which a process began, in the system's ticks; 0 where that is not known."""
    try:
        return int(_fields(pid)[19])
    except OSError:
        return 0


def kill_marked(mark: bytes, since: int) -> None:
    """End every process with ``mark``, NAME=VALUE, in its environment, that began at ``since`` or later."""
    killed: set[int] = set()
    deadline = time.monotonic() + _BEGIN_SECONDS
    while True:
        environments = {
            process: _environment(process.pid)
            for process in _processes()
            if process.started >= since and process.pid not in killed
        }
        marked = {process.pid for process, found in environments.items() if found and mark in found.split(b"\0")}
        kill_each(marked)
        killed |= marked
        hidden = any(found == b"" and process.parent != _KERNEL for process, found in environments.items())
        if not marked and (not hidden or time.monotonic() > deadline):
            return
        if not marked:
            time.sleep(0.01)


def kill_each(pids: set[int]) -> None:
    """End processes, of which some may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _processes() -> Iterator[_Process]:
    """Those that run."""
    names = os.listdir("/proc") if os.path.isdir("/proc") else []
    for name in names:
        if name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                fields = _fields(int(name))
                if fields[0] != _ZOMBIE:
                    yield _Process(int(name), int(fields[1]), int(fields[19]))


def _environment(pid: int) -> bytes | None:
    """Empty while it begins a program; None of one that has ended, or is somebody else's."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return None


def _fields(pid: int) -> list[str]:
    """Fields of a process behind its name, which may have any character: state, parent ... (proc(5), stat)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].decode("ascii").split()
