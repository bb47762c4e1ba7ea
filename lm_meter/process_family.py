"""All that a process has started, also in sessions of its own: found in /proc, so on Linux only."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Longest wait for a process that has just begun a program, and shows no environment yet.
_BEGIN_SECONDS = 1.0
_ZOMBIE = "Z"
_KERNEL = 2  # parent of the kernel's threads, which never have an environment


class _Process(NamedTuple):
    """A process that has not ended; ``environment`` is empty while it begins a program."""

    pid: int
    parent: int
    started: int
    environment: bytes


def descendants(leader: int) -> set[int]:
    """Processes whose parents lead to ``leader``, without itself: not those whose parent has ended."""
    found, before = {leader}, 0
    processes = list(_processes())
    while len(found) > before:
        before = len(found)
        found |= {process.pid for process in processes if process.parent in found}
    return found - {leader}


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
        young = [process for process in _processes() if process.started >= since and process.pid not in killed]
        marked = {process.pid for process in young if mark in process.environment.split(b"\0")}
        kill_each(marked)
        killed |= marked
        hidden = any(not process.environment and process.parent != _KERNEL for process in young)
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
    """Those that run and can be looked at."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended, or is somebody else's
            pid, fields = int(folder.name), _fields(int(folder.name))
            if fields[0] != _ZOMBIE:
                yield _Process(pid, int(fields[1]), int(fields[19]), (folder / "environ").read_bytes())


def _fields(pid: int) -> list[str]:
    """Fields of a process behind its name, which may have any character: state, parent ... (proc(5), stat)."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
