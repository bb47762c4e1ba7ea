"""Somebody's program as a child process: bytes to its input, bytes from its output in time, ended as a whole.

Its standard error is read all the time, so that it never waits for a reader of that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import time
from collections.abc import Mapping, Sequence

from .errors import EntryError
from .interrupt import Interruption
from .process_state import has_unread, is_stopped, waits_for_pipe
from .relayed_errors import RelayedErrors
from .supervised import Supervised

# While the child is waited for, so often is looked up whether Ctrl-C was pressed, and whether it has ended.
_SLICE_SECONDS = 0.1
_END_SECONDS = 1.0  # between a closed pipe and the end of the program that had it open
# Of a pipe, where the system lets us choose: a distribution over 267,735 words is 1 or 2 MB.
_PIPE_BYTES = 1 << 20
_LINE_END = 0x0A
_SHOWN = 24  # characters of what a program printed
# Fewer characters may well be the bytes of a float, and many without a blank those of equal ones: 1/6144 is "UUUUUU%?".
_PRINTED = re.compile(rb"(?=[!-~]*\s)[ -~\t\r\n]{6,}")


class ChildProcess:
    """A running program, for a ``with`` block, at whose end nothing of it is left.

    Parameters
    ----------
    words : sequence of str
        Program and arguments; no shell sees them.
    environment : mapping
    interruption : Interruption
        Ends waiting.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], interruption: Interruption) -> None:
        self._interruption = interruption
        interruption.obey()
        self._surplus = memoryview(bytearray(_SHOWN))
        self._process = Supervised(words, environment, interruption)
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._errors = RelayedErrors(self._process.stderr)
        for pipe in (self._stdin, self._stdout):
            os.set_blocking(pipe.fileno(), False)
            with contextlib.suppress(OSError, AttributeError):  # it may not have so much; there is no such call
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, *raised: object) -> None:
        try:
            self.kill()
        except KeyboardInterrupt:  # pressed again meanwhile: it is obeyed when nothing is left
            self.kill()
            raise

    def ask(self, message: bytes, room: memoryview, seconds: float) -> None:
        """Send ``message`` and read until ``room`` is full.

        Raises
        ------
        EntryError
            With the reason: the time is over, or the program has ended, or closed its input or its output.
        KeyboardInterrupt
            Where Ctrl-C was pressed meanwhile.
        """
        self._exchange(message, room, seconds, False)

    def ask_line(self, message: bytes, longest: int, seconds: float) -> bytes:
        """Send ``message`` and read the line that comes back, of at most ``longest`` bytes; errors as those of ``ask``.

        What came behind the line's end is returned too.
        """
        room = memoryview(bytearray(longest))
        return bytes(room[: self._exchange(message, room, seconds, True)])

    def pending(self) -> memoryview:
        """What has come and was not asked for, or the beginning of that."""
        return self._surplus[: self._read(self._surplus) or 0]

    def finish(self, seconds: float) -> int | None:
        """Close the child's input and wait for its end, which must come without a byte more.

        Returns
        -------
        int or None
            Exit status, negative for a signal; None where the program did not end within ``seconds``.
        """
        self._stdin.close()
        deadline = time.monotonic() + seconds
        room = memoryview(bytearray(_PIPE_BYTES))
        while True:
            status = self._process.status()  # before reading: what it wrote until then is in the pipe
            if count := self._read(room):
                raise EntryError(f"more bytes came after the last distribution{printed_text(room[:count])}")
            left = deadline - time.monotonic()
            if status is not None or left <= 0:
                return status
            self._interruption.obey()
            self._errors.relay()
            # A closed output is readable at once, so that it cannot be waited for.
            time.sleep(min(left, 0.01))

    def kill(self) -> None:
        """End the child and all that it started."""
        self._process.end()
        self._errors.close()

    def _exchange(self, message: bytes, room: memoryview, seconds: float, line: bool) -> int:
        """Bytes read; see ``ask``."""
        awaited = "its answer" if line else f"its distribution of {len(room)} bytes"
        self._interruption.obey()
        deadline = time.monotonic() + seconds
        unsent, read, complete, unheard = memoryview(message), 0, False, False
        while True:
            sent = self._send(unsent)
            status, count = None, 0 if complete else self._read(room[read:])
            if not count:  # what it wrote until it ended is in the pipe by the time that its end is known
                status = self._process.status()
                count = 0 if complete else self._read(room[read:])
            unsent, read = unsent[sent or 0 :], read + (count or 0)
            complete = read == len(room) or (line and _LINE_END in room[:read].tobytes())
            if complete and not unsent:
                return read
            if count:
                continue
            self._interruption.obey()
            left = deadline - time.monotonic()
            unheard = unheard or sent is None
            if unheard or count is None or status is not None:
                lost = "closed its input" if unheard else "closed its output"
                raise EntryError(
                    f"the program {self._ended() or lost} after {read} bytes of {awaited}{printed_text(room[:read])}"
                    f"{self._last_words()}"
                )
            if left <= 0:
                raise EntryError(
                    f"{read} bytes of {awaited} came within {seconds:g} s; the program {self._idleness()}"
                    f"{printed_text(room[:read])}"
                )
            unheard = self._wait(min(left, _SLICE_SECONDS), bool(unsent), not complete)

    def _send(self, message: memoryview) -> int | None:
        """Bytes that could be sent; None where nobody reads them any more."""
        try:
            return os.write(self._stdin.fileno(), message) if message else 0
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return None

    def _read(self, room: memoryview) -> int | None:
        """Bytes that were there; None where there will be none any more."""
        try:
            return os.readv(self._stdout.fileno(), [room]) or None
        except BlockingIOError:
            return 0

    def _wait(self, seconds: float, to_send: bool, to_read: bool) -> bool:
        """Wait until there is something to do; True where the child has closed its input.

        What it wrote on its standard error meanwhile is passed on.
        """
        poll = select.poll()
        poll.register(self._stdin, select.POLLOUT if to_send else 0)
        if to_read:
            poll.register(self._stdout, select.POLLIN)
        if self._errors.is_open:
            poll.register(self._errors.pipe, select.POLLIN)
        found = dict(poll.poll(1000 * seconds))
        if self._errors.pipe.fileno() in found:
            self._errors.relay()
        return bool(found.get(self._stdin.fileno(), 0) & select.POLLERR)

    def _ended(self) -> str | None:
        """How the program ended, None if it runs; the pipes of one that ends are closed a moment before."""
        deadline = time.monotonic() + _END_SECONDS
        while (status := self._process.status()) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return None if status is None else status_text(status)

    def _last_words(self) -> str:
        """What a program said last before it ended."""
        self._errors.relay()
        line = self._errors.last_line()
        return f"; its standard error ends {line!r}" if line else ""

    def _idleness(self) -> str:
        """What a program does that does not answer, as far as it can be seen from here."""
        if is_stopped(self._process.pid):
            return "is stopped"
        if has_unread(self._stdin):
            return "has not read what it was sent"
        if waits_for_pipe(self._process.pid):
            return "waits for more input, which it is sent when its answer has come: written, and flushed"
        return "is at work or asleep; --entry-timeout gives it more time"


def status_text(status: int) -> str:
    """How a program ended, in words."""
    if status >= 0:
        return f"ended with exit status {status}"
    return f"was ended by signal {-status} ({signal.strsignal(-status)})"


def printed_text(found: memoryview) -> str:
    """Beginning of what came where that is printed text, which does not belong on standard output."""
    begin = _PRINTED.match(found[:_SHOWN].tobytes())
    return f"; what came begins {begin[0].decode('ascii')!r}: messages belong on standard error" if begin else ""
