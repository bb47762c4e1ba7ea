"""Files that are there complete or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


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
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".lm-meter.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if before:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(temporary, mode_for(path))
        if before:
            before(path)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
