"""Our own exponential, logistic, hyperbolic and logarithm functions, in units in the last place."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from lm_meter.kernels import elementary
from lm_meter.kernels.jit import compiled
from lm_meter.kernels.lanes import load, store


def _on_arrays(function):
    @compiled
    def apply(x, out):
        for at in range(0, x.size, 16):
            store(out, at, function(load(x, at)))

    def call(values):
        x = np.zeros(-(-len(values) // 16) * 16, np.float32)
        x[: len(values)] = values
        out = np.empty_like(x)
        apply(x, out)
        return out[: len(values)]

    return call


EXP, SIGMOID, TANH, ERF = (_on_arrays(f) for f in (elementary.exp, elementary.sigmoid, elementary.tanh, elementary.erf))


def _ulps(actual, reference):
    """Distance in units in the last place of the float32 nearest to the float64 reference."""
    spacing = np.spacing(np.abs(reference).astype(np.float32)).astype(np.float64)
    return np.max(np.abs(actual.astype(np.float64) - reference) / spacing)


def _points(low, high, tiny=True):
    rng = np.random.default_rng(7)
    spread = rng.uniform(low, high, 200_000)
    small = rng.choice([-1, 1], 20_000) * 10.0 ** rng.uniform(-30, 0, 20_000) if tiny else []
    return np.concatenate([spread, small, np.linspace(low, high, 4097)]).astype(np.float32)


@pytest.mark.parametrize(
    ("function", "reference", "points", "tolerance"),
    [
        # The float64 functions of NumPy are off by 1e-16 relative: nothing against a float32 unit of 6e-8.
        pytest.param(EXP, np.exp, _points(-87.3, 88.3), 1.0, id="exp"),
        pytest.param(SIGMOID, lambda x: 1 / (1 + np.exp(-x)), _points(-80, 80), 3.0, id="sigmoid"),
        pytest.param(TANH, np.tanh, _points(-12, 12), 3.0, id="tanh"),
        pytest.param(ERF, np.vectorize(math.erf), _points(-5, 5), 3.0, id="erf"),
    ],
)
def test_function_is_within_its_stated_units_in_the_last_place(function, reference, points, tolerance):
    expected = reference(points.astype(np.float64))
    actual = function(points)
    assert _ulps(actual, expected) <= tolerance


def test_exp_flushes_below_the_normal_range_and_saturates_above():
    actual = EXP(np.array([-np.inf, -1000, -87.4, 0, 1000, np.inf], np.float32))
    assert actual[:3].tolist() == [0, 0, 0]
    assert actual[3] == 1
    assert np.all(np.isfinite(actual[4:]))
    assert np.all(actual[4:] > 2e38)


def test_saturated_ends_are_exact():
    assert SIGMOID(np.array([-np.inf, np.inf], np.float32)).tolist() == pytest.approx([0, 1], abs=1e-37)
    assert ERF(np.array([-np.inf, -20, 20, np.inf], np.float32)).tolist() == [-1, -1, 1, 1]
    assert TANH(np.array([-np.inf, -20, 20, np.inf], np.float32)).tolist() == [-1, -1, 1, 1]


@pytest.mark.parametrize("function", [EXP, SIGMOID, TANH, ERF])
def test_nan_is_not_laundered(function):
    actual = function(np.array([np.nan, 0.0], np.float32))
    assert np.isnan(actual[0])
    assert np.isfinite(actual[1])


@pytest.mark.parametrize("function", [TANH, ERF])
def test_odd_functions_keep_the_sign_of_zero(function):
    x = _points(0, 11)
    assert np.array_equal(function(-x), -function(x))
    assert np.signbit(function(np.array([-0.0], np.float32))[0])


def test_log_is_within_two_units_in_the_last_place():
    rng = np.random.default_rng(3)
    points = np.concatenate(
        [1 + rng.uniform(-1e-3, 1e-3, 500), rng.uniform(0.5, 2, 500), 10 ** rng.uniform(-300, 300, 500)]
    )
    with localcontext() as context:
        context.prec = 50
        for x in points:
            expected = Decimal(float(x)).ln()
            actual = elementary.log(float(x))
            unit = Decimal(float(np.spacing(abs(float(expected)))))
            assert abs(Decimal(actual) - expected) <= 2 * unit, x


def test_exp_of_a_float64_is_within_two_units_in_the_last_place():
    rng = np.random.default_rng(4)
    points = np.concatenate([rng.uniform(-1, 1, 500), rng.uniform(-700, 700, 500), [0.0, -708.0, 709.0, 1e-300]])
    with localcontext() as context:
        context.prec = 50
        for x in points:
            expected = Decimal(float(x)).exp()
            unit = Decimal(float(np.spacing(float(expected))))
            assert abs(Decimal(float(elementary.exp_64(float(x)))) - expected) <= 2 * unit, x
    assert elementary.exp_64(-709.0) == 0.0
    assert elementary.exp_64(710.0) == np.inf
    assert np.isnan(elementary.exp_64(np.nan))


def test_log_of_one_is_zero():
    assert elementary.log(1.0) == 0.0
