"""One number from sixteen lanes, in the order of the lanes: by way of memory, since that order is a scalar loop."""

from __future__ import annotations

from .jit import kernel
from .lanes import LANES, store


@kernel
def sum_across(lanes, x):
    """Sum of sixteen lanes; ``lanes`` (16 float32) is overwritten."""
    store(lanes, 0, x)
    total = lanes[0]
    for lane in range(1, LANES):
        total += lanes[lane]
    return total


@kernel
def largest_across(lanes, x):
    """The largest of sixteen lanes; ``lanes`` (16 float32) is overwritten."""
    store(lanes, 0, x)
    largest = lanes[0]
    for lane in range(1, LANES):
        if lanes[lane] > largest:
            largest = lanes[lane]
    return largest
