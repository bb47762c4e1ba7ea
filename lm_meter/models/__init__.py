"""Architectures: how each is configured, which arrays it needs, and how it runs."""

from __future__ import annotations

from ..errors import CheckpointError
from .lstm import LstmArchitecture

ARCHITECTURES = {"lstm": LstmArchitecture()}


def architecture_named(name: str, path: str) -> LstmArchitecture:
    """The architecture called ``name`` in the checkpoint at ``path``."""
    if name not in ARCHITECTURES:
        raise CheckpointError(
            f"{path}: architecture is {name!r}; this lm-meter knows {', '.join(sorted(ARCHITECTURES))}"
        )
    return ARCHITECTURES[name]
