"""Log-probabilities by segments: values and counts of the reference, extreme logits, nothing written outside."""

import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ACTIVATION, Ledger, log_normaliser
from reference import log_softmax as reference_log_softmax

from lm_meter.kernels.charge import KINDS, Meter, new_tally
from lm_meter.kernels.jit import compiled
from lm_meter.kernels.log_softmax import (
    SEGMENT_ROWS,
    Logits,
    Partials,
    combine_segments,
    difference_cost,
    log_softmax_cost,
    reduce_segment,
    segments_of,
)
from lm_meter.kernels.target_rank import Larger


@compiled
def _reduce(logits, segment, lanes, partials, larger, meter):
    reduce_segment(logits, segment, lanes, partials, larger, meter)


@compiled
def _combine(partials, token, segments, meter):
    top, log_total = combine_segments(partials, token, segments, meter)
    difference_cost(meter, 1)  # the difference is this test's own
    return top, log_total


def log_softmax(logits, target, tally):
    """The kernels over the logits of several tokens, (tokens, V), as the readout calls them."""
    meter = Meter(tally, 0)
    tokens, vocabulary = logits.shape
    segments = segments_of(vocabulary)
    padded = -(-segments // 16) * 16
    highest, sums = Guarded((tokens, padded)), Guarded((tokens, padded))
    scratch, lanes = Guarded((tokens, SEGMENT_ROWS)), Guarded((16,))
    partials, counts = Partials(highest.array, sums.array), Guarded((tokens, 16))
    counts.array[...] = 0
    larger = Larger(logits[:, target].copy(), counts.array, True)
    for segment in range(segments):
        part = logits[:, segment * SEGMENT_ROWS : (segment + 1) * SEGMENT_ROWS]
        scratch.array[:, : part.shape[1]] = part
        _reduce(Logits(scratch.array, 0, tokens, part.shape[1]), segment, lanes.array, partials, larger, meter)
    normalisers = [_combine(partials, t, segments, meter) for t in range(tokens)]
    for guarded in (highest, sums, scratch, lanes, counts):
        guarded.check()
    assert np.array_equal(counts.array.sum(axis=1), (logits > logits[:, [target]]).sum(axis=1))
    return [
        (np.float64(row[target]) - top) - log_total for row, (top, log_total) in zip(logits, normalisers, strict=True)
    ]


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.one_of(st.integers(1, 60), st.integers(350, 900)), st.data())
def test_values_and_counts_are_those_of_the_reference(vocabulary, data):
    tokens = data.draw(st.integers(1, 5))
    logits = np.random.default_rng(vocabulary).standard_normal((tokens, vocabulary)).astype(np.float32) * 5
    target = data.draw(st.integers(0, vocabulary - 1))

    ledger = Ledger()
    counted = [[ledger.number(value, ACTIVATION) for value in row] for row in logits]
    reference = [reference_log_softmax(row[target], log_normaliser([row])).value for row in counted]

    tally, law = new_tally(1), new_tally(1)
    actual = log_softmax(logits, target, tally)
    log_softmax_cost(Meter(law, 0), vocabulary, tokens)

    # float32 exponentials (1 unit each) in sums of at most 24 + 15 terms: 40 half units of 2**-24, relative to the sum.
    assert actual == pytest.approx(reference, abs=40 * 2.0**-24)
    metered = {(None, KINDS[k], int(a), int(b)): int(tally[0, k, a, b]) for _, k, a, b in np.argwhere(tally)}
    assert metered == dict(ledger.counts)
    assert np.array_equal(tally, law)


@pytest.mark.parametrize("offset", [-3e38, -1e4, 1e4, 3e38])
def test_a_common_offset_of_any_size_does_not_overflow(offset):
    logits = np.full((1, 1000), offset, np.float32)
    assert log_softmax(logits, 3, new_tally(1))[0] == pytest.approx(-np.log(1000), abs=1e-6)


def test_a_certain_token_has_log_probability_zero_and_an_impossible_one_its_distance():
    logits = np.full((1, 700), -200, np.float32)
    logits[0, 600] = 100
    assert log_softmax(logits, 600, new_tally(1)) == [0]
    assert log_softmax(logits, 5, new_tally(1)) == [-300]


def test_nan_and_overflow_reach_the_result():
    logits = np.zeros((3, 500), np.float32)
    logits[0, 450], logits[1, 450] = np.nan, np.inf
    assert np.isfinite(log_softmax(logits, 0, new_tally(1))).tolist() == [False, False, True]
