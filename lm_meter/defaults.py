"""The checkpoint, the text and the entries that ship with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from .text import Text, read_text


def _shipped(package: str, name: str) -> Path:
    return Path(str(resources.files(package).joinpath(name)))


def default_checkpoint() -> Path:
    """The LSTM that ships with the package."""
    return _shipped("lm_meter.checkpoints", "lstm-small.npz")


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
