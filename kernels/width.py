"""Declared widths of weights: of what meets an input, and of the step that it is a multiple of.

A weight is charged at the declared width of the number that enters the operation. Weights that are whole numbers times
a step (integers with a scale, an even grid) are charged as the whole numbers, and the step as a number of its own: it
multiplies the sum of a row's products, or, where a weight stands alone, the weight.
"""

from __future__ import annotations

from typing import NamedTuple

from .charge import MULTIPLY, charge
from .jit import kernel

NO_STEP = 0  # bits of a step that is not there, or 1
_FLOAT_BITS = 32


class Width(NamedTuple):
    """Of the weights of a vector: all int64."""

    bits: int  # of the numbers that enter an operation
    step_bits: int  # of the step that each is a multiple of, or NO_STEP


NO_WIDTH = Width(0, NO_STEP)


@kernel
def alone_cost(meter, kind, width, numbers):
    """Cost law of adding some weights, or multiplying by them, one by one: each is made of its step first."""
    charge(meter, kind, _FLOAT_BITS, width.bits, numbers)
    if width.step_bits != NO_STEP:
        charge(meter, MULTIPLY, width.step_bits, _FLOAT_BITS, numbers)
