"""Sine and cosine in float64, of angles of rotary and sinusoidal positions.

As for the other elementary functions libm is not used: it differs between machines. Method (Muller, Elementary
Functions, 3rd ed., ch. 11): x = n pi / 2 + r with |r| <= pi / 4, then Taylor's polynomials, whose remainders are below
r**19 / 19! < 1e-19. pi / 2 is taken in three parts, the first two of 26 bits: n times these is exact for n < 2**27.
"""

from __future__ import annotations

import numpy as np

from .charge import CONVERT, MULTIPLY, TRANSCENDENTAL, UNARY, charge
from .jit import kernel
from .matrix import FLOAT_BITS

_TWO_OVER_PI = 0.63661977236758134308
_HALF_PI = 1.5707963109016418, 1.5893254712295857e-08, 6.123233995736766e-17
LARGEST_ANGLE = 1e8
_POSITION_BITS, _ANGLE_BITS = 32, 64


@kernel
def waves_cost(meter, count):
    """Cost law of the sine and cosine of a position times a frequency, ``count`` times.

    A multiply, two functions of a float64 angle, and their conversion to float32.
    """
    charge(meter, MULTIPLY, _POSITION_BITS, _ANGLE_BITS, count)
    charge(meter, TRANSCENDENTAL, _ANGLE_BITS, UNARY, 2 * count)
    charge(meter, CONVERT, _ANGLE_BITS, FLOAT_BITS, 2 * count)


@kernel
def _sine(r):
    z, series = r * r, 0.0
    for n in range(17, 1, -2):
        series = (1.0 - series) * z / ((n - 1) * n)
    return r * (1.0 - series)


@kernel
def _cosine(r):
    z, series = r * r, 0.0
    for n in range(18, 0, -2):
        series = (1.0 - series) * z / ((n - 1) * n)
    return 1.0 - series


@kernel
def sine_and_cosine(x):
    """Sine and cosine of an angle of at most LARGEST_ANGLE, within 2e-16."""
    n = np.rint(x * _TWO_OVER_PI)
    r = ((x - n * _HALF_PI[0]) - n * _HALF_PI[1]) - n * _HALF_PI[2]
    quadrant = np.int64(n) & 3
    s, c = _sine(r), _cosine(r)
    if quadrant & 1:
        s, c = c, -s
    if quadrant & 2:
        s, c = -s, -c
    return s, c
