"""Pruned matrices: only what is kept is multiplied and counted, and every way to run them has the same bits."""

import numpy as np
import pytest
from packed import counts
from pruned import PrunedMatrix
from reference import ACTIVATION, Integers, Ledger
from reference import lookup as reference_lookup
from reference import product as reference_product

from lm_meter.kernels import expand, formats
from lm_meter.kernels.charge import Meter, new_tally
from lm_meter.kernels.inputs import prepare_cost
from lm_meter.kernels.isa import has_feature
from lm_meter.kernels.jit import compiled
from lm_meter.kernels.lookup import Table, lookup
from lm_meter.kernels.matrix import Scheme, whole_load
from lm_meter.kernels.multiply import _make_sparse_multiply, loop_of
from lm_meter.kernels.product import product_cost
from lm_meter.kernels.tile_shape import TILE_TOKENS

BLOCKS = {(1, 1): (37, 45), (4, 4): (36, 44), (1, 16): (35, 64), (2, 32): (20, 96), (3, 8): (18, 40), (1, 2): (5, 6)}
SCHEMES = {
    "float32": Scheme(formats.FLOAT32),
    "float16": Scheme(formats.FLOAT16, input_bits=16),
    "bfloat16": Scheme(formats.BFLOAT16),
    "int8": Scheme(formats.INT8),
    "int8, 8-bit inputs": Scheme(formats.INT8, input_bits=8),
    "int4": Scheme(formats.INT4),
    "int4, 8-bit inputs": Scheme(formats.INT4, input_bits=8),
    "codebook4": Scheme(formats.CODEBOOK4, input_bits=16),
    "codebook4, 8-bit inputs": Scheme(formats.CODEBOOK4, input_bits=8),
}


@compiled
def _look_up(weights, table, row, cut, out, meter):
    lookup(weights, table, row, (0, cut), out, meter)
    lookup(weights, table, row, (cut, table.matrix.columns), out, meter)


@pytest.fixture(params=SCHEMES)
def scheme(request):
    return SCHEMES[request.param]


@pytest.fixture(params=BLOCKS, ids=lambda block: f"{block[0]}x{block[1]}")
def block(request):
    return request.param


def _vectors(tokens, columns, seed=1):
    return np.random.default_rng(seed).standard_normal((tokens, columns)).astype(np.float32)


def _reference(pruned, x):
    ledger, out, scheme = Ledger(), [], pruned.scheme
    for vector in x:
        numbers = [ledger.number(value, ACTIVATION) for value in vector]
        if formats.is_integer(scheme.code):
            matrix = Integers(pruned.rows, formats.OPERAND_BITS[scheme.code], pruned.scales.tolist())
            values = matrix.product(ledger, numbers, scheme.input_bits)
        else:
            if scheme.input_bits == 16:
                numbers = [number.rounded_to_half() for number in numbers]
            values = reference_product(ledger, pruned.rows, formats.STORED_BITS[scheme.code], numbers)
        out.append([value.value for value in values])
    return np.array(out), dict(ledger.counts)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
def test_metered_predicted_and_hand_executed_counts_and_values_agree(scheme, block, density):
    pruned = PrunedMatrix(BLOCKS[block], block, scheme, density)
    tokens = 3
    x = _vectors(tokens, pruned.matrix.columns)
    reference, executed = _reference(pruned, x)

    metered, predicted = new_tally(1), new_tally(1)
    actual = pruned.times(x, tokens, metered)[:, : pruned.matrix.rows]
    prepare_cost(Meter(predicted, 0), pruned.matrix, tokens)
    product_cost(Meter(predicted, 0), pruned.matrix, whole_load(pruned.matrix), tokens)

    assert counts(metered) == {key: n for key, n in executed.items() if n}
    assert np.array_equal(metered, predicted)
    # As for dense matrices: K + 1 half units of the sum of magnitudes, and some roundings of scales and steps.
    magnitude = (np.abs(x.astype(np.float64)) + np.abs(x).max() / 127) @ np.abs(pruned.values.T)
    assert np.all(np.abs(actual - reference) <= (pruned.matrix.columns + 7) * 2.0**-24 * (magnitude + 1e-3))


