"""Configurations of other programs: one JSON object a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError


def read_json_object(file: Path) -> Mapping[str, Any]:
    """The object in a file; CheckpointError where there is none, OSError where it cannot be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: holds a {type(found).__name__}; expected one JSON object")
    return found
