"""Architectures: how each is configured, which arrays it needs, and how it runs."""

from __future__ import annotations

from ..errors import CheckpointError
from .architecture import Architecture
from .recurrent import RecurrentArchitecture
from .transformer import TransformerArchitecture

ARCHITECTURES: dict[str, Architecture] = {
    **{kind: RecurrentArchitecture(kind) for kind in ("lstm", "gru", "qrnn")},
    "transformer": TransformerArchitecture(),
}


def architecture_named(name: str, path: str) -> Architecture:
    """The architecture called ``name`` in the checkpoint at ``path``."""
    if name not in ARCHITECTURES:
        raise CheckpointError(
            f"{path}: architecture is {name!r:.60}; this lm-meter knows {', '.join(sorted(ARCHITECTURES))}"
        )
    return ARCHITECTURES[name]
