"""Products with packed weights: values, counts, equal bits for every tile, nothing written outside."""

import itertools

import numpy as np
import pytest
from formats import CODES, WIDTHS, stored
from guarded import Guarded, aligned_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ACTIVATION, Ledger
from reference import product as reference_product

from lm_meter.kernels.charge import KINDS, Meter, new_tally
from lm_meter.kernels.jit import kernel
from lm_meter.kernels.packing import exponent_mask, pack_blocks, packed_blocks
from lm_meter.kernels.product import NO_BIAS, Matrix, Place, Span, Vectors, product, product_cost
from lm_meter.kernels.tile import TILE_TOKENS, make_tile


@kernel
def _product(weights, matrix, span, x, out, meter):
    product(weights, matrix, span, x, out, meter)


class Packed:
    """A random matrix, packed, with the float values it stands for."""

    def __init__(self, rows, columns, name, bias, seed=0):
        rng = np.random.default_rng(seed)
        bits, self.values = stored(rng.standard_normal((rows, columns)), name)
        bias_bits, self.bias = stored(rng.standard_normal(rows), name)
        blocks = packed_blocks(rows)
        size = blocks * columns * 16 * bits.itemsize
        start = -(-size // 64) * 64
        self.weights = aligned_bytes(start + blocks * 16 * bits.itemsize)
        target = self.weights[:size].view(bits.dtype).reshape(blocks, columns, 16)
        pack_blocks(bits, target, 1, exponent_mask(CODES[name]), (0, blocks))
        self.weights[start:].view(bits.dtype)[:rows] = bias_bits
        self.matrix = Matrix(0, CODES[name], rows, columns, start if bias else NO_BIAS, CODES[name])
        self.blocks = blocks
        if not bias:
            self.bias = None

    def times(self, x, tokens, tally=None, first=0, last=None):
        """Rows of some blocks, as a guarded output of whole tiles."""
        last = self.blocks if last is None else last
        rows = tokens if tokens == 1 else -(-tokens // TILE_TOKENS) * TILE_TOKENS
        padded = np.zeros((rows, x.shape[1]), np.float32)
        padded[:tokens] = x
        out = Guarded((rows, 16 * (last - first)))
        real = min(16 * last, self.matrix.rows) - 16 * first
        meter = Meter(new_tally(1) if tally is None else tally, 0)
        _product(
            self.weights,
            self.matrix,
            Span(first, last, real),
            Vectors(padded, 0, tokens),
            Place(out.array, 0, 0),
            meter,
        )
        out.check()
        return out.array[:tokens]


def _counts(tally):
    return {(None, KINDS[k], int(a), int(b)): int(tally[0, k, a, b]) for _, k, a, b in np.argwhere(tally)}


shapes = st.tuples(st.integers(1, 75), st.integers(1, 40))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(shapes, st.sampled_from(sorted(CODES)), st.booleans(), st.integers(1, 2 * TILE_TOKENS + 1))
def test_metered_predicted_and_hand_executed_counts_and_values_agree(shape, name, bias, tokens):
    rows, columns = shape
    packed = Packed(rows, columns, name, bias)
    x = np.random.default_rng(1).standard_normal((tokens, columns)).astype(np.float32)

    ledger = Ledger()
    reference = []
    for vector in x:
        numbers = [ledger.number(value, ACTIVATION) for value in vector]
        out = reference_product(ledger, packed.values, WIDTHS[name], numbers, packed.bias, WIDTHS[name])
        reference.append([number.value for number in out])

    metered, predicted = new_tally(1), new_tally(1)
    actual = packed.times(x, tokens, metered)[:, :rows]
    product_cost(Meter(predicted, 0), packed.matrix, rows, tokens)

    assert _counts(metered) == dict(ledger.counts)
    assert np.array_equal(metered, predicted)
    # A float32 sum of K products is off by at most (K + 1) half units of the sum of magnitudes (Higham 2002, 3.1).
    magnitude = np.abs(x.astype(np.float64)) @ np.abs(packed.values.T.astype(np.float64)) + 4
    assert np.all(np.abs(actual - np.array(reference)) <= (columns + 2) * 2.0**-24 * magnitude)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(shapes, st.sampled_from(sorted(CODES)), st.integers(2, 3 * TILE_TOKENS))
def test_tokens_together_have_the_bits_of_each_alone(shape, name, tokens):
    packed = Packed(*shape, name, bias=True)
    x = np.random.default_rng(2).standard_normal((tokens, shape[1])).astype(np.float32)
    alone = np.concatenate([packed.times(x[t : t + 1], 1) for t in range(tokens)])
    together = packed.times(x, tokens)
    assert np.array_equal(together.view(np.uint32), alone.view(np.uint32))


@pytest.mark.parametrize("tokens", [1, TILE_TOKENS])
def test_any_split_of_the_row_blocks_has_the_same_bits(tokens):
    packed = Packed(1000, 33, "float16", bias=True)
    x = np.random.default_rng(3).standard_normal((tokens, 33)).astype(np.float32)
    whole = packed.times(x, tokens)
    cuts = [0, 1, 9, 12, 27, 58, packed.blocks]
    parts = [packed.times(x, tokens, first=a, last=b) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(whole, np.concatenate(parts, axis=1))


# The shapes that CPUs with AVX-512 and those without use, and one that neither does: any can be compiled anywhere.
@pytest.mark.parametrize(("blocks", "tokens"), [(8, 1), (4, 1), (3, 8), (1, 8), (1, 4), (2, 3)])
@pytest.mark.parametrize("name", sorted(CODES))
def test_tiles_of_another_cpus_shape_have_the_same_bits(blocks, tokens, name):
    packed = Packed(16 * blocks, 37, name, bias=False)
    x = np.random.default_rng(6).standard_normal((tokens, 37)).astype(np.float32)
    reference = np.concatenate([packed.times(x[t : t + 1], 1) for t in range(tokens)])

    tile = make_tile(blocks, tokens, CODES[name])

    @kernel
    def call(weights, x, out, columns):
        tile(weights, 0, x, 0, out, (0, 0), columns)

    out = Guarded((tokens, 16 * blocks))
    call(packed.weights, x, out.array, 37)
    out.check()
    assert np.array_equal(out.array.view(np.uint32), reference.view(np.uint32))


def test_summation_runs_through_the_columns_in_order_with_one_rounding_each():
    # float32 values chosen so that every other order, and every unfused product, gives another result.
    packed = Packed(16, 257, "float32", bias=False, seed=9)
    x = np.random.default_rng(4).standard_normal((1, 257)).astype(np.float32)
    reference = np.zeros(16, np.float32)
    for j in range(257):
        # The exact sum fits 53 bits here but for rare double roundings, which this seed does not meet.
        wide = packed.values[:, j].astype(np.float64) * np.float64(x[0, j]) + reference.astype(np.float64)
        reference = wide.astype(np.float32)
    assert np.array_equal(packed.times(x, 1)[0], reference)


def test_without_a_meter_the_values_are_the_same():
    packed = Packed(50, 20, "float32", bias=True)
    x = np.random.default_rng(5).standard_normal((1, 20)).astype(np.float32)
    out = np.zeros((1, 64), np.float32)
    _product(packed.weights, packed.matrix, Span(0, 4, 50), Vectors(x, 0, 1), Place(out, 0, 0), Meter(None, 0))
    assert np.array_equal(out, packed.times(x, 1))
