"""The directory of a zip archive, of which no more is read than any file of ours needs."""

from __future__ import annotations

import os
import struct
import zipfile
from typing import IO, cast

# 86,000 arrays, each with a name of 60 letters and 64 bytes of padding, have 15 million.
_MOST_BYTES = 1 << 24
# What the parser of archives raises of a file that is none.
DAMAGED = (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, UnicodeDecodeError, EOFError)


class _Sparing:
    """An open file of which only so much is read at once: a directory's size is a claim of the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file

    def seekable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """As a file's; zipfile.BadZipFile where it is too much."""
        if size < 0:
            size = os.fstat(self._file.fileno()).st_size - self.tell()
        if size > _MOST_BYTES:
            raise zipfile.BadZipFile(f"its directory has {size} bytes; at most {_MOST_BYTES} are read")
        return self._file.read(size)


def members_of(file: IO[bytes]) -> list[zipfile.ZipInfo]:
    """The members of an archive, in the order of its directory; one of ``DAMAGED`` where it is none."""
    return zipfile.ZipFile(cast(IO[bytes], _Sparing(file))).infolist()
