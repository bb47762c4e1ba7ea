"""Sinusoids of positions, or of distances between positions.

    s[i] = sin(p f[i]),    c[i] = cos(p f[i]),    f[i] = base**(-i / steps),    i = 0 .. D/2 - 1

for a position p, counted from ``first``, and vectors of D numbers: s[0], c[0], s[1], ... or all sines, then all
cosines. ``steps`` is D/2 (Vaswani et al., Attention is all you need, 2017, section 3.5) or D/2 - 1 (as in
tensor2tensor). The frequencies are float32 numbers, as in the libraries in which such models are trained, the angle is
their exact product in float64 (see ``rotary.py``); sine and cosine are exact to float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .barrier import share
from .charge import ADD, Meter, charge
from .jit import inlined, kernel
from .matrix import FLOAT_BITS
from .network import ADD_TO, buffer_of
from .trigonometry import sine_and_cosine, waves_cost

INTERLEAVED, HALVES = range(2)


class Sinusoid(NamedTuple):
    """Which sinusoids, and where they stand in a vector."""

    layout: int
    frequencies: Any  # (D / 2,) float64
    first: int


@kernel
def sinusoid_cost(meter, pairs, adds):
    """Cost law of the step SINUSOID: for each pair a sine and a cosine, and 2 adds if they are added."""
    waves_cost(meter, pairs)
    if adds:
        charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, 2 * pairs)


@inlined
def sinusoid_step(network, memory, step, chunk, team, tally):
    """Add the sinusoids of the chunk's positions to a buffer, or write them there; pairs are shared among threads."""
    sinusoid, target = network.sinusoid, buffer_of(network.buffers, memory.buffers, step.target).data
    half, adds = sinusoid.frequencies.size, step.action == ADD_TO
    own = share(chunk.tokens.size * half, team)
    for item in range(own[0], own[1]):
        t, i = item // half, item % half
        sine, cosine = sine_and_cosine((chunk.position + t + sinusoid.first) * sinusoid.frequencies[i])
        at, to = (i, i + half) if sinusoid.layout == HALVES else (2 * i, 2 * i + 1)
        target[t, at] = np.float32(sine) + target[t, at] if adds else np.float32(sine)
        target[t, to] = np.float32(cosine) + target[t, to] if adds else np.float32(cosine)
    sinusoid_cost(Meter(tally, step.region), own[1] - own[0], adds)
