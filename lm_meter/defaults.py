"""The checkpoint, the text and the entries that ship with the package."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from .text import Text, read_text


def _shipped(package: str, name: str) -> Path:
    return Path(str(resources.files(package).joinpath(name)))


def default_checkpoint() -> Path:
    """The LSTM that ships with the package."""
    return _shipped("lm_meter.checkpoints", "lstm-small.npz")


def checkpoint_path(name: str) -> Path:
    """The file of that name; where there is none, the checkpoint so called that ships with the package, if any."""
    shipped = _shipped("lm_meter.checkpoints", Path(name).name)
    is_shipped = name == shipped.name and shipped.suffix == ".npz" and shipped.is_file()
    return shipped if is_shipped and not os.path.lexists(name) else Path(name)


def entry_path(entry: str) -> Path:
    """File of an entry: of one that ships with the package where ``entry`` is its name, else the file so called."""
    shipped = _shipped("lm_meter.checkpoints", f"{entry}.toml")
    return shipped if entry == shipped.stem and shipped.is_file() else Path(entry)


def sample_path() -> Path:
    """File of the sample text that ships with the package."""
    return _shipped("lm_meter.texts", "sample.tokens")


def sample_text() -> Text:
    """The sample text that ships with the package."""
    return read_text(sample_path(), "sample text")
