"""The meter's tally, and the one function that writes to it.

``tally[region, kind, bits_a, bits_b]`` (int64) counts operations by the declared widths of their two inputs. An
operation with one input has bits_b = 0, except a conversion, whose bits_b is the width it converts to. Behind the last
kind of operation a tally counts overflows.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

KINDS = ("multiply", "add", "divide", "transcendental", "compare", "bitwise", "convert")
MULTIPLY, ADD, DIVIDE, TRANSCENDENTAL, COMPARE, BITWISE, CONVERT = range(len(KINDS))
# Behind the kinds of operations: an event that has no price. bits_a is the width of the accumulator.
OVERFLOW = len(KINDS)
MAX_BITS = 64
UNARY = 0


class Meter(NamedTuple):
    """A tally (or None: nothing is counted) and the region of the model to charge."""

    tally: Any  # (regions, kinds, 65, 65) int64, or None
    region: int


# For a kernel that calls another one for many small pieces, and charges that one's law once for all the pieces it took:
# a charge for each of the 384-row segments of a softmax cost the default model 1.5 to 2.5 % of its speed.
CHARGED_BY_CALLER = Meter(None, 0)


# Words from one pair of widths to the next: a cache line of int64, as many as there are kinds and overflows.
_LINE = 8


def new_tallies(threads: int, regions: int) -> np.ndarray:
    """An empty tally for each thread: (threads, regions, kinds and overflows, 65, 65) int64.

    Between two tokens the weights push the tally out of the nearer caches, so a charge costs what must be fetched. In
    memory the kinds of a pair of widths share a cache line, for most charges of a kernel are on the same two widths,
    and the regions of that pair follow, so that a step touches few pages.
    """
    shape = (threads, MAX_BITS + 1, MAX_BITS + 1, regions, _LINE)
    words = np.zeros(math.prod(shape) + _LINE, np.int64)
    first = -words.ctypes.data % (8 * _LINE) // 8
    memory = words[first : first + math.prod(shape)].reshape(shape)
    return memory[..., : OVERFLOW + 1].transpose(0, 3, 4, 1, 2)


def new_tally(regions: int) -> np.ndarray:
    """An empty tally of one thread: (regions, kinds, 65, 65) int64."""
    return new_tallies(1, regions)[0]


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
