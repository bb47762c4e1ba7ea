"""What the table of a foreign entry says of it: its claims as claims, and how fast it answered."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from .score_section import claimed_operations

_NO_CLAIM = "not claimed"


def unmetered_heading(document: dict[str, Any]) -> str:
    """The line above the claims."""
    claims = document["entry"]["claims"]
    if claims is None:
        return "operations and storage: UNMETERED, and the entry claims nothing of them"
    return f"operations and storage: UNMETERED; the entry's own claims ({claims['profile']})"


def claim_rows(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Claims, with the score that they would give under the document's price list."""
    claims, claimed = document["entry"]["claims"], document["score"]["claimed"]
    if claims is None:
        return []
    per = "word token" if document["text"]["word_tokens"] else "piece"
    rows = [
        (f"operations per {per}", _claim(claimed_operations(document))),
        ("parameters", _claim(claims["parameters"])),
    ]
    profile = document["score"]["profile"]
    if claimed is None:
        return [*rows, ("score", f"none: the claims are not made under {profile}, or it has no score")]
    names = (("storage", "storage_ratio"), ("operations", "operations_ratio"), ("total", "total"))
    return rows + [
        (f"score, {name}", _NO_CLAIM if claimed[key] is None else _ratio(claimed[key])) for name, key in names
    ]


def answer_rows(document: dict[str, Any]) -> list[tuple[str, str]]:
    """How fast the program answered, with what, and how it ended."""
    speed, entry = document["speed"], document["entry"]
    return [
        ("tokens a second", f"{speed['tokens_per_second']:,.1f}"),
        ("seconds", f"{speed['seconds']:.2f} (until the handshake {speed['load_seconds']:.2f}, not included)"),
        ("on-line", "each distribution came before its token was sent"),
        ("distributions", f"{entry['dtype']} {entry['values']} over {entry['vocabulary']['size']:,} tokens"),
        ("sums", f"{entry['sums']['low']:.7f} to {entry['sums']['high']:.7f}; what is above 1 is divided out"),
        ("program", f"{entry['ending']}"),
    ]


def _claim(value: float | Fraction | None) -> str:
    if value is None:
        return _NO_CLAIM
    value = abs(float(value))  # -0.0 in a file
    return f"{value:,.0f} (claimed)" if value.is_integer() else f"{value:,.1f} (claimed)"


def _ratio(value: float) -> str:
    return f"{value:.5f} (claimed)"
