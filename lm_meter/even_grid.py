"""Whether the values of a grid are whole numbers of its bits times a step: only then is a weight as narrow as declared.

A weight w on an even grid of b bits is q s, with q a whole number of b bits and s one step for each group of weights.
The q are signed (-2^(b-1) to 2^(b-1) - 1), unsigned (0 to 2^b - 1) or odd (-(2^b - 1) to 2^b - 1), the same with the
other sign of s; of one bit they are odd, which is -1 and 1. Other values are entries of a table.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

# Whole numbers are tried one after the other: of wider grids values count as entries of a table.
MOST_BITS = 12
_AT_FIRST = 16  # columns that a step is tried on before all are looked at
# Roundings of the stored values that a step may be off by, in units of the largest one; never more than a part of a
# step, so that a coarse format does not make any values even.
_ROUNDINGS, _MOST_OFF = 4, 0.25


class Evenness(IntEnum):
    """What the values of a grid are: whole numbers, whole numbers times steps, or any."""

    WHOLE = 0
    STEPS = 1
    TABLE = 2


def evenness(values: np.ndarray, bits: int, rounding: float) -> Evenness:
    """What the values of groups are, (groups, n) float64, each with its own step.

    Parameters
    ----------
    values : (groups, n) float64
    bits : int
        Of the grid.
    rounding : float
        Half a unit in the last place of 1 in the format that the values are stored in.
    """
    # What is not finite is refused where weights are read to be run.
    if bits > MOST_BITS or not np.isfinite(values).all():
        return Evenness.TABLE
    if (values == np.rint(values)).all() and _are_of(values, bits).all():
        return Evenness.WHOLE
    left = values[values.any(axis=1)]  # zeros alone are zero times any number
    largest = np.abs(left).max(axis=1, keepdims=True, initial=0)
    few = left[:, :: max(1, left.shape[1] // _AT_FIRST)]
    for most in range(1, 1 << bits):
        # A step that makes the largest one this whole number.
        off = min(_ROUNDINGS * rounding * most, _MOST_OFF)
        likely = np.flatnonzero(_is_near(few, largest / most, off).all(axis=1))
        if likely.size:
            done = likely[_fits(left[likely], largest[likely] / most, off, bits)]
            left, few, largest = (np.delete(rows, done, axis=0) for rows in (left, few, largest))
        if not len(left):
            return Evenness.STEPS
    return Evenness.TABLE


def _is_near(values: np.ndarray, step: np.ndarray, off: float) -> np.ndarray:
    multiples = values / step
    return np.abs(multiples - np.rint(multiples)) <= off


def _fits(values: np.ndarray, step: np.ndarray, off: float, bits: int) -> np.ndarray:
    """Which groups are whole numbers of some bits times their step: (groups,) bool."""
    return _is_near(values, step, off).all(axis=1) & _are_of(np.rint(values / step), bits)


def _are_of(whole: np.ndarray, bits: int) -> np.ndarray:
    """Which groups of whole numbers are signed, unsigned or odd ones of some bits: (groups,) bool."""
    low, high, end = whole.min(axis=1), whole.max(axis=1), 1 << bits
    is_odd = (np.abs(whole) % 2 == 1).all(axis=1) & (np.maximum(-low, high) < end)
    if bits == 1:
        return is_odd
    half = end // 2
    signed = (low >= -half) & (high < half) | (low > -half) & (high <= half)
    unsigned = (low >= 0) & (high < end) | (low > -end) & (high <= 0)
    return is_odd | signed | unsigned
