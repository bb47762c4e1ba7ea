"""Grouped matrices: each section meets its own inputs, whatever the format, with the counts of what is multiplied."""

import numpy as np
import pytest
from formats import WIDTHS
from guarded import Guarded
from packed import PackedMatrix, counts
from pruned import PrunedMatrix
from reference import ACTIVATION, Integers, Ledger
from reference import product as reference_product

from lm_meter.kernels import formats
from lm_meter.kernels.charge import Meter, new_tally
from lm_meter.kernels.inputs import Narrow, Vectors, prepare, prepare_cost
from lm_meter.kernels.jit import compiled
from lm_meter.kernels.matrix import Scheme, whole_load
from lm_meter.kernels.product import READS_ON, Place, Span, product, product_cost
from lm_meter.kernels.sections import run_from, section_blocks
from lm_meter.kernels.tile_shape import TILE_TOKENS

SCHEMES = [
    *(Scheme(code, input_bits=bits) for code in range(3) for bits in (16, 32)),
    *(
        Scheme(code, has_offsets=has_offsets, input_bits=bits)
        for code in (formats.INT8, formats.INT4, formats.CODEBOOK4)
        for has_offsets in (False, True)
        for bits in (8, 16, 32)
    ),
]
# Rows, columns of a section, sections.
SHAPES = [(50, 7, 2), (96, 24, 3), (4, 2, 4), (40, 32, 1), (99, 17, 3)]


def _name(scheme):
    return f"{formats.NAMES[scheme.code]}{'-offsets' if scheme.has_offsets else ''}-inputs{scheme.input_bits}"


@compiled
def _by_sections(weights, matrix, x, ragged, out, meter):
    """The whole product, as a step makes it: ``out`` has no place for padding rows."""
    prepare(matrix, x, 0, x.tokens)
    prepare_cost(meter, matrix, x.tokens)
    block, last = 0, matrix.sections * section_blocks(matrix)
    while block < last:
        run = run_from(matrix, block, last)
        place = Place(out, 0, run.column) if run.is_whole else Place(ragged, 0, 0)
        product(weights, matrix, Span(run.first, run.last, run.rows, READS_ON), x, place, meter)
        if not run.is_whole:
            for t in range(x.tokens):
                for n in range(run.rows):
                    out[t, run.column + n] = ragged[t, n]
        block = run.last


@compiled
def _law(matrix, tokens, meter):
    prepare_cost(meter, matrix, tokens)
    product_cost(meter, matrix, whole_load(matrix), tokens)


