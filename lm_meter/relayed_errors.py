"""Standard error of somebody's program, passed on to ours; the program is not kept waiting where nobody reads that."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import IO

_OURS = 2
_AT_ONCE = 1 << 16  # bytes that are read
_MOST = 1 << 20  # of one call: a program that floods it must not keep us from the rest
_WRITTEN = 1 << 12  # bytes; a pipe that can be written takes so many
_HELD = 1 << 16  # bytes that wait for a reader of ours; of more the first ones are lost
_TAIL = 1 << 12  # bytes in which the last line is looked for
_SHOWN = 120  # characters of it
_LAST_SECONDS = 1.0  # longest wait for our reader at the end


class RelayedErrors:
    """What comes through ``pipe`` goes to descriptor 2, as it comes, without waiting for either end."""

    def __init__(self, pipe: IO[bytes]) -> None:
        os.set_blocking(pipe.fileno(), False)
        self.pipe, self.is_open = pipe, True
        self._tail, self._held = b"", b""

    def relay(self) -> None:
        """Pass on what is there; ``is_open`` is False once there will be no more."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while self.is_open and count < _MOST:
                part = os.read(self.pipe.fileno(), _AT_ONCE)
                self.is_open = bool(part)
                self._tail, self._held = (self._tail + part)[-_TAIL:], (self._held + part)[-_HELD:]
                count += len(part)
                self._pass_on(0.0)

    def last_line(self) -> str:
        """The last line that is not blank, or its end; empty where there is none."""
        lines = self._tail.decode("utf-8", "replace").split("\n")
        line = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return "".join(c if c.isprintable() else " " for c in line[-_SHOWN:])

    def close(self) -> None:
        """Pass on the rest, while there is a reader for it."""
        if not self.pipe.closed:
            self.relay()
            self._pass_on(_LAST_SECONDS)
            self.pipe.close()
            self.is_open = False

    def _pass_on(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        try:
            while self._held and select.select([], [_OURS], [], max(0.0, deadline - time.monotonic()))[1]:
                self._held = self._held[os.write(_OURS, self._held[:_WRITTEN]) :]
        except OSError:  # closed, or full
            self._held = b""
