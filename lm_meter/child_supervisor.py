"""The process between lm-meter and somebody's program, which ends all that the program has started.

It is the program's parent and, on Linux, the *subreaper* of all below it (prctl(2), PR_SET_CHILD_SUBREAPER): a process
whose parent has ended becomes its child, whatever session it is in and whatever its environment. So its descendants are
all that there is. It ends them when lm-meter says so, or has ended itself, be it by SIGKILL: both show in a pipe.

It is run by a Python that imports no more than this, as it starts with each program.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

from .process_family import descendants, kill_each

_END_SECONDS = 5.0  # longest wait for processes that were killed
_PR_SET_CHILD_SUBREAPER = 36
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # where somebody ends the supervisor: all ends


def specification(words: Sequence[str], environment: Sequence[tuple[str, str]]) -> bytes:
    """What a supervisor is sent first: a program with its arguments, and its environment; no null characters."""
    parts = [*words, *(f"{name}={value}" for name, value in environment)]
    body = b"\0".join(os.fsencode(part) for part in parts)
    return b"%d %d\n" % (len(words), len(body)) + body


def supervise(control: int, report: int) -> None:
    """Start the program that ``control`` names, say on ``report`` how it starts and ends, and end it; never returns.

    Both are descriptors of pipes. On ``report`` there is ``started PID`` or ``failed REASON``, then ``ended STATUS``,
    negative for a signal, each as a line. Exit status 0 says that nothing is left.
    """
    for descriptor in (control, report):
        os.set_inheritable(descriptor, False)
    woken = _signals()
    _become_subreaper()
    words, environment = _received(control)
    program = _start(words, environment, report)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # the pipes are the program's alone
        os.dup2(nothing, descriptor)
    status = _watch(program, (control, woken), report)
    os._exit(0 if _end(program, status is None or hasattr(os, "waitid")) else 1)


def _signals() -> int:
    """A descriptor that is readable when a signal has come."""
    read, write = os.pipe()
    for descriptor in (read, write):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(write)

    def nothing(number: int, frame: FrameType | None) -> None:
        """A handler, so that the program begins with the system's own."""

    for number in (signal.SIGCHLD, *_ENDING):
        signal.signal(number, nothing)
    return read


def _become_subreaper() -> None:
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _received(control: int) -> tuple[list[bytes], dict[bytes, bytes]]:
    """What ``specification`` made."""
    with open(control, "rb", buffering=0, closefd=False) as pipe:
        found, wanted, head = b"", sys.maxsize, 0
        while len(found) < wanted:
            part = pipe.read(1 << 16)
            if not part:  # lm-meter has ended
                os._exit(0)
            found += part
            if not head and b"\n" in found:
                head = found.index(b"\n") + 1
                words, size = map(int, found[:head].split())
                wanted = head + size
    parts = found[head:].split(b"\0")
    pairs = (part.partition(b"=")[::2] for part in parts[words:])
    return parts[:words], dict(pairs)


def _start(words: list[bytes], environment: dict[bytes, bytes], report: int) -> int:
    """Number of the program's process, which leads a session of its own."""
    read, write = os.pipe()
    program = os.fork()
    if not program:
        try:
            os.setsid()
            for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them
                signal.signal(getattr(signal, name), signal.SIG_DFL)
            os.execvpe(words[0], words, environment)
        except (OSError, ValueError) as error:
            os.write(write, (getattr(error, "strerror", None) or str(error)).encode())
        finally:
            os._exit(127)
    os.close(write)
    reason = os.read(read, 1 << 10)  # nothing, at the moment at which the program begins
    os.close(read)
    _say(report, b"failed " + reason if reason else b"started %d" % program)
    return program


def _watch(program: int, watched: tuple[int, int], report: int) -> int | None:
    """Wait until all is to end; exit status of the program, None where it runs.

    ``watched``: the pipe that says so, and that of signals.
    """
    control, woken = watched
    poll, status = select.poll(), None
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    while True:
        if status is None:
            status = _reaped(program)
            if status is not None:
                _say(report, b"ended %d" % status)
        ready = {descriptor for descriptor, _ in poll.poll()}
        if control in ready or set(os.read(woken, 1 << 10)) & set(_ENDING):
            return status


def _reaped(program: int) -> int | None:
    """Exit status of the program, if it has ended; others that have are forgotten.

    The program is not reaped, where the system can do without: its number, which is that of its group, must not be
    given to another one before the group is killed.
    """
    with contextlib.suppress(ChildProcessError):
        if not hasattr(os, "waitid"):
            pid, raw = os.waitpid(program, os.WNOHANG)
            return os.waitstatus_to_exitcode(raw) if pid else None
        while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if found.si_pid == program:
                return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            os.waitpid(found.si_pid, 0)
    return None


def _end(program: int, has_number: bool) -> bool:
    """End everything; whether that is done. ``has_number``: whether the program's number is still its own."""
    if has_number:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left of its group
            os.killpg(program, signal.SIGKILL)
    deadline = time.monotonic() + _END_SECONDS
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:  # who has no child has no descendant
            return True
        kill_each(descendants(os.getpid()))
        time.sleep(0.002)
    return False


def _say(report: int, line: bytes) -> None:
    with contextlib.suppress(OSError):  # lm-meter has ended
        os.write(report, line + b"\n")
