"""The histogram of a run: operations by region, kind and the declared widths of their inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .kernels.charge import KINDS, OVERFLOW, UNARY
from .regions import Region


@dataclass(frozen=True, order=True)
class Row:
    """``count`` operations of one kind in one region on inputs of ``bits_a`` and ``bits_b`` bits.

    ``bits_b`` is 0 for an operation with one input, and the target's width for a conversion.
    """

    region: str
    kind: str
    bits_a: int
    bits_b: int
    count: int


def rows_of(tally: np.ndarray, regions: Sequence[Region]) -> list[Row]:
    """The operations of a tally that are not zero, in the order of regions and kinds."""
    operations = tally[:, : len(KINDS)]
    return [
        Row(regions[r].name, KINDS[k], int(a), int(b), int(tally[r, k, a, b])) for r, k, a, b in np.argwhere(operations)
    ]


@dataclass(frozen=True)
class Overflow:
    """How often integer accumulators of some bits left their range in a region."""

    region: str
    accumulator: int
    count: int


def overflows_of(tally: np.ndarray, regions: Sequence[Region]) -> list[Overflow]:
    """Overflows of a tally, where there were any."""
    counted = tally[:, OVERFLOW, :, UNARY]
    return [Overflow(regions[r].name, int(bits), int(counted[r, bits])) for r, bits in np.argwhere(counted)]


def rows_to_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows as plain objects."""
    return [asdict(row) for row in rows]


def rows_from_json(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The inverse of ``rows_to_json``."""
    return [Row(row["region"], row["kind"], row["bits_a"], row["bits_b"], row["count"]) for row in rows]
