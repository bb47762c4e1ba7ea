"""Products with packed weights: values, counts, equal bits for every tile, nothing written outside."""

import itertools

import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from packed import PackedMatrix, counts
from reference import ACTIVATION, Integers, Ledger
from reference import product as reference_product

from lm_meter.kernels import formats
from lm_meter.kernels.charge import Meter, new_tally
from lm_meter.kernels.inputs import prepare_cost
from lm_meter.kernels.jit import compiled
from lm_meter.kernels.matrix import Scheme, whole_load
from lm_meter.kernels.multiply import Loop, multiply_address, stored_tile
from lm_meter.kernels.product import READS_ON, Place, Span, product, product_cost
from lm_meter.kernels.tile import make_tile
from lm_meter.kernels.tile_shape import NO_ADDRESS, TILE_TOKENS, Tile, TileKind

FLOATS = [Scheme(code) for code in range(len(formats.NAMES)) if not formats.is_integer(code)]
HALVES = [scheme._replace(input_bits=16) for scheme in FLOATS]
INTEGERS = [
    Scheme(code, group, has_offsets, input_bits)
    for code in (formats.INT8, formats.INT4, formats.CODEBOOK4)
    for group in (None, 8)
    for has_offsets in (False, True)
    for input_bits in (8, 16, 32)
]
SCHEMES = [*FLOATS, *HALVES, *INTEGERS]


def name_of(scheme):
    offsets = "-offsets" if scheme.has_offsets else ""
    return f"{formats.NAMES[scheme.code]}-group{scheme.group}{offsets}-inputs{scheme.input_bits}"


