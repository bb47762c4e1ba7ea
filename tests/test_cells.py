"""The LSTM cell: values and counts of the reference for any number of units, in any split into blocks."""

import numpy as np
from guarded import Guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ACTIVATION, Ledger
from reference import lstm_cell as reference_cell

from lm_meter.kernels.charge import KINDS, Meter, new_tally
from lm_meter.kernels.jit import compiled
from lm_meter.kernels.lstm_cell import lstm_cell, lstm_cell_cost


@compiled
def _cell(gates, cells, hidden, blocks, units, meter):
    lstm_cell(gates, cells, hidden, blocks, units, meter)


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.integers(1, 70), st.integers(0, 4))
def test_values_and_counts_are_those_of_the_reference(units, cut):
    rng = np.random.default_rng(units)
    blocks = -(-units // 16)
    gates = rng.standard_normal((4, units)).astype(np.float32) * 3
    cells = rng.standard_normal(units).astype(np.float32)

    ledger = Ledger()
    numbers = [ledger.number(value, ACTIVATION) for value in gates.reshape(-1)]
    hidden_numbers, cell_numbers = reference_cell(numbers, [ledger.number(value, ACTIVATION) for value in cells])

    packed = np.zeros((blocks, 4, 16), np.float32)
    for gate in range(4):
        for unit in range(units):
            packed[unit // 16, gate, unit % 16] = gates[gate, unit]
    state, hidden = Guarded((blocks * 16,)), Guarded((blocks * 16,))
    state.array[:units] = cells
    tally, law = new_tally(1), new_tally(1)
    cut = min(cut, blocks)
    real = min(cut * 16, units)
    for part, count in (((0, cut), real), ((cut, blocks), units - real)):
        _cell(packed.reshape(-1), state.array, hidden.array, part, count, Meter(tally, 0))
    lstm_cell_cost(Meter(law, 0), units)

    state.check()
    hidden.check()
    # Each of a handful of float32 operations adds at most 3 units in the last place of a number below 4.
    np.testing.assert_allclose(state.array[:units], [n.value for n in cell_numbers], rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(hidden.array[:units], [n.value for n in hidden_numbers], rtol=2e-6, atol=1e-6)
    assert not state.array[units:].any()
    assert not hidden.array[units:].any()
    metered = {(None, KINDS[k], int(a), int(b)): int(tally[0, k, a, b]) for _, k, a, b in np.argwhere(tally)}
    assert metered == dict(ledger.counts)
    assert np.array_equal(tally, law)
