"""Files that are there complete or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_PREFIX = ".lm-meter."
_DESCRIPTORS = Path("/proc/self/fd")  # where Linux lets a file without a name be found


def mode_for(path: Path) -> int:
    """Permissions of the file that is replaced, or those of a new one."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


@contextlib.contextmanager
def atomic_file(path: Path, before: Callable[[Path], None] | None = None) -> Iterator[Any]:
    """A binary file that takes the name ``path`` only when the block ends without an error.

    A symbolic link stays one: the file that it names is replaced. A file that is replaced keeps its permissions.
    ``before`` is called with the file that is to be replaced when the new one is complete and on the disk.
    """
    path = Path(os.path.realpath(path))
    descriptor, temporary = _new_file(path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if before:
                os.fsync(descriptor)
            os.fchmod(descriptor, mode_for(path))
            if temporary is None:
                temporary = _named(descriptor, path.parent)
        if before:
            before(path)
        os.replace(temporary, path)
    except BaseException:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        raise


def _new_file(folder: Path) -> tuple[int, str | None]:
    """A descriptor of a new file, and its name; None where the system has files without one.

    Such a file is gone with its process, however that ends.
    """
    nameless = getattr(os, "O_TMPFILE", None)  # of Linux, and there of most file systems
    if nameless is not None and _DESCRIPTORS.is_dir():
        with contextlib.suppress(OSError):  # mkstemp says what is wrong with the folder, if anything is
            return os.open(folder, nameless | os.O_RDWR | os.O_CLOEXEC, 0o600), None
    return tempfile.mkstemp(dir=folder, prefix=_PREFIX)


def _named(descriptor: int, folder: Path) -> str:
    """Give a file without a name one in its folder."""
    name = str(folder / f"{_PREFIX}{secrets.token_hex(8)}")
    # With a folder beside the path, which is absolute, the link is followed to the file.
    os.link(_DESCRIPTORS / str(descriptor), name, src_dir_fd=descriptor)
    return name
