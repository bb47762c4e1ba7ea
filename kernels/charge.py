"""The meter's tally, and the one function that writes to it.

``tally[region, kind, bits_a, bits_b]`` (int64) counts operations by the declared widths of their two inputs. An
operation with one input has bits_b = 0, except a conversion, whose bits_b is the width it converts to.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

KINDS = ("multiply", "add", "divide", "transcendental", "compare", "bitwise", "convert")
MULTIPLY, ADD, DIVIDE, TRANSCENDENTAL, COMPARE, BITWISE, CONVERT = range(len(KINDS))
MAX_BITS = 64
UNARY = 0


class Meter(NamedTuple):
    """A tally (or None: nothing is counted) and the region of the model to charge."""

    tally: Any  # (regions, kinds, 65, 65) int64, or None
    region: int


def new_tally(regions: int) -> np.ndarray:
    """An empty tally for ``regions`` regions."""
    return np.zeros((regions, len(KINDS), MAX_BITS + 1, MAX_BITS + 1), np.int64)


def charge(meter, kind, bits_a, bits_b, count):
    """Add ``count`` operations to the meter's tally (modified in place); nothing at all where it has none."""
    if meter.tally is not None:
        meter.tally[meter.region, kind, bits_a, bits_b] += count


@overload(charge, jit_options={"forceinline": True})
def _charge_compiled(meter, kind, bits_a, bits_b, count):
    # The type decides, so that a run without a meter contains no trace of it: that is how its price is measured.
    if isinstance(meter.types[0], types.NoneType):
        return lambda meter, kind, bits_a, bits_b, count: None

    def add(meter, kind, bits_a, bits_b, count):
        meter.tally[meter.region, kind, bits_a, bits_b] += count

    return add
