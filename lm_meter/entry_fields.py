"""What the result of a foreign entry has instead of measured costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .entry_protocol import DTYPES, VALUES, VERSION
from .profiles import PROFILES


class _Nothing:
    """Of what there may be none: no value is one."""


_NULL = (_Nothing, None)
# Types as those of ``result_fields.py``.
ENTRY = {
    "command": str,
    "name": (str, None),
    "protocol": int,
    "unmetered": bool,
    "claims": ({"profile": str, "parameters": (float, None), "operations": (float, None)}, None),
    "values": str,
    "dtype": str,
    "vocabulary": {"path": str, "sha256": str, "size": int},
    "files": [{"name": str, "sha256": str}],
    "timeout": float,
    "sums": {"low": float, "high": float},
    "ending": str,
}


def unmetered_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a result of which nothing but the predictions was measured: what is not known is null, or empty."""
    return {
        **fields,
        "checkpoint": {**fields["checkpoint"], "sha256": _NULL},
        "histogram": [_Nothing],
        "regions": [_Nothing],
        "operations_per_token": {
            name: wanted if wanted is str else _NULL for name, wanted in fields["operations_per_token"].items()
        },
        "storage": {"parameters": _NULL, "bits": _NULL, "tensors": [_Nothing]},
        "speed": {
            **fields["speed"],
            "compile_seconds": _NULL,
            "weight_bytes_per_token": _NULL,
            "stream_bytes_per_second": _NULL,
            "bandwidth_fraction": _NULL,
        },
        "online": {**fields["online"], "bits_equal": _NULL, "policy": _NULL},
        "memory": {"peak_resident_bytes": _NULL},
    }


def limited_of_entry(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any, Sequence[Any]]]:
    """Fields with few possible values: name, value found, values allowed."""
    yield "entry.protocol", entry["protocol"], (VERSION,)
    yield "entry.unmetered", entry["unmetered"], (True,)
    yield "entry.values", entry["values"], VALUES
    yield "entry.dtype", entry["dtype"], tuple(DTYPES)
    if entry["claims"] is not None:
        yield "entry.claims.profile", entry["claims"]["profile"], tuple(PROFILES)
