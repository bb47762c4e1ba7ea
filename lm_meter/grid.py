"""Weights that are stored wide but take few values: the declared grid is looked for, not believed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .checkpoint import Checkpoint
from .errors import CheckpointError
from .weight_format import WHOLE

_SLAB = 4 << 20  # weights that are sorted together


def check_grid(checkpoint: Checkpoint, name: str) -> None:
    """Refuse an array with more values in a group than its grid has; CheckpointError names the array and the row."""
    declared = checkpoint.formats[name]
    allowed = 1 << int(declared.grid or 0)
    for row, group, found in levels(checkpoint, name):
        if found > allowed:
            where = f"{checkpoint.path}: array {name}"
            place = "in the whole array" if declared.group == WHOLE else f"in row {row}, group {group}"
            raise CheckpointError(
                f"{where}: {found} different values {place}; its grid of {declared.grid} bits has at most {allowed}"
            )


def levels(checkpoint: Checkpoint, name: str) -> Iterator[tuple[int, int, int]]:
    """Different values in each group of an array, zeros of either sign being one: row, group, how many.

    Of a whole array that is one group, only the number so far is given, after each run of rows, with the last row.
    """
    declared = checkpoint.formats[name]
    weights = checkpoint.weight_bits(checkpoint.verified(name))
    if declared.group == WHOLE:
        flat, found = weights.reshape(-1), np.zeros(0, weights.dtype)
        for first in range(0, flat.size, _SLAB):
            found = np.union1d(found, _one_zero(flat[first : first + _SLAB]))
            yield 0, 0, found.size
        return
    if declared.block:
        kept = checkpoint.kept(name)
        for row, (start, count) in enumerate(zip(kept.starts, kept.counts, strict=True)):
            yield row, 0, np.unique(_one_zero(weights[start : start + count])).size
        return
    rows = weights.reshape(-1, weights.shape[-1])
    groups = declared.groups(checkpoint.shape(name))[1]
    step = max(1, _SLAB // rows.shape[1])
    for first in range(0, len(rows), step):
        slab = _one_zero(rows[first : first + step]).reshape(-1, groups, rows.shape[1] // groups)
        slab.sort(axis=-1)
        counts = 1 + (slab[..., 1:] != slab[..., :-1]).sum(axis=-1)
        for row, group in np.ndindex(counts.shape):
            yield first + row, group, int(counts[row, group])


def _one_zero(bits: np.ndarray) -> np.ndarray:
    """A copy with the bits of -0 replaced by those of 0."""
    negative_zero = 1 << (8 * bits.dtype.itemsize - 1)
    return np.where(bits == negative_zero, 0, bits).astype(bits.dtype)
