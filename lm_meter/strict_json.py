"""JSON as its standard has it: no NaN, no key twice, no half of a surrogate pair."""

from __future__ import annotations

import json
from typing import Any


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for key, value in pairs:
        if key in entries:
            raise ValueError(f"key {key!r:.40} appears twice")
        entries[key] = value
    return entries


def parse_json(content: str | bytes) -> Any:
    """Parse a document that comes from elsewhere.

    Raises
    ------
    ValueError
        With the reason in one line.
    """
    try:
        value = json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=_unique)
        # Python reads "\ud800", which no report, tokenizer or file could write again; and 1e999 as infinity.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value
