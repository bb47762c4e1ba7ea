"""Vectors of distances of Transformer-XL positions: made once when a run begins, charged there, and only there."""

import numpy as np
import pytest
from reference_transformer import Transformer
from tiny_transformer import transformer_parts

import lm_meter
from lm_meter.context import Context
from lm_meter.histogram import rows_of
from lm_meter.inspection import count_operations, count_table
from lm_meter.kernels.lanes import LANES
from lm_meter.profiles import profile_named
from lm_meter.threads import ThreadTeam

NOTHING = np.zeros(0, np.int64)


@pytest.fixture
def opened(tmp_path):
    return _opened(tmp_path)[0]


def _opened(tmp_path, **changes):
    parts = transformer_parts("transformer-xl", **changes)
    lm_meter.write_checkpoint(tmp_path / "model.npz", *parts)
    return lm_meter.Checkpoint(tmp_path / "model.npz"), parts


def _once(tally, regions):
    """Operations of the regions of what is done once."""
    return {
        (row.region, row.kind): row.count
        for row in rows_of(tally, regions)
        if row.region == "distances" or row.region.endswith(".distance")
    }


@pytest.mark.parametrize("window", [63, 64, 129])
def test_vectors_are_those_of_the_reference(window, tmp_path):
    """One chunk of distances, one more than a chunk, and more than two."""
    opened, (config, arrays) = _opened(tmp_path, dimensions={"layers": 1, "key_value_heads": 4, "head_width": 5})
    values = {name: arrays[name].tolist() for name in config["formats"]}
    bits, inputs = dict.fromkeys(values, 32), dict.fromkeys(values, (32, (32, None)))
    model = Transformer(config, values, bits, inputs, window)
    context = Context("cache", window + 1)
    runtime = opened.architecture.load(opened, ThreadTeam(2), context)
    tallies = runtime.new_tallies()
    runtime.run(np.array([1]), NOTHING, 1, tallies)
    actual = runtime._network.relative.vectors
    reference = np.array([[v.value for v in vector] for vector in model.distances[0]]).reshape(window + 1, 4, 5)
    np.testing.assert_allclose(actual[0, :, :, LANES:-LANES], reference[::-1].transpose(1, 2, 0), rtol=0, atol=2e-6)
    assert not actual[..., :LANES].any()
    assert not actual[..., -LANES:].any()
    assert _once(tallies.sum(axis=0), runtime.regions) == {
        (region, kind): count for (region, kind, _, _), count in model.ledger.counts.items()
    }
    regions, law = opened.architecture.once_tally(opened, context)
    assert _once(law, regions) == _once(tallies.sum(axis=0), runtime.regions)


def test_they_are_charged_when_a_run_begins_and_again_after_a_reset(opened):
    runtime = opened.architecture.load(opened, ThreadTeam(2))
    regions, law = opened.architecture.once_tally(opened)
    reference = _once(law, regions)

    def charged(inputs):
        tallies = runtime.new_tallies()
        runtime.run(inputs, NOTHING, 1, tallies)
        return _once(tallies.sum(axis=0), runtime.regions)

    # 9 distances of 24 numbers: 12 multiplies and 24 functions each, and 9 * 20 products of 24 in each of 2 layers.
    assert reference["distances", "multiply"] == 9 * 12
    assert reference["distances", "transcendental"] == 9 * 24
    assert reference["layers.1.attention.distance", "multiply"] == 9 * 20 * 24
    assert charged(NOTHING) == {}  # no token: the loop is only compiled
    assert charged(np.array([1, 2])) == reference
    assert charged(np.array([3])) == {}
    runtime.reset()
    assert charged(np.array([1])) == reference


def test_a_model_in_the_users_own_loop_has_them_in_its_histogram_once(opened, tmp_path):
    model = lm_meter.Model(tmp_path / "model.npz")
    for token in (2, 3, 4):
        model.log_prob(token)
        model.advance(token)
    regions, law = opened.architecture.once_tally(opened)
    found = {(row.region, row.kind): row.count for row in model.histogram}
    assert {key: found[key] for key in _once(law, regions)} == _once(law, regions)


def test_their_matrices_are_not_read_at_every_step(opened):
    runtime = opened.architecture.load(opened, ThreadTeam(1))
    body = sum(matrix.nbytes for matrix in runtime._matrices[: runtime._plan.readout])
    # Each of 2 layers has one matrix of 20 rows of 24 float32 numbers.
    assert runtime.step_bytes == body - 2 * 20 * 24 * 4


def test_count_gives_them_beside_the_step(opened):
    counted = count_operations(opened, profile_named("flops"))
    regions, law = opened.architecture.once_tally(opened)
    assert counted["operations_once"]["total"] == law.sum()
    assert counted["operations_once"]["by_region"]["distances"] == 9 * (
        12 + 24 + 24
    )  # products, functions, conversions
    assert not _once(opened.architecture.step_tally(opened)[1], regions)
    table = count_table(counted)
    assert f"once, when a run begins, and not in the above: {law.sum():,} operations" in table
