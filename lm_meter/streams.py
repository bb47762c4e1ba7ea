"""Standard output and error of a program whose readers may go away, and whose terminal may not show everything."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


def prepare_streams() -> None:
    """Output that some other program has closed goes nowhere; a name that the terminal cannot show is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stderr = _Expendable(sys.stderr)


class _Expendable:
    """Standard error: where it cannot be written (its reader has gone, its disk is full), the run goes on without."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or from now on do not."""
        try:
            return self._stream.write(text)
        except OSError:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flush, or from now on do not."""
        try:
            self._stream.flush()
        except OSError:
            silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def silence(stream: TextIO) -> None:
    """Send what is still to come, and what lies in the stream's buffer, nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
