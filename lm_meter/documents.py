"""JSON documents that are written for others to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .atomic_file import atomic_file
from .errors import ConfigError


def document_json(document: Mapping[str, Any]) -> str:
    """A document as text."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def save_document(document: Mapping[str, Any], path: str | Path) -> None:
    """Write a document; the file appears only when complete."""
    try:
        with atomic_file(Path(path)) as file:
            file.write(document_json(document).encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
