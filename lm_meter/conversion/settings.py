"""Numbers in the configurations of other programs, each checked before anything is computed from it."""

from __future__ import annotations

from typing import Any

from ..errors import CheckpointError


def whole(value: Any, name: str) -> int:
    """A size, 1 or more; ``name`` says in which file it is and what it is called there."""
    if type(value) is not int or value < 1:
        raise CheckpointError(f"{name} is {value!r:.60}; expected a whole number, 1 or more")
    return value


def real(value: Any, name: str) -> float:
    """A number; ``name`` says in which file it is and what it is called there."""
    if type(value) not in (int, float):
        raise CheckpointError(f"{name} is {value!r:.60}; expected a number")
    return float(value)
