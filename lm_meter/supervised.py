"""Somebody's program under a supervisor, as lm-meter sees it: see ``child_supervisor.py``."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn, cast

from .child_supervisor import specification
from .errors import ConfigError, EntryError
from .interrupt import Interruption
from .process_family import descendants, kill_each, kill_marked, start_of

MARK = "LM_METER_ENTRY"  # variable whose value marks the program and what it starts
_SUPERVISOR = """
import sys
sys.path.append(sys.argv[1])
from lm_meter.child_supervisor import supervise
supervise(int(sys.argv[2]), int(sys.argv[3]))
"""
_END_SECONDS = 10.0  # longest wait for a supervisor to end all
_SLICE_SECONDS = 0.1
_LAST_STANDARD = 2  # descriptor, of standard error


def _fill_standard_descriptors() -> None:
    """Open those of 0, 1 and 2 that are closed, on nothing: a pipe that came to be one would be taken for it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD:
        pass
    os.close(descriptor)


class Supervised:
    """A running program; its pipes are ``stdin``, ``stdout`` and ``stderr``, its process number is ``pid``.

    Parameters
    ----------
    words : sequence of str
        Program and arguments; no shell sees them.
    environment : mapping
    interruption : Interruption
        Ends the wait for its start.

    Raises
    ------
    ConfigError
        Where it cannot be started.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], interruption: Interruption) -> None:
        self._mark, self.pid, self._begun = uuid.uuid4().hex, 0, 0
        self._status: int | None = None
        self._said, self._is_lost = b"", False
        if any("\0" in word for word in words):
            self._refuse(words, "embedded null character")
        environment = {**environment, MARK: self._mark}
        _fill_standard_descriptors()
        control, self._control = os.pipe()
        self._report, report = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _SUPERVISOR, Path(__file__).parents[1], str(control), str(report)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
                pass_fds=(control, report),
                bufsize=0,
            )
        except OSError as error:
            os.close(self._control)
            os.close(self._report)
            self._refuse(words, error.strerror)
        finally:
            os.close(control)
            os.close(report)
        os.set_blocking(self._report, False)
        self._started = start_of(self._process.pid)
        self.stdin, self.stdout, self.stderr = (
            cast(IO[bytes], pipe) for pipe in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        try:
            self._start(words, environment, interruption)
        except BaseException:
            self.end()
            self.stderr.close()
            raise

    def _start(self, words: Sequence[str], environment: Mapping[str, str], interruption: Interruption) -> None:
        unsent = specification(words, list(environment.items()))
        with contextlib.suppress(BrokenPipeError):  # the supervisor has ended: that is said below
            while unsent:
                unsent = unsent[os.write(self._control, unsent) :]
        while b"\n" not in self._said and not self._is_lost:
            interruption.obey()
            select.select([self._report], [], [], _SLICE_SECONDS)
            self._hear()
        line, _, self._said = self._said.partition(b"\n")
        kind, _, rest = line.partition(b" ")
        if kind != b"started":
            self._refuse(words, rest.decode("utf-8", "replace") or "its supervisor has ended")
        self.pid = int(rest)
        self._begun = start_of(self.pid)

    def _refuse(self, words: Sequence[str], reason: str | None) -> NoReturn:
        raise ConfigError(
            f"--entry: {words[0]!r:.80} cannot be started ({reason}); expected a program and its arguments"
        )

    def _hear(self) -> None:
        """Read what the supervisor has said."""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._report, 1 << 10):
                self._said += part
            self._is_lost = True

    def status(self) -> int | None:
        """Exit status, negative for a signal; None while the program runs.

        Raises
        ------
        EntryError
            Where the supervisor was ended, so that nobody knows.
        """
        if self._status is None:
            self._hear()
            line, end, _ = self._said.partition(b"\n")
            if end:
                self._status = int(line.removeprefix(b"ended "))
            elif self._is_lost:
                raise EntryError("the process that lm-meter starts it from was ended; expected it to be left alone")
        return self._status

    def end(self) -> None:
        """End the program and all that it started, and close its input and output; what it said last can be read."""
        with contextlib.suppress(OSError):
            os.write(self._control, b"\n")
        self._process.send_signal(signal.SIGCONT)  # somebody may have stopped it
        try:
            is_done = self._process.wait(_END_SECONDS) == 0
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            is_done = False
        if not is_done:
            self._end_without_supervisor()
        for pipe in (self.stdin, self.stdout):
            pipe.close()
        for name in ("_control", "_report"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)

    def _end_without_supervisor(self) -> None:
        """End what can be found: the program with its descendants, and what has the mark in its environment."""
        if self._begun and start_of(self.pid) == self._begun:
            family = descendants(self.pid)
            kill_each({self.pid, *family})
        kill_marked(f"{MARK}={self._mark}".encode(), self._started)
