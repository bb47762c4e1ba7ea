"""Sine and cosine against the platform's own functions, over all angles that a long text needs."""

import math

import numpy as np
import pytest

from lm_meter.kernels.jit import compiled
from lm_meter.kernels.trigonometry import LARGEST_ANGLE, sine_and_cosine


@compiled
def _both(angle):
    return sine_and_cosine(angle)


@pytest.mark.parametrize("largest", [1e-3, 1.0, 100.0, 1e6, LARGEST_ANGLE])
def test_within_2e_16_of_the_platforms_own(largest):
    for angle in np.random.default_rng(0).uniform(-largest, largest, 2000).tolist():
        reference = math.sin(angle), math.cos(angle)
        actual = _both(angle)
        assert actual == pytest.approx(reference, abs=2e-16, rel=0)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3, 4, 10**6 + 1, 6 * 10**7 + 3])
def test_near_multiples_of_a_quarter_turn(quarters):
    angle = quarters * math.pi / 2
    reference = math.sin(angle), math.cos(angle)
    actual = _both(angle)
    assert actual == pytest.approx(reference, abs=2e-16, rel=0)