def test_tokens_together_have_the_bits_of_each_alone(scheme, block):
    pruned = PrunedMatrix(BLOCKS[block], block, scheme)
    tokens = 2 * TILE_TOKENS + 1
    x = _vectors(tokens, pruned.matrix.columns)
    alone = np.concatenate([pruned.times(x[t : t + 1], 1) for t in range(tokens)])
    assert np.array_equal(pruned.times(x, tokens).view(np.uint32), alone.view(np.uint32))


def test_a_part_of_the_row_blocks_is_charged_what_it_keeps():
    pruned = PrunedMatrix((64, 32), (1, 1), Scheme(formats.FLOAT16), density=0.3)
    x = _vectors(1, 32)
    parts, tallies = [], new_tally(1)
    for first, last in ((0, 1), (1, 3), (3, 4)):
        tally = new_tally(1)
        parts.append(pruned.times(x, 1, tally, first, last))
        rows = pruned.kept[16 * first : 16 * last]
        adds = rows.sum() - rows.any(axis=1).sum()
        assert counts(tally) == {(None, "multiply", 16, 32): rows.sum(), (None, "add", 32, 32): adds}
        tallies += tally
    whole = new_tally(1)
    assert np.array_equal(pruned.times(x, 1, whole), np.concatenate(parts, axis=1))
    assert np.array_equal(whole, tallies)


def test_lanes_are_put_together_in_the_stated_tree():
    pruned = PrunedMatrix((16, 48), (1, 1), Scheme(formats.FLOAT32), density=0.6)
    x = _vectors(1, 48)
    lanes = np.zeros((16, 16), np.float32)
    for j in range(48):  # the exact product and sum fit 53 bits but for rare double roundings, which this seed avoids
        wide = pruned.values[:, j] * np.float64(x[0, j]) + lanes[:, j % 16].astype(np.float64)
        lanes[:, j % 16] = wide.astype(np.float32)
    for half in (8, 4, 2, 1):
        lanes = lanes[:, :half] + lanes[:, half:]
    assert np.array_equal(pruned.times(x, 1)[0], lanes[:, 0])


def test_a_row_of_the_embedding_is_filled_up_with_zeros(scheme, block):
    pruned = PrunedMatrix(BLOCKS[block], block, scheme)
    rows, columns = BLOCKS[block]
    table = Table(pruned.matrix, 1)

    for row in (0, rows - 1):
        tally, out = new_tally(1), np.full(columns, np.nan, np.float32)
        _look_up(pruned.weights, table, row, 5, out, Meter(tally, 0))
        ledger = Ledger()
        if formats.is_integer(scheme.code):
            bits = formats.OPERAND_BITS[scheme.code]
            numbers = Integers(pruned.rows, bits, pruned.scales.tolist()).row(ledger, row)
        else:
            numbers = reference_lookup(ledger, pruned.rows[row], formats.STORED_BITS[scheme.code])
        assert out.tolist() == [np.float32(number.value) for number in numbers]
        assert counts(tally) == dict(ledger.counts)


def test_rows_of_a_block_take_turns():
    """The first segment of each row, then the second ones: what a segment adds to was not just made."""
    pruned = PrunedMatrix((16, 96), (1, 16), Scheme(formats.FLOAT16), density=0.4)
    kept = [[s for s in range(6) if pruned.kept[row, 16 * s]] for row in range(16)]
    turns = [(row, segments[turn]) for turn in range(6) for row, segments in enumerate(kept) if len(segments) > turn]
    data, _, _, segments = pruned.weights[:32].view(np.int64)
    places = pruned.weights[data : data + 2 * segments].view(np.uint16)
    assert [(int(place) >> 12, int(place) & 4095) for place in places] == turns


FEATURES = {
    "no byte shuffles": lambda name: False,
    "AVX2": lambda name: name == "avx2",
    "AVX-512": lambda name: name in ("avx2", "avx512f"),
}


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("code", range(len(formats.NAMES)), ids=lambda code: formats.NAMES[code])
def test_every_way_to_expand_has_the_same_bits(code, features, monkeypatch):
    if features != "no byte shuffles" and not has_feature("avx2" if features == "AVX2" else "avx512f"):
        pytest.skip(f"this processor has no {features}")
    pruned = PrunedMatrix((32, 40), (1, 1), Scheme(code))
    x = _vectors(1, 40)
    reference = pruned.times(x, 1)
    monkeypatch.setattr(expand, "has_feature", FEATURES[features])
    pruned.use(_make_sparse_multiply(loop_of(pruned.matrix)))
    assert np.array_equal(pruned.times(x, 1), reference)
