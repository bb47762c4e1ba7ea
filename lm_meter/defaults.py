"""The checkpoint and the text that ship with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from .text import Text, read_text


def _shipped(package: str, name: str) -> Path:
    return Path(str(resources.files(package).joinpath(name)))


def default_checkpoint() -> Path:
    """The LSTM that ships with the package."""
    return _shipped("lm_meter.checkpoints", "lstm-small.npz")


def sample_path() -> Path:
    """File of the sample text that ships with the package."""
    return _shipped("lm_meter.texts", "sample.tokens")


def sample_text() -> Text:
    """The sample text that ships with the package."""
    return read_text(sample_path(), "sample text")