def _vectors(matrix, x):
    """Inputs as a model holds them: zeros behind the last number, and no more room than whole lanes."""
    tokens, width = len(x), -(-x.shape[1] // 16) * 16
    rows = 1 if tokens == 1 else -(-tokens // TILE_TOKENS) * TILE_TOKENS
    data = np.zeros(rows * width + 16, np.float32)[: rows * width].reshape(rows, width)
    data[:tokens, : x.shape[1]] = x
    stride = matrix.sections * -(-matrix.columns // 16) * 16
    groups = matrix.sections * matrix.columns // matrix.group
    # What was prepared before must not be read.
    integers, floats = np.full((rows, stride), 99, np.int16), np.full((rows, stride), 99, np.float32)
    sums, starts = np.zeros((rows, groups), np.float32), np.zeros((rows, groups), np.int32)
    return Vectors(data, Narrow(floats, integers, np.zeros(rows, np.float32), sums, starts), 0, tokens)


def _product(packed, x):
    """Outputs and tally; nothing around the outputs may be written."""
    matrix, tally = packed.matrix, new_tally(1)
    whole = matrix.sections == 1 or matrix.rows // matrix.sections % 16 == 0
    rows = 1 if len(x) == 1 else -(-len(x) // TILE_TOKENS) * TILE_TOKENS
    out = Guarded((rows, -(-matrix.rows // 16) * 16 if whole else matrix.rows))
    ragged = np.zeros((rows, 16), np.float32)
    _by_sections(packed.weights, matrix, _vectors(matrix, x), ragged, out.array, Meter(tally, 0))
    out.check()
    return out.array[: len(x), : matrix.rows], tally


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scheme", SCHEMES, ids=_name)
def test_values_and_counts_are_those_of_the_scalar_reference(scheme, shape):
    rows, columns, sections = shape
    packed = PackedMatrix(rows, columns, scheme, bias=sections == 3, sections=sections)
    for tokens in (1, 3):
        x = np.random.default_rng(3).standard_normal((tokens, sections * columns)).astype(np.float32)
        ledger, reference = Ledger(), []
        for vector in x:
            numbers = [ledger.number(value, ACTIVATION) for value in vector]
            reference.append([v.value for v in _reference_product(packed, ledger, numbers)])
        actual, tally = _product(packed, x)
        law = new_tally(1)
        _law(packed.matrix, tokens, Meter(law, 0))
        magnitude = np.abs(reference).max()
        # An input in the middle of two steps of 1/127 of the largest can go to the other one.
        tolerance = 1e-2 if scheme.input_bits == 8 else 2e-3 if scheme.input_bits == 16 else 1e-5
        np.testing.assert_allclose(actual, reference, rtol=0, atol=tolerance * magnitude)
        assert counts(tally) == dict(ledger.counts)
        assert np.array_equal(tally, law)


def _reference_product(packed, ledger, numbers):
    scheme, name = packed.scheme, formats.NAMES[packed.scheme.code]
    bias_bits = formats.STORED_BITS[packed.matrix.bias_code]
    if not formats.is_integer(scheme.code):
        if scheme.input_bits == 16:
            numbers = [number.rounded_to_half() for number in numbers]
        return reference_product(ledger, packed.values.tolist(), WIDTHS[name], numbers, packed.bias, bias_bits)
    offsets = None if packed.offsets is None else packed.offsets.tolist()
    bits = formats.OPERAND_BITS[scheme.code]
    matrix = Integers(packed.numbers.tolist(), bits, packed.scales.tolist(), offsets)
    values = matrix.product(ledger, numbers, scheme.input_bits)
    if packed.bias is None:
        return values
    return [v + ledger.number(b, bias_bits) for v, b in zip(values, packed.bias, strict=True)]


@pytest.mark.parametrize("scheme", SCHEMES, ids=_name)
def test_several_tokens_get_the_bits_of_one(scheme):
    packed = PackedMatrix(99, 17, scheme, bias=True, sections=3)
    x = np.random.default_rng(4).standard_normal((TILE_TOKENS + 3, 51)).astype(np.float32)
    together, _ = _product(packed, x)
    for vector, reference in zip(x, together, strict=True):
        actual, _ = _product(packed, vector[None])
        assert actual[0].tobytes() == reference.tobytes()


@pytest.mark.parametrize("block", [(1, 1), (1, 16)], ids=str)
@pytest.mark.parametrize("code", [formats.FLOAT16, formats.INT8, formats.INT4])
def test_pruned_sections(code, block):
    scheme = Scheme(code, input_bits=8 if code == formats.INT8 else 32)
    columns = 19 if block == (1, 1) else 48
    packed = PrunedMatrix((54, columns), block, scheme, sections=3)
    x = np.random.default_rng(5).standard_normal((3, 3 * columns)).astype(np.float32)
    actual, tally = _product(packed, x)
    for section in range(3):
        own, inputs = slice(18 * section, 18 * (section + 1)), x[:, section * columns :][:, :columns]
        reference = inputs @ packed.values[own].T.astype(np.float32)
        tolerance = 2e-2 if code == formats.INT8 else 1e-5
        np.testing.assert_allclose(actual[:, own], reference, rtol=0, atol=tolerance * np.abs(reference).max())
    law = new_tally(1)
    _law(packed.matrix, 3, Meter(law, 0))
    assert np.array_equal(tally, law)
    assert counts(tally)[None, "multiply", formats.OPERAND_BITS[code], scheme.input_bits] == 3 * packed.kept.sum()
