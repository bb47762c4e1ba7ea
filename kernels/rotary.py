"""Rotary positions: pairs of numbers of a query or key turned by an angle that grows with the position.

    (a, b)  ->  (a cos t - b sin t, a sin t + b cos t),    t = position * base**(-2 i / W) for pair i of W / 2

(Su et al., RoFormer, 2021). A pair is two neighbours, or a number of the first half and its partner in the second. The
frequencies are float32 numbers, as in the libraries in which such models were trained, but the angle is their exact
product in float64: rounded to float32, as there, it would be off by 0.01 at position 240,000 of a text that is run with
a cache, and the distance between two positions with it. Sine and cosine are exact to float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .charge import ADD, MULTIPLY, charge
from .jit import kernel
from .matrix import FLOAT_BITS
from .trigonometry import sine_and_cosine, waves_cost

NO_ROTATION, ADJACENT, HALVES = range(3)


class Rotation(NamedTuple):
    """How queries and keys are turned."""

    pairs: int  # which numbers are a pair
    frequencies: Any  # (rotated numbers of a head / 2,) float64
    cosines: Any  # (tokens, rotated / 2) float32, written for each chunk of tokens
    sines: Any  # the same


@kernel
def angles_cost(meter, rotation, tokens):
    """Cost law of ``angles``: for each pair a sine and a cosine."""
    waves_cost(meter, rotation.frequencies.size * tokens)


@kernel
def angles(rotation, token, position):
    """Sines and cosines of a token of the chunk at a position; charged by the caller."""
    for i in range(rotation.frequencies.size):
        sine, cosine = sine_and_cosine(position * rotation.frequencies[i])
        rotation.sines[token, i] = np.float32(sine)
        rotation.cosines[token, i] = np.float32(cosine)


@kernel
def rotate_cost(meter, rotation, vectors):
    """Cost law of ``rotate``: for each pair 4 multiplies and 2 adds."""
    count = rotation.frequencies.size * vectors
    charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, 4 * count)
    charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, 2 * count)


@kernel
def rotate(rotation, token, vector):
    """Turn one head's query or key of a token of the chunk, in place; charged by the caller."""
    half = rotation.frequencies.size
    for i in range(half):
        first = i if rotation.pairs == HALVES else 2 * i
        second = i + half if rotation.pairs == HALVES else 2 * i + 1
        a, b = vector[first], vector[second]
        sine, cosine = rotation.sines[token, i], rotation.cosines[token, i]
        vector[first] = a * cosine - b * sine
        vector[second] = a * sine + b * cosine
