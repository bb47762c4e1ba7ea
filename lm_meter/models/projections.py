"""Projections of a transformer's layers: their sizes, and the sections of those that are grouped.

A grouped projection of G sections is block-diagonal: its outputs are G runs, each of which sees its own run of inputs
alone (Mehta et al., DeLighT: deep and light-weight transformer, 2020, among others).
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import CheckpointError
from .fields import Fields

Sizes = Mapping[str, tuple[int, int]]


def projection_sizes(width: int, inside: int, shared: int, hidden: int, gated: bool) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of each projection of a layer.

    ``width``, ``hidden``: of the model and of a feed-forward part; ``inside``, ``shared``: numbers of all queries, and
    of all keys, of a token.
    """
    sizes = {
        "attention.query": (inside, width),
        "attention.key": (shared, width),
        "attention.value": (shared, width),
        "attention.output": (width, inside),
    }
    if gated:
        sizes["feed_forward.gate"] = (hidden, width)
    return sizes | {"feed_forward.input": (hidden, width), "feed_forward.output": (width, hidden)}


def parse_groups(top: Fields, sizes: Sizes) -> dict[str, int]:
    """Sections of each projection, from the entries ``groups`` of ``attention`` and ``feed_forward``; 1 by default."""
    groups = dict.fromkeys(sizes, 1)
    for part in ("attention", "feed_forward"):
        section = top.section(part)
        if not section.has("groups"):
            continue
        known = [name.removeprefix(f"{part}.") for name in sizes if name.startswith(part)]
        found = section.section("groups")
        found.check_keys(known)
        for key in known:
            if found.has(key):
                groups[f"{part}.{key}"] = _checked(found, key, part, sizes)
    return groups


def _checked(found: Fields, key: str, part: str, sizes: Sizes) -> int:
    count, (outputs, inputs) = found.size(key), sizes[f"{part}.{key}"]
    if outputs % count or inputs % count:
        raise CheckpointError(
            f"{found.path}: {part}.groups.{key} is {count}; expected a divisor of its {outputs} outputs and {inputs} "
            "inputs"
        )
    return count
