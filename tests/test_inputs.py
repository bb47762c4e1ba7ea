"""Inputs of a product: float16, 8-bit integers and their step, sums over groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ACTIVATION, Ledger, quantised

from lm_meter.kernels.formats import CODEBOOK4, FIELD_BIAS, INT4, INT8, STORED_BITS, UNIT_COLUMNS
from lm_meter.kernels.inputs import Narrow, Vectors, must_prepare, own_row, prepare
from lm_meter.kernels.jit import compiled
from lm_meter.kernels.matrix import Scheme, place_matrix


@compiled
def _prepare(matrix, x, first, last):
    prepare(matrix, x, first, last)


@compiled
def _write_to_own_row(narrow, row):
    own = own_row(narrow, row)
    own.integers[0, 0] = 9
    return own.scales[0]


def prepared(values, bits, group=None, has_offsets=False, code=CODEBOOK4):
    """What ``prepare`` makes of some vectors, for weights of a format whose integers are taken as they are."""
    tokens, columns = values.shape
    width = -(-columns // 16) * 16
    data = np.zeros((tokens, width), np.float32)
    data[:, :columns] = values
    matrix = place_matrix((1, columns), Scheme(code, group, has_offsets, bits))
    groups = columns // matrix.group
    narrow = Narrow(
        np.ones((tokens, width), np.float32),
        np.ones((tokens, width), np.int16),
        np.ones(tokens, np.float32),
        np.ones((tokens, groups), np.float32),
        np.ones((tokens, groups), np.int32),
    )
    _prepare(matrix, Vectors(data, narrow, 0, tokens), 0, tokens)
    return narrow


finite = st.floats(-1000, 1000, width=32)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(finite, min_size=1, max_size=40))
def test_integers_and_step_are_those_of_the_reference(values):
    ledger = Ledger()
    numbers, step = quantised(ledger, [ledger.number(value, ACTIVATION) for value in values])
    actual = prepared(np.array([values], np.float32), 8)
    assert actual.integers[0, : len(values)].tolist() == [number.value for number in numbers]
    assert actual.scales[0] == step.value
    assert not actual.integers[0, len(values) :].any()


def test_integers_are_within_half_a_step_and_reach_127():
    values = np.random.default_rng(0).standard_normal((5, 600)).astype(np.float32)
    actual = prepared(values, 8)
    restored = actual.integers[:, :600] * actual.scales[:, None].astype(np.float64)
    # Half a step, and the rounding of the reciprocal and of the step: 127 * 2**-23 steps.
    assert np.all(np.abs(restored - values) <= (0.5 + 127 * 2.0**-23) * actual.scales[:, None])
    assert np.all(np.abs(actual.integers).max(axis=1) == 127)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-31, 1e-45])
def test_a_vector_of_nothing_is_zero(value):
    actual = prepared(np.full((1, 20), value, np.float32), 8)
    assert not actual.integers.any()
    assert actual.scales[0] == 0


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 15, 16, 39])
def test_what_is_not_finite_shows_in_the_step(bad, place):
    values = np.ones((1, 40), np.float32)
    values[0, place] = bad
    assert not np.isfinite(prepared(values, 8).scales[0])


def test_halves_are_rounded_to_nearest_even():
    values = np.array([[1 + 2.0**-11, 1 + 3 * 2.0**-11, -70000, 2.0**-25, 3.14159]], np.float32)
    with np.errstate(over="ignore"):
        reference = values.astype(np.float16).astype(np.float32)
    assert np.array_equal(prepared(values, 16).halves[:, :5], reference)


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_sums_of_groups(bits):
    values = np.random.default_rng(1).standard_normal((3, 24)).astype(np.float32)
    actual = prepared(values, bits, group=8, has_offsets=True)
    entering = {8: actual.integers, 16: actual.halves, 32: values}[bits][:, :24].astype(np.float32)
    reference = np.zeros((3, 3), np.float32)
    for j in range(24):
        reference[:, j // 8] += entering[:, j]
    assert np.array_equal(actual.sums, reference)


def test_float32_inputs_without_offsets_are_left_alone():
    actual = prepared(np.ones((2, 8), np.float32), 32)
    assert all((buffer == 1).all() for buffer in actual)
    assert not must_prepare(place_matrix((1, 8), Scheme()))


def test_one_vector_has_its_own_memory():
    narrow = Narrow(*(np.arange(6).reshape(3, 2).astype(t) for t in ("f4", "i2")), np.arange(3.0), np.eye(3), np.eye(3))
    scale = _write_to_own_row(narrow, 1)
    assert narrow.integers.tolist() == [[0, 1], [9, 3], [4, 5]]
    assert scale == 1


@pytest.mark.parametrize("group", [None, 8])
@pytest.mark.parametrize("code", [INT8, INT4])
def test_nested_weights_and_inputs_have_the_sum_of_the_plain_ones(code, group):
    rng, bits, per_unit = np.random.default_rng(4), STORED_BITS[code], UNIT_COLUMNS[code]
    columns = 24 if group else 21  # the last unit is not full
    values = rng.standard_normal((2, columns)).astype(np.float32)
    plain = prepared(values, 8, group).integers.astype(int)
    nested = prepared(values, 8, group, code=code)
    weights = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), columns)
    width = group or columns
    for token in range(2):
        for number, first in enumerate(range(0, columns, width)):
            total = int(nested.starts[token, number])
            for unit in range(first, first + width, per_unit):
                for parity in (0, 1):
                    # Fields of a 16-bit half: the highest is signed, the others are stored with their bias.
                    places = range(unit + parity, unit + per_unit, 2)
                    fields = [int(weights[j]) if j < columns else 0 for j in places]
                    half = sum(
                        (field + (FIELD_BIAS[code] if i < len(fields) - 1 else 0)) << bits * i
                        for i, field in enumerate(fields)
                    )
                    total += sum((half >> bits * i) * int(nested.integers[token, j]) for i, j in enumerate(places))
            part = slice(first, first + width)
            assert total == int(weights[part] @ plain[token, part])
