"""Vectors of stored floating-point numbers among the packed weights: biases, and the weights of normalisations."""

from __future__ import annotations

from .decode import load_bfloat16, load_float16, load_float32
from .formats import FLOAT16, FLOAT32, ITEM_BYTES
from .jit import inlined


@inlined
def numbers_at(weights, code, offset, first):
    """Sixteen numbers from number ``first`` on of a vector at ``offset``, as float32 lanes."""
    at = offset + first * ITEM_BYTES[code]
    if code == FLOAT32:
        return load_float32(weights, at)
    if code == FLOAT16:
        return load_float16(weights, at)
    return load_bfloat16(weights, at)
