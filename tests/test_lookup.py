"""Looking up embedding rows: the row, from either layout; what makes float32 of a row that is stored narrow."""

import numpy as np
import pytest
from formats import CODES, WIDTHS, stored
from guarded import Guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from packed import PackedMatrix, counts
from reference import Integers, Ledger
from reference import lookup as reference_lookup

from lm_meter.kernels import formats
from lm_meter.kernels.charge import Meter, new_tally
from lm_meter.kernels.jit import compiled
from lm_meter.kernels.lookup import Table, lookup, lookup_cost
from lm_meter.kernels.matrix import Scheme, place_matrix


@compiled
def _lookup(weights, table, row, columns, out, meter):
    lookup(weights, table, row, columns, out, meter)


def assert_looked_up(weights, table, row, cut, reference, ledger):
    """The row in two parts, its counts and its law."""
    columns = table.matrix.columns
    out = Guarded((columns,))
    tally, law = new_tally(1), new_tally(1)
    for part in ((0, cut), (cut, columns)):
        _lookup(weights, table, row, part, out.array, Meter(tally, 0))
    lookup_cost(Meter(law, 0), table.matrix, columns)
    out.check()
    assert out.array.tolist() == reference
    assert counts(tally) == dict(ledger.counts)
    assert np.array_equal(tally, law)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.integers(1, 50), st.integers(1, 20), st.sampled_from(sorted(CODES)), st.booleans(), st.data())
def test_row_and_counts_are_those_of_the_reference(rows, columns, name, is_packed, data):
    if is_packed:
        packed = PackedMatrix(rows, columns, Scheme(CODES[name]), seed=rows)
        weights, matrix, values = packed.weights, packed.matrix, packed.values
    else:
        bits, values = stored(np.random.default_rng(rows).standard_normal((rows, columns)), name)
        weights, matrix = bits.reshape(-1).view(np.uint8), place_matrix((rows, columns), Scheme(CODES[name]))
    row = data.draw(st.integers(0, rows - 1))

    ledger = Ledger()
    reference = [number.value for number in reference_lookup(ledger, values[row].tolist(), WIDTHS[name])]
    cut = data.draw(st.integers(0, columns))
    assert_looked_up(weights, Table(matrix, int(is_packed)), row, cut, reference, ledger)


@pytest.mark.parametrize("code", [formats.INT8, formats.INT4, formats.CODEBOOK4])
@pytest.mark.parametrize("has_offsets", [False, True])
@settings(max_examples=15, derandomize=True, deadline=None)
@given(st.integers(1, 50), st.integers(1, 3), st.sampled_from([None, 8]), st.data())
def test_row_of_integers_is_scaled(code, has_offsets, rows, groups, group, data):
    packed = PackedMatrix(rows, 8 * groups, Scheme(code, group, has_offsets), seed=rows)
    row, cut = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, 8 * groups))

    ledger = Ledger()
    offsets = packed.offsets.tolist() if has_offsets else None
    numbers = Integers(packed.numbers.tolist(), formats.OPERAND_BITS[code], packed.scales.tolist(), offsets)
    # The product of a scale and an integer is exact in float32; adding the offset rounds once.
    reference = [float(np.float32(number.value)) for number in numbers.row(ledger, row)]
    assert_looked_up(packed.weights, Table(packed.matrix, 1), row, cut, reference, ledger)
