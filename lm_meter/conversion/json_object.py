"""Configurations of other programs: one JSON object a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..strict_json import parse_json

_MOST_BYTES = 6 << 20


def read_json_object(file: Path) -> Mapping[str, Any]:
    """The object in a file; CheckpointError where there is none, OSError where it cannot be read."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise CheckpointError(f"{file}: has more than {_MOST_BYTES} bytes; expected a configuration")
        found = parse_json(raw)
    except ValueError as error:
        raise CheckpointError(f"{file}: is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: holds a {type(found).__name__}; expected one JSON object")
    return found
