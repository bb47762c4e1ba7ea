"""Sparse patterns: the positions that the kernels list and count are those of the patterns' own words."""

import numpy as np
import pytest
from reference_positions import pattern_sees
from test_transformer import _opened, _run, _tokens

from lm_meter.context import Context
from lm_meter.histogram import rows_of
from lm_meter.kernels.attention_pattern import list_places, seen_positions
from lm_meter.kernels.jit import compiled
from lm_meter.kernels.seen_sums import seen_together
from lm_meter.models.attention_pattern import DENSE, parse_patterns
from lm_meter.models.fields import Fields

PATTERNS = [
    {"kind": "strided", "local": 0, "stride": 1},
    {"kind": "strided", "local": 0, "stride": 5},
    {"kind": "strided", "local": 7, "stride": 3},
    {"kind": "fixed", "stride": 1, "summary": 1},
    {"kind": "fixed", "stride": 6, "summary": 1},
    {"kind": "fixed", "stride": 5, "summary": 5},
    {"kind": "fixed", "stride": 17, "summary": 4},
    {"kind": "local_global", "local": 0, "global": 1},
    {"kind": "local_global", "local": 4, "global": 19},
    {"kind": "local_global", "local": 90, "global": 3},
]


@compiled
def _listed(pattern, position, window, moved, places):
    return list_places(pattern, position, window, moved, places), seen_positions(pattern, position, window)


def _parsed(pattern):
    [parsed] = parse_patterns(Fields({"pattern": pattern}, "attention.", "m.npz"), 1)
    return parsed


@pytest.mark.parametrize("window", [0, 3, 16, 100])
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_listed_and_counted_positions_are_those_that_the_pattern_sees(pattern, window):
    pinned = -(-pattern.get("global", 0) // 16) * 16
    for position in range(80):
        reference = [j for j in range(position + 1) if pattern_sees(pattern, position, j, window)]
        for shift in (0, 32) if position - window >= pinned + 32 else (0,):
            places = np.full(96, -1)
            actual, counted = _listed(_parsed(pattern).fields, position, window, (pinned, shift), places)
            assert actual == counted == len(reference)
            assert places[:actual].tolist() == [j if j < pinned else j - shift for j in reference]
            assert (places[actual:] == -1).all()


@compiled
def _together(pattern, first, count, window):
    return seen_together(pattern, first, count, window)


@pytest.mark.parametrize("window", [0, 1, 3, 5, 16, 100])
@pytest.mark.parametrize("pattern", [None, *PATTERNS], ids=str)
def test_positions_that_queries_see_together_are_the_sum(pattern, window):
    seen = [sum(pattern_sees(pattern, q, j, window) for j in range(q + 1)) for q in range(130)]
    fields = (_parsed(pattern) if pattern else DENSE).fields
    for first in (0, 1, 4, 17, 60):
        for count in range(1, 70):
            assert _together(fields, first, count, window) == sum(seen[first : first + count]), (first, count)


def test_a_list_has_a_pattern_for_each_layer():
    entries = [{"kind": "strided", "local": 3, "stride": 4}, None]
    first, second = parse_patterns(Fields({"pattern": entries}, "attention.", "m.npz"), 2)
    assert (first.kind, first.local, first.stride) == ("strided", 3, 4)
    assert second == DENSE
    assert parse_patterns(Fields({"pattern": None}, "attention.", "m.npz"), 2) == (DENSE, DENSE)
    assert parse_patterns(Fields({"pattern": entries[0]}, "attention.", "m.npz"), 2) == (first, first)


def test_a_full_context_has_its_global_positions_besides(tmp_path):
    """Where all of the window is seen: two positions more, once the cache has moved on."""
    pattern = {"kind": "local_global", "local": 9, "global": 2}
    opened, _ = _opened("llama", tmp_path, attention={"pattern": pattern})
    tokens, context = _tokens(40), Context("cache", 4)
    _, _, runtime = _run(opened, context, tokens[:-2], tokens[1:-1])
    tallies = runtime.new_tallies()
    runtime.run(tokens[-2:-1], tokens[-1:], 1, tallies)
    regions, law = opened.architecture.step_tally(opened, context)
    assert np.array_equal(tallies.sum(axis=0), law)
    multiplies = [r.count for r in rows_of(law, regions) if (r.region, r.kind) == ("layers.0.attention", "multiply")]
    # Of 4 heads of 6 numbers, which are turned with those of 2 keys, and scaled: 6 positions' scores and mixtures.
    assert multiplies == [4 * 3 * (4 + 2) + 24 + 2 * 6 * 24]
