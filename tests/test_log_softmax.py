"""Log-probabilities by segments: values and counts of the reference, extreme logits, nothing written outside."""

import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ACTIVATION, Ledger
from reference import log_softmax as reference_log_softmax

from lm_meter.kernels.charge import KINDS, Meter, new_tally
from lm_meter.kernels.jit import kernel
from lm_meter.kernels.log_softmax import (
    SEGMENT_ROWS,
    combine_segments,
    log_softmax_cost,
    reduce_segment,
    segments_of,
)


@kernel
def _reduce(logits, row, rows, lanes, meter):
    return reduce_segment(logits, row, rows, lanes, meter)


@kernel
def _combine(highest, sums, segments, meter):
    return combine_segments(highest, sums, segments, meter)


def log_softmax(logits, target, tally):
    """The kernels over one vector of logits, as the readout calls them."""
    meter = Meter(tally, 0)
    segments = segments_of(logits.size)
    padded = -(-segments // 16) * 16
    highest, sums = Guarded((padded,)), Guarded((padded,))
    scratch, lanes = Guarded((1, SEGMENT_ROWS)), Guarded((16,))
    for segment in range(segments):
        part = logits[segment * SEGMENT_ROWS : (segment + 1) * SEGMENT_ROWS]
        scratch.array[0, : part.size] = part
        highest.array[segment], sums.array[segment] = _reduce(scratch.array, 0, part.size, lanes.array, meter)
    top, log_total = _combine(highest.array, sums.array, segments, meter)
    for guarded in (highest, sums, scratch, lanes):
        guarded.check()
    return (np.float64(logits[target]) - top) - log_total


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.one_of(st.integers(1, 60), st.integers(350, 900)), st.data())
def test_values_and_counts_are_those_of_the_reference(vocabulary, data):
    logits = np.random.default_rng(vocabulary).standard_normal(vocabulary).astype(np.float32) * 5
    target = data.draw(st.integers(0, vocabulary - 1))

    ledger = Ledger()
    reference = reference_log_softmax([ledger.number(value, ACTIVATION) for value in logits], target).value

    tally, law = new_tally(1), new_tally(1)
    actual = log_softmax(logits, target, tally)
    log_softmax_cost(Meter(law, 0), vocabulary, 1)

    # float32 exponentials (1 unit each) in sums of at most 24 + 15 terms: 40 half units of 2**-24, relative to the sum.
    assert actual == pytest.approx(reference, abs=40 * 2.0**-24)
    metered = {(None, KINDS[k], int(a), int(b)): int(tally[0, k, a, b]) for _, k, a, b in np.argwhere(tally)}
    assert metered == dict(ledger.counts)
    assert np.array_equal(tally, law)


@pytest.mark.parametrize("offset", [-3e38, -1e4, 1e4, 3e38])
def test_a_common_offset_of_any_size_does_not_overflow(offset):
    logits = np.full(1000, offset, np.float32)
    assert log_softmax(logits, 3, new_tally(1)) == pytest.approx(-np.log(1000), abs=1e-6)


def test_a_certain_token_has_log_probability_zero_and_an_impossible_one_its_distance():
    logits = np.full(700, -200, np.float32)
    logits[600] = 100
    assert log_softmax(logits, 600, new_tally(1)) == 0
    assert log_softmax(logits, 5, new_tally(1)) == -300


def test_nan_and_overflow_reach_the_result():
    logits = np.zeros(500, np.float32)
    logits[450] = np.nan
    assert not np.isfinite(log_softmax(logits, 0, new_tally(1)))
    logits[450] = np.inf
    assert not np.isfinite(log_softmax(logits, 0, new_tally(1)))