def random_matrix(data, scheme, bias, seed=0):
    rows, columns = data.draw(st.integers(1, 75)), data.draw(st.integers(1, 40))
    columns = columns if scheme.group is None else scheme.group * -(-columns // scheme.group)
    return PackedMatrix(rows, columns, scheme, bias, seed)


def inputs(tokens, columns, seed=1):
    return np.random.default_rng(seed).standard_normal((tokens, columns)).astype(np.float32)


def reference_outputs(packed, x):
    """Outputs and counts by scalar arithmetic, bias included."""
    ledger, out, scheme = Ledger(), [], packed.scheme
    for vector in x:
        numbers = [ledger.number(value, ACTIVATION) for value in vector]
        bias_bits = formats.STORED_BITS[packed.matrix.bias_code]
        if formats.is_integer(scheme.code):
            bits = formats.OPERAND_BITS[scheme.code]
            offsets = None if packed.offsets is None else packed.offsets.tolist()
            matrix = Integers(packed.numbers.tolist(), bits, packed.scales.tolist(), offsets)
            values = matrix.product(ledger, numbers, scheme.input_bits)
            if packed.bias is not None:
                values = [v + ledger.number(b, bias_bits) for v, b in zip(values, packed.bias, strict=True)]
        else:
            if scheme.input_bits == 16:
                numbers = [number.rounded_to_half() for number in numbers]
            bits = formats.STORED_BITS[scheme.code]
            values = reference_product(ledger, packed.values.tolist(), bits, numbers, packed.bias, bias_bits)
        out.append([value.value for value in values])
    return np.array(out), dict(ledger.counts)


@pytest.mark.parametrize("scheme", SCHEMES, ids=name_of)
@settings(max_examples=8, derandomize=True, deadline=None)
@given(st.booleans(), st.integers(1, 2 * TILE_TOKENS + 1), st.data())
def test_metered_predicted_and_hand_executed_counts_and_values_agree(scheme, bias, tokens, data):
    packed = random_matrix(data, scheme, bias)
    rows, columns = packed.matrix.rows, packed.matrix.columns
    x = inputs(tokens, columns)
    reference, executed = reference_outputs(packed, x)

    metered, predicted = new_tally(1), new_tally(1)
    actual = packed.times(x, tokens, metered)[:, :rows]
    prepare_cost(Meter(predicted, 0), packed.matrix, tokens)
    product_cost(Meter(predicted, 0), packed.matrix, whole_load(packed.matrix), tokens)

    assert counts(metered) == executed
    assert np.array_equal(metered, predicted)
    # A float32 sum of K products is off by at most (K + 1) half units of the sum of magnitudes (Higham 2002, 3.1); the
    # scales, offsets and steps add five roundings for each group.
    roundings = columns + 2 + 5 * columns // packed.matrix.group
    magnitude = (np.abs(x.astype(np.float64)) + np.abs(x).max() / 127) @ np.abs(packed.values.T) + 4
    assert np.all(np.abs(actual - reference) <= roundings * 2.0**-24 * magnitude)


@pytest.mark.parametrize("code", [formats.INT8, formats.INT4, formats.CODEBOOK4])
@pytest.mark.parametrize("columns", [1, 7, 8, 63, 520])
def test_sums_of_integers_are_exact(code, columns):
    """With scales and a step of 1 the outputs are the integer sums themselves, which float32 holds up to 2**24."""
    packed = PackedMatrix(37, columns, Scheme(code, input_bits=8))
    scales_at = packed.matrix.scales_at
    one = np.frombuffer(np.float16(1).tobytes(), np.uint8)
    for block in range(packed.blocks):
        at = block * packed.matrix.block_bytes + scales_at
        packed.weights[at : at + 32] = np.tile(one, 16)
    x = np.random.default_rng(8).integers(-127, 128, (1, columns)).astype(np.float32)
    x[0, 0] = 127  # the largest magnitude: the step is 1
    reference = packed.numbers.astype(np.int64) @ x[0].astype(np.int64)
    assert np.array_equal(packed.times(x, 1)[0, :37], reference.astype(np.float32))


@pytest.mark.parametrize("scheme", SCHEMES, ids=name_of)
@settings(max_examples=6, derandomize=True, deadline=None)
@given(st.integers(2, 3 * TILE_TOKENS), st.data())
def test_tokens_together_have_the_bits_of_each_alone(scheme, tokens, data):
    packed = random_matrix(data, scheme, bias=True)
    x = inputs(tokens, packed.matrix.columns, seed=2)
    alone = np.concatenate([packed.times(x[t : t + 1], 1) for t in range(tokens)])
    together = packed.times(x, tokens)
    assert np.array_equal(together.view(np.uint32), alone.view(np.uint32))


@pytest.mark.parametrize("scheme", [Scheme(formats.FLOAT16), Scheme(formats.INT4, 8, True, 8)], ids=name_of)
@pytest.mark.parametrize("tokens", [1, TILE_TOKENS])
def test_any_split_of_the_row_blocks_has_the_same_bits(tokens, scheme):
    packed = PackedMatrix(1000, 32, scheme, bias=True)
    x = inputs(tokens, 32, seed=3)
    whole = packed.times(x, tokens)
    cuts = [0, 1, 9, 12, 27, 58, packed.blocks]
    parts = [packed.times(x, tokens, first=a, last=b) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(whole, np.concatenate(parts, axis=1))


# The shapes that CPUs with AVX-512 and those without use, and one that neither does: any can be compiled anywhere.
@pytest.mark.parametrize(("blocks", "tokens"), [(8, 1), (4, 1), (3, 8), (1, 8), (1, 4), (2, 3)])
@pytest.mark.parametrize("code", range(len(formats.NAMES)), ids=lambda code: formats.NAMES[code])
def test_tiles_of_another_cpus_shape_have_the_same_bits(blocks, tokens, code):
    packed = PackedMatrix(16 * blocks, 37, Scheme(code))
    x = inputs(tokens, 37, seed=6)
    reference = np.concatenate([packed.times(x[t : t + 1], 1) for t in range(tokens)])

    tile = make_tile(TileKind(blocks, tokens, code, False))

    @compiled
    def call(w):
        return tile(stored_tile(w), tokens)

    vectors, out = packed.vectors(x, tokens), Guarded((tokens, 16 * blocks))
    work = Tile(
        weights=packed.weights.ctypes.data,
        block_bytes=packed.matrix.block_bytes,
        inputs=vectors.data.ctypes.data,
        input_bytes=vectors.data.strides[0],
        out=out.array.ctypes.data,
        out_bytes=out.array.strides[0],
        groups=1,
        columns=37,
        scales=packed.matrix.scales_at,
        sums=NO_ADDRESS,
        sum_bytes=0,
        input_scales=NO_ADDRESS,
        book=packed.weights.ctypes.data + packed.matrix.book_offset,
        ahead=0,
        end=0,
        jump=0,
        pace=0,
        accumulator=32,
        starts=NO_ADDRESS,
        start_bytes=0,
    )
    assert call(np.array(work, np.int64)) == 0
    out.check()
    assert np.array_equal(out.array.view(np.uint32), reference.view(np.uint32))


def test_summation_runs_through_the_columns_in_order_with_one_rounding_each():
    # float32 values chosen so that every other order, and every unfused product, gives another result.
    packed = PackedMatrix(16, 257, Scheme(formats.FLOAT32), seed=9)
    x = inputs(1, 257, seed=4)
    reference = np.zeros(16, np.float32)
    for j in range(257):
        # The exact sum fits 53 bits here but for rare double roundings, which this seed does not meet.
        wide = packed.values[:, j] * np.float64(x[0, j]) + reference.astype(np.float64)
        reference = wide.astype(np.float32)
    assert np.array_equal(packed.times(x, 1)[0], reference)


def test_without_a_meter_the_values_are_the_same():
    packed = PackedMatrix(50, 20, Scheme(formats.FLOAT32), bias=True)
    x = inputs(1, 20, seed=5)
    out = np.zeros((1, 64), np.float32)

    @compiled
    def call(weights, matrix, x, out, meter):
        product(weights, matrix, Span(0, 4, 50, READS_ON), x, Place(out, 0, 0), meter)

    call(packed.weights, packed.matrix, packed.vectors(x, 1), out, Meter(None, 0))
    assert np.array_equal(out, packed.times(x, 1))


def test_a_loop_has_one_address():
    assert multiply_address(Loop(formats.INT8, True)) == multiply_address(Loop(formats.INT8, True)) != 0
