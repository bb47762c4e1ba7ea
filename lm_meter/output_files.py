"""Files that a command is to write, looked at before it runs."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .errors import ConfigError


def refuse_input(output: str, inputs: Sequence[Path], option: str = "--output") -> None:
    """A result must not replace what it was made from."""
    for given in inputs:
        with contextlib.suppress(OSError):  # one of them is not there, or cannot be looked at: not the same file
            if os.path.samefile(output, given):
                raise ConfigError(f"{option} {output}: is an input of this run; choose another name")


def check_writable(output: str, option: str = "--output") -> None:
    """Find out before a long run, not after it, that its result could not be written."""
    path = Path(os.path.realpath(output)) if os.path.islink(output) else Path(output)
    try:
        if path.is_symlink():  # still one, where each was followed
            raise ConfigError(f"{option} {output}: is a loop of symbolic links; choose another name")
        if path.is_dir() or output.endswith("/"):
            raise ConfigError(f"{option} {output}: is a folder; expected the name of a file")
        if path.exists() and not path.is_file():
            raise ConfigError(f"{option} {path}: is a device or pipe; expected the name of a file")
        if path.exists() and not os.access(path, os.W_OK):
            raise ConfigError(f"{option} {path}: is write-protected; choose another name")
        if not path.parent.is_dir():
            raise ConfigError(f"{option} {path}: there is no folder {path.parent}; make it first")
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".lm-meter."):
            pass
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be written ({error.strerror}); choose another place") from None
