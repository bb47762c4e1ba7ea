"""Packing: every weight at its place, padding zero, nothing written outside, bad weights named."""

import numpy as np
import pytest
from formats import CODES, stored
from guarded import Guarded
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_meter.kernels.packing import ALL_FINITE, Split, exponent_mask, pack_blocks, packed_blocks


def _pack(bits, code, split, target):
    return pack_blocks(bits, target, split, exponent_mask(code), (0, len(target)))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.integers(1, 70), st.integers(1, 9), st.sampled_from([1, 4]), st.booleans(), st.sampled_from(sorted(CODES)))
def test_each_weight_is_at_its_block_column_and_lane(part, columns, groups, interleaved, name):
    rows, blocks = part * groups, -(-part // 16)
    bits, _ = stored(np.random.default_rng(part).standard_normal((rows, columns)), name)
    target = Guarded((packed_blocks(rows, groups), columns, 16), bits.dtype)
    target.array[...] = 1

    assert _pack(bits, CODES[name], Split(groups, interleaved), target.array) == ALL_FINITE

    reference = np.zeros_like(target.array)
    for group in range(groups):
        for unit in range(part):
            block = (unit // 16) * groups + group if interleaved else group * blocks + unit // 16
            reference[block, :, unit % 16] = bits[group * part + unit]
    assert np.array_equal(target.array, reference)
    target.check()


@pytest.mark.parametrize("name", sorted(CODES))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_first_row_that_is_not_finite_is_returned(name, bad):
    values = np.ones((40, 3), np.float32)
    values[21, 2] = bad
    values[35, 0] = bad
    bits = {"float32": values.view(np.uint32), "float16": values.astype(np.float16).view(np.uint16)}.get(
        name, (values.view(np.uint32) >> 16).astype(np.uint16)
    )
    target = np.zeros((packed_blocks(40), 3, 16), bits.dtype)
    assert _pack(bits, CODES[name], Split(), target) == 21


def test_blocks_can_be_packed_in_shares():
    bits, _ = stored(np.random.default_rng(0).standard_normal((100, 5)), "float32")
    whole = np.zeros((packed_blocks(100), 5, 16), np.uint32)
    parts = np.zeros_like(whole)
    _pack(bits, 0, Split(), whole)
    for first, last in ((0, 3), (3, 4), (4, 7)):
        pack_blocks(bits, parts, Split(), exponent_mask(0), (first, last))
    assert np.array_equal(whole, parts)
