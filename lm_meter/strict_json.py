"""JSON as its standard has it: no NaN, no key twice, no half of a surrogate pair."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from .errors import LmMeterError
from .regular_file import open_regular

# Of a document: parsed it takes up to 24 times as many.
_MOST_BYTES = 6 << 20


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


def read_json(
    path: Path, kind: type[LmMeterError], expected: str, opened: Callable[[Path], IO[bytes]] = open_regular
) -> Any:
    """Parse a file that comes from elsewhere.

    Parameters
    ----------
    path : Path
    kind : type of LmMeterError
        Raised, in one line, where it cannot be read, is too long to be any, or is not JSON.
    expected : str
        What it should be, as the message says it.
    opened : function of a path
        Opens it: ``open_stream`` where it may be a pipe.
    """
    try:
        with opened(path) as file:
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise kind(f"{path}: has more than {_MOST_BYTES} bytes; expected {expected}")
        return parse_json(raw)
    except OSError as error:
        raise kind(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
    except ValueError as error:
        raise kind(f"{path}: is not JSON ({error}); expected {expected}") from None
