"""Sine and cosine in float64, of angles of rotary and sinusoidal positions.

As for the other elementary functions libm is not used: it differs between machines. Method (Muller, Elementary
Functions, 3rd ed., ch. 11): x = n pi / 2 + r with |r| <= pi / 4, then Taylor's polynomials, whose remainders are below
r**19 / 19! < 1e-19. pi / 2 is taken in two parts, so that n times the first is exact for n < 2**20.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel

_TWO_OVER_PI = 0.63661977236758134308
_HALF_PI_HIGH = 1.57079632673412561417  # its leading 33 bits
_HALF_PI_LOW = 6.07710050650619224932e-11
LARGEST_ANGLE = 1e6


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
    """Sine and cosine of an angle of at most LARGEST_ANGLE, within 2 units in the last place of float64 near 1."""
    n = np.rint(x * _TWO_OVER_PI)
    r = (x - n * _HALF_PI_HIGH) - n * _HALF_PI_LOW
    quadrant = np.int64(n) & 3
    s, c = _sine(r), _cosine(r)
    if quadrant & 1:
        s, c = c, -s
    if quadrant & 2:
        s, c = -s, -c
    return s, c
