"""Looking up embedding rows: the row, from either layout; a conversion for each number that is stored narrow."""

import numpy as np
from formats import CODES, WIDTHS, stored
from guarded import Guarded, aligned_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Ledger
from reference import lookup as reference_lookup

from lm_meter.kernels.charge import KINDS, Meter, new_tally
from lm_meter.kernels.jit import kernel
from lm_meter.kernels.lookup import Table, lookup, lookup_cost
from lm_meter.kernels.packing import exponent_mask, pack_blocks, packed_blocks


@kernel
def _lookup(weights, table, row, columns, out, meter):
    lookup(weights, table, row, columns, out, meter)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.integers(1, 50), st.integers(1, 20), st.sampled_from(sorted(CODES)), st.booleans(), st.data())
def test_row_and_counts_are_those_of_the_reference(rows, columns, name, packed, data):
    bits, values = stored(np.random.default_rng(rows).standard_normal((rows, columns)), name)
    code = CODES[name]
    if packed:
        blocks = packed_blocks(rows)
        weights = aligned_bytes(blocks * columns * 16 * bits.itemsize)
        pack_blocks(bits, weights.view(bits.dtype).reshape(blocks, columns, 16), 1, exponent_mask(code), (0, blocks))
    else:
        weights = bits.reshape(-1).view(np.uint8)
    row = data.draw(st.integers(0, rows - 1))
    cut = data.draw(st.integers(0, columns))

    ledger = Ledger()
    reference = [number.value for number in reference_lookup(ledger, values[row], WIDTHS[name])]

    out = Guarded((columns,))
    tally, law = new_tally(1), new_tally(1)
    for part in ((0, cut), (cut, columns)):
        _lookup(weights, Table(0, code, columns, int(packed)), row, part, out.array, Meter(tally, 0))
    lookup_cost(Meter(law, 0), Table(0, code, columns, int(packed)), columns)

    out.check()
    assert out.array.tolist() == reference
    metered = {(None, KINDS[k], int(a), int(b)): int(tally[0, k, a, b]) for _, k, a, b in np.argwhere(tally)}
    assert metered == dict(ledger.counts)
    assert np.array_equal(tally, law)
