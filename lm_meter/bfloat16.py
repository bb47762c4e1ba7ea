"""bfloat16, which NumPy has no type for: the upper half of a float32, kept as uint16."""

from __future__ import annotations

import numpy as np


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Bit patterns (uint16) of float32 values rounded to bfloat16, ties to even; no value may be NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 values of bit patterns (uint16)."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
