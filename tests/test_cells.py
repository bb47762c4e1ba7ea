"""The cells: values and counts of the reference for any number of units, in any split into blocks."""

import numpy as np
import pytest
import reference_recurrent as scalar
from guarded import Guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ACTIVATION, Ledger

from lm_meter.kernels.charge import KINDS, Meter, new_tally
from lm_meter.kernels.gru_cell import gru_cell, gru_cell_cost
from lm_meter.kernels.jit import compiled
from lm_meter.kernels.lstm_cell import lstm_cell, lstm_cell_cost
from lm_meter.kernels.qrnn_cell import qrnn_cell, qrnn_cell_cost


@compiled
def _lstm(gates, other, hidden, blocks, units, meter):
    lstm_cell(gates, other, hidden, blocks, units, meter)


@compiled
def _gru(gates, other, hidden, blocks, units, meter):
    gru_cell(gates, other, hidden, blocks, units, meter)


@compiled
def _qrnn(gates, other, hidden, blocks, units, meter):
    qrnn_cell(gates, (other, hidden), gates.size // hidden.size, blocks, units, meter)


def _scalar_gru(gates, of_hidden, hidden):
    return scalar.gru_cell(gates, of_hidden, hidden), of_hidden


CELLS = {
    "lstm": (_lstm, 4, lstm_cell_cost, lambda gates, cells, hidden: scalar.lstm_cell(gates, cells)),
    "gru": (_gru, 3, gru_cell_cost, _scalar_gru),
    "qrnn": (_qrnn, 2, lambda m, n: qrnn_cell_cost(m, 2, n), lambda gates, cells, h: scalar.qrnn_cell(gates, cells)),
    "qrnn, gated": (
        _qrnn, 3, lambda m, n: qrnn_cell_cost(m, 3, n), lambda gates, cells, h: scalar.qrnn_cell(gates, cells)
    ),
}  # fmt: skip


def _packed(gates, blocks):
    """(gates, units) to gates by blocks of 16 units."""
    packed = np.zeros((blocks, len(gates), 16), np.float32)
    for unit in range(gates.shape[1]):
        packed[unit // 16, :, unit % 16] = gates[:, unit]
    return packed.reshape(-1)


@pytest.mark.parametrize("name", CELLS)
@settings(max_examples=15, derandomize=True, deadline=None)
@given(st.integers(1, 70), st.integers(0, 4))
def test_values_and_counts_are_those_of_the_reference(name, units, cut):
    cell, count, cost, reference_cell = CELLS[name]
    rng, blocks = np.random.default_rng(units), -(-units // 16)
    gates = rng.standard_normal((count, units)).astype(np.float32) * 3
    # What is beside the gates: the cell state, or of a GRU the other product.
    others = rng.standard_normal((count if name == "gru" else 1, units)).astype(np.float32)
    before = rng.standard_normal(units).astype(np.float32)

    ledger = Ledger()

    def numbers(values):
        return [ledger.number(value, ACTIVATION) for value in values.reshape(-1)]

    hidden_numbers, other_numbers = reference_cell(numbers(gates), numbers(others), numbers(before))

    other, hidden = Guarded((len(others) * blocks * 16,)), Guarded((blocks * 16,))
    other.array[...] = _packed(others, blocks)
    hidden.array[:units] = before
    tally, law = new_tally(1), new_tally(1)
    cut = min(cut, blocks)
    real = min(cut * 16, units)
    for part, own in (((0, cut), real), ((cut, blocks), units - real)):
        cell(_packed(gates, blocks), other.array, hidden.array, part, own, Meter(tally, 0))
    cost(Meter(law, 0), units)

    other.check()
    hidden.check()
    # Each of a handful of float32 operations adds at most 3 units in the last place of a number below 4.
    tolerance = {"rtol": 2e-6, "atol": 1e-6}
    np.testing.assert_allclose(hidden.array[:units], [n.value for n in hidden_numbers], **tolerance)
    expected = _packed(np.array([n.value for n in other_numbers]).reshape(others.shape), blocks)
    np.testing.assert_allclose(other.array, expected, **tolerance)
    assert not hidden.array[units:].any()
    metered = {(None, KINDS[k], int(a), int(b)): int(tally[0, k, a, b]) for _, k, a, b in np.argwhere(tally)}
    assert metered == dict(ledger.counts)
    assert np.array_equal(tally, law)
