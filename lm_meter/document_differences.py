"""What two results of the same run must have in common, and where they do not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

# All that does not depend on the machine, the moment, the number of threads, or the block.
SAME = (
    "partial",
    "checkpoint.sha256",
    "checkpoint.architecture",
    "run.seed",
    "text",
    "tokenizer",
    "nll_nats",
    "perplexity",
    "uncertainty",
    "overflows",
    "regions",
    "calculation",
    "activations",
    "storage",
    "operations_per_token",
    "score",
    "online.bits_equal",
    "online.softmax_bins",
    "online.own_context",
)
_SAME_BLOCK = ("speed.weight_bytes_per_token",)  # the same in runs whose blocks are
_NAMES = ("text.name",)  # of a file that may have moved
_LATER = ("operations_per_token.macs",)  # null in older results
_ROUNDING = 1e-9  # of another machine's exponential function and square root
_EXACT = ("nll_nats",)


def differences(found: Mapping[str, Any], again: Mapping[str, Any], made: str) -> Iterator[str]:
    """A message for each figure that differs between a result and the same run, made again.

    Not of options and of what they give in the section ``online``, which are compared before it is made. ``made``: how
    the second one was.
    """
    yield from _counts(found["histogram"], again["histogram"], made)
    same_block = found["online"]["block"] == again["online"]["block"]
    for name in SAME + (_SAME_BLOCK if same_block else ()):
        section, _, key = name.partition(".")
        one, other = (document[section][key] if key else document[section] for document in (found, again))
        for path, first, second in _leaves(name, one, other):
            is_left_out = path in _NAMES or (path in _LATER and first is None)
            if not is_left_out and not _agree(path, first, second):
                yield f"{path} is {first!r:.60} in the result, {second!r:.60} {made}"


def _counts(found: list[dict[str, Any]], again: list[dict[str, Any]], made: str) -> Iterator[str]:
    """Rows of the histograms that differ."""
    one, other = ({_row_name(row): row["count"] for row in rows} for rows in (found, again))
    for name in dict.fromkeys((*one, *other)):
        if one.get(name) != other.get(name):  # a row of 0 is one too many
            yield f"{name}: {one.get(name, 0):,} operations in the result, {other.get(name, 0):,} {made}"


def _row_name(row: Mapping[str, Any]) -> str:
    return f"{row['region']}, {row['kind']} of {row['bits_a']} and {row['bits_b']} bits"


def _leaves(path: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Plain values at the same place of two documents; a part that only one has is a value."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys((*one, *other)):
            yield from _leaves(f"{path}.{key}", one.get(key), other.get(key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (first, second) in enumerate(zip(one, other, strict=True)):
            yield from _leaves(f"{path}.{number}", first, second)
    else:
        yield path, one, other


def _agree(path: str, one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and path not in _EXACT:
        return math.isclose(one, other, rel_tol=_ROUNDING)
    return type(one) is type(other) and bool(one == other)
