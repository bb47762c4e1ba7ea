"""Weights that are stored wide but take few values: the declared grid is looked for, not believed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .bfloat16 import from_bfloat16
from .errors import CheckpointError
from .even_grid import Evenness, evenness
from .kernels.formats import BFLOAT16
from .weight_format import WHOLE

if TYPE_CHECKING:
    from .checkpoint import Checkpoint

_SLAB = 4 << 20  # weights that are sorted together
_FEW = 1 << 18  # weights whose steps are looked for together
# Half a unit in the last place of 1: float32, float16, bfloat16.
_ROUNDINGS = (2.0**-24, 2.0**-11, 2.0**-8)


def read_evenness(checkpoint: Checkpoint, name: str) -> Evenness:
    """What the values of a declared grid are; CheckpointError where a group has more of them than the grid."""
    declared = checkpoint.formats[name]
    bits = int(declared.grid or 0)
    for row, group, found in levels(checkpoint, name):
        if found > 1 << bits:
            where = f"{checkpoint.path}: array {name}"
            place = "in the whole array" if declared.group == WHOLE else f"in row {row}, group {group}"
            raise CheckpointError(
                f"{where}: {found} different values {place}; its grid of {declared.grid} bits has at most {1 << bits}"
            )
    kind = Evenness.WHOLE
    for patterns in _groups(checkpoint, name):
        kind = max(kind, evenness(_numbers(patterns, declared.code), bits, _ROUNDINGS[declared.code]))
        if kind == Evenness.TABLE:
            break
    return kind


def _numbers(patterns: np.ndarray, code: int) -> np.ndarray:
    """The numbers that bit patterns of a floating-point format stand for: float64."""
    if code == BFLOAT16:
        return from_bfloat16(patterns).astype(np.float64)
    return patterns.view(f"<f{patterns.itemsize}").astype(np.float64)


def _groups(checkpoint: Checkpoint, name: str) -> Iterator[np.ndarray]:
    """Bit patterns of the weights, a row for each group of the grid: (groups, n), some groups at a time."""
    declared = checkpoint.formats[name]
    weights = checkpoint.weight_bits(checkpoint.verified(name))
    if declared.group == WHOLE:
        *_, values = [np.zeros(0, weights.dtype), *_different(weights)]
        if values.size:
            yield values[None]
    elif declared.block:
        kept = checkpoint.kept(name)
        filled = np.flatnonzero(kept.counts)
        step = max(1, _FEW // max(1, int(kept.counts.max(initial=0))))
        for first in range(0, filled.size, step):
            rows = filled[first : first + step]
            # Shorter rows go on with their last weight.
            within = np.minimum(np.arange(kept.counts[rows].max()), kept.counts[rows, None] - 1)
            yield weights[kept.starts[rows, None] + within]
    else:
        groups = weights.reshape(-1, int(declared.group or weights.shape[-1]))
        step = max(1, _FEW // groups.shape[1])
        for first in range(0, len(groups), step):
            yield groups[first : first + step]


def _different(weights: np.ndarray) -> Iterator[np.ndarray]:
    """The different bit patterns of an array so far, zeros of either sign being one, after each run of them."""
    flat, found = weights.reshape(-1), np.zeros(0, weights.dtype)
    for first in range(0, flat.size, _SLAB):
        found = np.union1d(found, _one_zero(flat[first : first + _SLAB]))
        yield found


def levels(checkpoint: Checkpoint, name: str) -> Iterator[tuple[int, int, int]]:
    """Different values in each group of an array, zeros of either sign being one: row, group, how many.

    Of a whole array that is one group, only the number so far is given, after each run of rows, with the last row.
    """
    declared = checkpoint.formats[name]
    weights = checkpoint.weight_bits(checkpoint.verified(name))
    if declared.group == WHOLE:
        for found in _different(weights):
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
