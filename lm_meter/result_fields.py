"""What a result document must have before it may be priced and printed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .errors import ConfigError

# For each field: a type, (type, None) where it may be null, the fields
# of an object, or the one kind of entry of a list. Integers are counts.
_FIELDS: dict[str, Any] = {
    "partial": bool,
    "checkpoint": {"path": str, "architecture": str},
    "text": {"name": str, "word_tokens": int, "scored": int, "replaced_by_unk": int},
    "nll_nats": float,
    "perplexity": {"word": (float, None), "piece": (float, None), "bits_per_byte": (float, None)},
    "histogram": [{"region": str, "kind": str, "bits_a": int, "bits_b": int, "count": int}],
    "regions": [{"name": str, "role": str, "moves": [str]}],
    "storage": {
        "bits": int,
        "tensors": [
            {"name": str, "shape": [int], "format": str, "width": int, "count": int, "tied_to": (str, None)},
        ],
    },
    "speed": {
        "tokens_per_second": float,
        "seconds": float,
        "compile_seconds": float,
        "weight_bytes_per_token": float,
        "stream_bytes_per_second": float,
        "bandwidth_fraction": (float, None),
    },
    "online": {"block": int, "positions_rechecked": int, "bits_equal": bool},
    "memory": {"peak_resident_bytes": int},
    "environment": {"threads": int},
}
_MAX_COUNT = 2**63 - 1  # tallies are int64


def check_document(document: dict[str, Any], path: Path) -> None:
    """Compare a document that was read from ``path`` with the fields it must have."""
    _check_fields(document, _FIELDS, "", path)


def _check_fields(value: Any, wanted: Any, where: str, path: Path) -> None:
    """Compare a value with its entry of ``_FIELDS``, and the values inside it with theirs."""
    if isinstance(wanted, dict) and isinstance(value, dict):
        for key, inner in wanted.items():
            if key not in value:
                raise ConfigError(f"{path}: has no {where}{key}; write it again with eval --output")
            _check_fields(value[key], inner, f"{where}{key}.", path)
    elif isinstance(wanted, list) and isinstance(value, list):
        for number, entry in enumerate(value):
            _check_fields(entry, wanted[0], f"{where}{number}.", path)
    elif not _fits(value, wanted):
        raise ConfigError(f"{path}: {where.rstrip('.')} is {value!r:.40}; write it again with eval --output")


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        return value is None or _fits(value, wanted[0])
    if wanted is int:
        return type(value) is int and 0 <= value <= _MAX_COUNT
    if wanted is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max  # neither infinite nor NaN
    return isinstance(wanted, type) and isinstance(value, wanted)
