"""Sections and fields of a result document that results of earlier versions do not have.

Fields are written as in ``result_fields.py``: a type, (type, None) where it may be null, the fields of an object, or
the one kind of entry of a list.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .entry_fields import ENTRY
from .errors import ConfigError

# Of the text; all null in results of versions that did not have them.
LATER_OF_TEXT = (
    "unscored_bytes",
    "lost_characters",
    "longest_token",
    "bytes_in_long_tokens",
    "word_tokens_replaced",
)
# Of integer accumulators.
_OVERFLOWS = [{"region": str, "accumulator": int, "count": int}]
_UNCERTAINTY = {
    "method": str,
    "level": float,
    "block": str,
    "blocks": int,
    "resamples": int,
    "seed": int,
    "word_low": (float, None),
    "word_high": (float, None),
}
_MOST = {"elements": int, "bits": int}
_ACTIVATIONS = {
    "with_state": {**_MOST, "elements_in": str, "bits_in": str},
    "without_state": {**_MOST, "elements_in": str, "bits_in": str},
    "by_region": [{"region": str, "with_state": _MOST, "without_state": _MOST}],
}
_RUN = {
    "options": {
        "block": int,
        "threads": (int, None),
        "first_token": str,
        "limit": (int, None),
        "oov": str,
        "policy": (str, None),
        "context": (int, None),
        "continuous_cache": (str, None),
    },
    "seed": int,
    "sittings": int,
}
_CHAIN = {"tokens_per_link": int, "links": [str]}
# The laws of regions, as text.
_CALCULATION = {
    "units": [{"symbol": str, "meaning": str}],
    "regions": [
        {
            "region": str,
            "formula": str,
            "sizes": [{"symbol": str, "value": int, "meaning": str}],
            "laws": [{"kind": str, "bits_a": int, "bits_b": int, "terms": [str]}],
        }
    ],
}
_TOKENIZER = {
    "tokens": int,
    "longest_token": int,
    "bits": int,
    "vocabulary_bits": int,
    "merges_bits": int,
    "scores_bits": int,
    "rules_bits": int,
    "is_given": bool,
}
# What results without the section get, and its fields.
LATER: dict[str, tuple[Any, Any]] = {
    "overflows": ([], _OVERFLOWS),
    "tokenizer": (None, (_TOKENIZER, None)),
    "uncertainty": (None, (_UNCERTAINTY, None)),
    "activations": (None, (_ACTIVATIONS, None)),
    "calculation": (None, (_CALCULATION, None)),
    "run": (None, (_RUN, None)),
    "chain": (None, (_CHAIN, None)),
    "entry": (None, (ENTRY, None)),
    "records": (None, ({"file": str, "sha256": str}, None)),
}


def check_later_of_text(text: dict[str, Any], path: Path) -> None:
    """Fields that came together are null together: one alone would be a figure that is hidden."""
    null = [key for key in LATER_OF_TEXT if text[key] is None]
    if 0 < len(null) < len(LATER_OF_TEXT):
        raise ConfigError(
            f"{path}: text.{null[0]} is None, but not each of {', '.join(LATER_OF_TEXT)}; write it again with eval "
            "--output"
        )
