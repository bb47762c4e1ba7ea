"""How many different numbers a weight array really uses, of those that its declared width could tell apart."""

from __future__ import annotations

import numpy as np

from .checkpoint import Checkpoint
from .grid import levels
from .kernels.formats import is_integer

_SLAB = 4 << 20  # bytes that are counted together


def levels_used(checkpoint: Checkpoint, name: str) -> int | None:
    """Different numbers in an array of integers, or in a group of the grid that has most; None for other arrays."""
    declared = checkpoint.formats[name]
    if declared.grid is not None:
        return max((found for _, _, found in levels(checkpoint, name)), default=0)
    if not is_integer(declared.code):
        return None
    packed = checkpoint.view(checkpoint.verified(name))
    if declared.stored_bits == 8:
        return _different([packed.view(np.uint8)], 256)
    # The half byte behind an odd last column, or behind an odd last kept weight, is no number.
    odd = (checkpoint.values(name) if declared.block else checkpoint.shape(name)[1]) % 2
    return _different([packed & 15, (packed[..., :-1] if odd else packed) >> 4], 16)


def _different(arrays: list[np.ndarray], values: int) -> int:
    """Different numbers, 0 to ``values`` - 1, in some arrays."""
    used = np.zeros(values, bool)
    for array in arrays:
        flat = array.reshape(-1)
        for first in range(0, flat.size, _SLAB):
            used |= np.bincount(flat[first : first + _SLAB], minlength=values) > 0
    return int(used.sum())
