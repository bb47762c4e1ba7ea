"""Files that are opened without waiting and read without end: no pipes, no devices, no more bytes than expected.

All functions raise ``OSError``, whose ``strerror`` says what is wrong: whoever opens files has to catch that anyway.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file to read it.

    Opening anything else might never end: a named pipe waits for its writer, ``/dev/zero`` has no last byte.
    """
    _refuse(path, os.stat(path).st_mode)  # before it is opened, which alone makes some devices do something
    return _opened(path, os.O_NONBLOCK, may_be_stream=False)


def open_stream(path: str | Path) -> BufferedReader:
    """Open a file that somebody named, to read it from its first byte to its last: a pipe or a terminal will do.

    A shell passes on the output of a program as a pipe: ``--text <(zcat book.gz)``.
    """
    return _opened(path, 0, may_be_stream=True)


def _opened(path: str | Path, flags: int, may_be_stream: bool) -> BufferedReader:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC | flags)
    try:
        mode = os.fstat(descriptor).st_mode
        is_stream = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)
        if not (may_be_stream and is_stream):
            _refuse(path, mode)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path, most: int) -> bytes:
    """All bytes of a regular file that has at most ``most`` of them."""
    with open_regular(path) as file:
        return read_at_most(file, most, path)


def read_at_most(file: BufferedReader, most: int, path: str | Path) -> bytes:
    """All bytes of an open file that has at most ``most`` of them, whatever size it says it has."""
    size = os.fstat(file.fileno()).st_size
    raw = file.read(most + 1) if size <= most else b""
    if max(size, len(raw)) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    return raw


def _refuse(path: str | Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = next((name for is_one, name in _KINDS if is_one(mode)), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}; a regular file can be read", str(path))
