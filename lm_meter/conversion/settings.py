"""Numbers in the configurations of other programs, each checked before anything is computed from it."""

from __future__ import annotations

import sys
from typing import Any

from ..errors import CheckpointError
from ..models.fields import MAX_SIZE


def whole(value: Any, name: str) -> int:
    """A size; ``name`` says in which file it is and what it is called there."""
    if type(value) is not int or not 1 <= value <= MAX_SIZE:
        raise CheckpointError(f"{name} is {value!r:.60}; expected a whole number from 1 to {MAX_SIZE}")
    return value


def real(value: Any, name: str) -> float:
    """A number; ``name`` says in which file it is and what it is called there."""
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        raise CheckpointError(f"{name} is {value!r:.60}; expected a number")
    return float(value)
