"""Accumulators that are too narrow: what they hold, and how often they overflow, against scalar arithmetic."""

import numpy as np
import pytest
from packed import PackedMatrix
from reference import ACTIVATION, Integers, Ledger

from lm_meter.kernels import formats
from lm_meter.kernels.charge import OVERFLOW, UNARY, new_tally
from lm_meter.kernels.matrix import SATURATE, WRAP, Scheme
from lm_meter.kernels.tile_shape import TILE_TOKENS

NAMES = {WRAP: "wrap", SATURATE: "saturate"}


@pytest.mark.parametrize("tokens", [1, 2, TILE_TOKENS + 1])
@pytest.mark.parametrize("bits", [8, 12, 16, 17])
@pytest.mark.parametrize("overflow", NAMES, ids=NAMES.get)
@pytest.mark.parametrize("code", [formats.INT8, formats.INT4, formats.CODEBOOK4], ids=lambda code: formats.NAMES[code])
def test_values_and_overflows_are_those_of_scalar_arithmetic(code, overflow, bits, tokens):
    scheme = Scheme(code, 8 if bits == 12 else None, bits == 16, 8, bits, overflow)
    packed = PackedMatrix(35, 40, scheme)
    x = np.random.default_rng(3).standard_normal((tokens, 40)).astype(np.float32)
    ledger, reference = Ledger(), []
    offsets = None if packed.offsets is None else packed.offsets.tolist()
    matrix = Integers(packed.numbers.tolist(), formats.OPERAND_BITS[code], packed.scales.tolist(), offsets)
    for vector in x:
        numbers = [ledger.number(value, ACTIVATION) for value in vector]
        values = matrix.product(ledger, numbers, 8, (bits, NAMES[overflow]))
        reference.append([value.value for value in values])

    tally = new_tally(1)
    actual = packed.times(x, tokens, tally)[:, :35]

    # Scales and offsets are applied in float32: 5 roundings a group.
    tolerance = 30 * 2.0**-24 * (np.abs(reference) + 8)
    assert np.all(np.abs(actual - reference) <= tolerance)
    assert tally[0, OVERFLOW, bits, UNARY] == tally[0, OVERFLOW].sum() == ledger.overflows
    assert ledger.overflows > 0 or bits > 8
