"""Scalar reference of sinusoids, of vectors of distances and of sparse patterns: see ``reference_transformer.py``.

Nothing here is imported from the code under test.
"""

from __future__ import annotations

import math

import numpy as np
from reference import alone


def sinusoids(ledger, position, width, positions):
    """A vector of sines and cosines of a position, a whole number that costs nothing."""
    half = width // 2
    steps = half - 1 if positions.get("exponent") == "i/(half-1)" else half
    sines, cosines = [], []
    for i in range(half):
        frequency = np.float32(positions.get("base", 10000.0) ** (-i / steps))
        angle = ledger.number(position, 32) * ledger.number(frequency, 64)
        sines.append(angle._unary(math.sin(angle.value)).converted(32))
        cosines.append(angle._unary(math.cos(angle.value)).converted(32))
    if positions.get("layout") == "interleaved":
        return [value for pair in zip(sines, cosines, strict=True) for value in pair]
    return sines + cosines


def biased(ledger, query, bias, bits):
    """A query and a bias."""
    return [value + b for value, b in zip(query, alone(ledger, bias, bits), strict=True)]


def pattern_sees(pattern, position, other, window):
    """Whether a query at a position sees another one, not behind it, by the pattern's own words."""
    distance = position - other
    if pattern is not None and pattern["kind"] == "local_global" and other < pattern["global"]:
        return True
    if distance > window:
        return False
    if pattern is None:
        return True
    if pattern["kind"] == "strided":
        return distance <= pattern["local"] or distance % pattern["stride"] == 0
    if pattern["kind"] == "fixed":
        stride = pattern["stride"]
        return position // stride == other // stride or other % stride >= stride - pattern["summary"]
    return distance <= pattern["local"]
