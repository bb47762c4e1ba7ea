"""Numbers of which there is one for each position of a text: a long text's lie in a file, not in memory.

The file has no name and vanishes with the array. It lies in the folder for temporary files (``TMPDIR``) and is mapped,
so that everybody sees an ordinary array. Whoever has used a part of it calls ``forget``, or goes through it with
``in_parts``: its pages then leave the resident set, and are there again when they are next looked at. Where the system
cannot be told so (Windows), or does not listen (macOS), numbers are the same, but pages stay.
"""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .errors import ConfigError

# An array of as much is kept in memory: a short text needs no file.
KEPT_BYTES = 1 << 16
PART = 1 << 12  # numbers that are looked at together


class _Mapping(mmap.mmap):
    """The file of a spool: shared, so that what is written lives in it. Of a private one ``forget`` would lose that."""


class Spool:
    """Numbers of one type, put one behind the other.

    Parameters
    ----------
    dtype : NumPy type
    """

    def __init__(self, dtype: Any) -> None:
        self._dtype, self._bytes = np.dtype(dtype), 0
        # What is written is on the disk before anybody maps it: a full one is an error here, never a signal later.
        self._file = tempfile.SpooledTemporaryFile(KEPT_BYTES)  # noqa: SIM115 - the mapping outlives it

    def add(self, values: ArrayLike) -> None:
        """Append numbers, (n,) of any type that the spool's holds.

        Raises
        ------
        ConfigError
            The folder for temporary files is full, or cannot be written.
        """
        data = np.ascontiguousarray(values, self._dtype).view(np.uint8).data
        self._bytes += len(data)
        try:
            self._file.write(data)
            if self._bytes > KEPT_BYTES:
                self._file.flush()
        except OSError as error:
            with contextlib.suppress(OSError):  # what is left in its buffer would be written, and fail, once more
                self._file.close()
            raise ConfigError(
                f"a temporary file for a long text cannot be written ({error.strerror}); set TMPDIR to a folder on a "
                "disk with room, 50 bytes for each token, 80 with records"
            ) from None

    def array(self) -> np.ndarray:
        """All of them, (n,); they can be written, and nothing can be added any more.

        Raises
        ------
        ConfigError
            The file cannot be mapped: the process has as many open as it may, or the file system maps none.
        """
        with self._file as file:
            if self._bytes <= KEPT_BYTES:
                file.seek(0)
                return np.frombuffer(bytearray(file.read()), self._dtype)
            try:
                mapping = _Mapping(file.fileno(), self._bytes)
            except OSError as error:
                raise ConfigError(
                    f"a temporary file for a long text cannot be mapped ({error.strerror}); set TMPDIR to a folder on "
                    "a local disk, and keep the log_probs of fewer results, each of which is an open file"
                ) from None
            return np.frombuffer(mapping, self._dtype)


def spooled(values: np.ndarray, dtype: Any) -> np.ndarray:
    """(n,) numbers as a spool holds them; the same array where it is one already, or is small."""
    if values.dtype == dtype and (values.nbytes <= KEPT_BYTES or _mapping(values) is not None):
        return values
    spool = Spool(dtype)
    for part in in_parts(values):
        spool.add(part)
    return spool.array()


def spooled_zeros(size: int, dtype: Any = np.float64) -> np.ndarray:
    """(size,) zeros, for which there is room on the disk."""
    spool, nothing = Spool(dtype), np.zeros(min(size, PART), dtype)
    for first in range(0, size, PART):
        spool.add(nothing[: size - first])
    return spool.array()


def in_parts(values: np.ndarray) -> Iterator[np.ndarray]:
    """Views of some numbers at a time, each forgotten when the next one is asked for."""
    for first in range(0, values.size, PART):
        yield values[first : first + PART]
        forget(values)


def taken(values: np.ndarray, rows: slice) -> np.ndarray:
    """A copy of some of the numbers; the spooled ones are forgotten."""
    found = values[rows].copy()
    forget(values)
    return found


def forget(*arrays: np.ndarray) -> None:
    """Let the pages of spooled arrays, or of those that these are views of, leave memory; others stay as they are."""
    for array in arrays:
        mapping = _mapping(array)
        if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)


def _mapping(array: Any) -> _Mapping | None:
    """The mapped file that a view of a spooled array looks at."""
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, memoryview):
        array = array.obj
    return array if isinstance(array, _Mapping) else None
