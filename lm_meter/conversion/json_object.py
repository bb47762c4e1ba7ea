"""Configurations of other programs: one JSON object a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..strict_json import read_json


def read_json_object(file: Path) -> Mapping[str, Any]:
    """The object in a file; CheckpointError where there is none, or it cannot be read."""
    return as_object(read_json(file, CheckpointError, "a configuration, one JSON object"), file)


def as_object(found: Any, file: Path) -> Mapping[str, Any]:
    """What a file holds; CheckpointError where that is no object."""
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: holds a {type(found).__name__}; expected one JSON object")
    return found
