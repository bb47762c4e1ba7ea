"""Routing: which experts a token passes and with what weights, with the operations that choosing takes."""

import math

import numpy as np
import pytest
from guarded import Guarded
from packed import counts
from reference import ACTIVATION, Ledger
from reference_transformer import routed
from test_transformer import NARROW_EXPERTS, WORDS
from tiny import narrowed
from tiny_transformer import transformer_parts

import lm_meter
from lm_meter.context import Context
from lm_meter.kernels.charge import Meter, new_tally
from lm_meter.kernels.experts import EXPERT, Experts, choose, choose_cost
from lm_meter.kernels.jit import compiled
from lm_meter.kernels.tile_shape import TILE_TOKENS
from lm_meter.models.plan import item_rows
from lm_meter.quantization.convert import quantize
from lm_meter.quantization.specification import Plan, parse_pattern
from lm_meter.threads import ThreadTeam


@compiled
def _choose(logits, experts, chosen, weights, scratch, meter):
    choose(logits, experts, chosen, weights, scratch)
    choose_cost(meter, experts, 1)


def _chosen(logits, experts, tally=None):
    """Numbers of the experts, and their weights."""
    chosen, weights = Guarded((experts.used, 2), np.int64), Guarded((experts.used,))
    scratch = Guarded((-(-experts.total // 16) * 16,))
    meter = Meter(new_tally(1) if tally is None else tally, 0)
    _choose(np.array(logits, np.float32), experts, chosen.array, weights.array, scratch.array, meter)
    for each in (chosen, weights, scratch):
        each.check()
    return chosen.array[:, EXPERT].tolist(), weights.array


@pytest.mark.parametrize("is_normalised", [0, 1])
@pytest.mark.parametrize(("total", "used"), [(1, 1), (2, 1), (5, 2), (8, 8), (16, 3), (37, 4)])
def test_choice_weights_and_counts_are_those_of_the_scalar_reference(total, used, is_normalised):
    logits = np.random.default_rng(total).normal(0, 2, total).astype(np.float32)
    ledger, tally = Ledger(), new_tally(1)
    expected, weights = routed([ledger.number(x, ACTIVATION) for x in logits], used, is_normalised)
    actual, found = _chosen(logits, Experts(total, used, is_normalised), tally)
    assert actual == expected == np.argsort(-logits)[:used].tolist()
    np.testing.assert_allclose(found, [w.value for w in weights], rtol=2e-6)
    assert counts(tally) == dict(ledger.counts)


def test_of_equal_logits_the_lower_number_comes_first():
    logits = [1.0, 3.0, 2.0, 3.0, 2.0, 3.0]
    assert _chosen(logits, Experts(6, 4, 1))[0] == [1, 3, 5, 2]
    assert _chosen([0.0] * 20, Experts(20, 3, 0))[0] == [0, 1, 2]


def test_weights_sum_to_one_or_are_shares_of_all():
    logits = [0.0, math.log(2), math.log(3), math.log(4)]
    np.testing.assert_allclose(_chosen(logits, Experts(4, 2, 1))[1], [4 / 7, 3 / 7], rtol=1e-6)
    np.testing.assert_allclose(_chosen(logits, Experts(4, 2, 0))[1], [0.4, 0.3], rtol=1e-6)


def test_logits_that_are_no_numbers_choose_experts_that_exist():
    assert sorted(_chosen([math.nan] * 5, Experts(5, 3, 1))[0]) == [0, 1, 2]
    assert sorted(_chosen([-math.inf, math.nan, -math.inf], Experts(3, 3, 0))[0]) == [0, 1, 2]


def test_items_of_any_routing_have_room():
    rng = np.random.default_rng(0)
    for total, used in ((1, 1), (5, 2), (18, 1), (40, 7)):
        for tokens in (1, 3, 8, 33):
            for _ in range(20):
                chosen = np.concatenate([rng.permutation(total)[:used] for _ in range(tokens)])
                taken = np.bincount(chosen)
                needed = sum(n if n < 2 else -(-n // TILE_TOKENS) * TILE_TOKENS for n in taken)
                assert needed <= item_rows(tokens, Experts(total, used, 1))


def _checkpoint(path, formats=None, kind="mixtral"):
    parts = transformer_parts(kind, WORDS)
    lm_meter.write_checkpoint(path, *(narrowed(*parts, formats) if formats else parts))
    return lm_meter.Checkpoint(path)


@pytest.mark.parametrize("kind", ["mixtral", "switch"])
def test_experts_of_one_cost_are_counted_without_running(kind, tmp_path):
    opened = _checkpoint(tmp_path / "m.npz", kind=kind)
    tokens = np.random.default_rng(1).integers(0, len(WORDS), 10)
    for context, chunks in (
        (Context("cache", 9), [(1, n, 0) for n in range(9)]),
        (Context("recompute", 4), [(min(n, 4), 0, 0) for n in range(1, 10)]),
    ):
        runtime = opened.architecture.load(opened, ThreadTeam(1), context)
        tallies = runtime.new_tallies()
        runtime.run(tokens[:-1], tokens[1:], 1, tallies)
        _, law = opened.architecture.chunk_tally(opened, np.array(chunks, np.int64), context)
        assert np.array_equal(tallies[0], law)


def test_experts_of_different_costs_are_not(tmp_path):
    opened = _checkpoint(tmp_path / "m.npz", NARROW_EXPERTS)
    with pytest.raises(lm_meter.ConfigError) as caught:
        opened.architecture.step_tally(opened)
    assert str(caught.value) == (
        f"{tmp_path / 'm.npz'}: experts of layer 0 differ in their formats or in what is kept of them, so that "
        "operations depend on which ones the text chooses; run lm-meter eval over a text"
    )


def test_all_experts_are_stored_and_those_that_run_are_read(tmp_path):
    opened = _checkpoint(tmp_path / "m.npz")
    runtime = opened.architecture.load(opened, ThreadTeam(1), Context("cache", 9))
    # 2 layers of 5 experts with 3 matrices of 20 x 24 float32, of which 2 in 5 are read.
    experts = 2 * 5 * 3 * 20 * 24 * 4
    names = [name for name in opened.formats if ".experts." in name]
    assert sum(opened.values(name) for name in names) * 4 == experts
    assert runtime.step_bytes == sum(matrix.nbytes for matrix in runtime._matrices[:-1]) - experts * 3 // 5
    together = opened.architecture.load(opened, ThreadTeam(1), Context("recompute", 9))
    assert together.step_bytes == sum(matrix.nbytes for matrix in together._matrices[:-1])


def test_one_expert_quantised(tmp_path):
    opened = _checkpoint(tmp_path / "m.npz")
    pattern = parse_pattern("layers.*.feed_forward.experts.3.*=int8,activations=8")
    done = quantize(opened, tmp_path / "q.npz", Plan(None, (pattern,)))
    assert len(done.changes) == 6
    narrow = lm_meter.Checkpoint(tmp_path / "q.npz")
    tokens = np.random.default_rng(1).integers(0, len(WORDS), 40)
    found = []
    for each in (opened, narrow):
        runtime = each.architecture.load(each, ThreadTeam(2), Context("cache", 9))
        found.append(runtime.run(tokens[:-1], tokens[1:], 1, runtime.new_tallies()))
    assert not np.array_equal(*found)
    np.testing.assert_allclose(*found, atol=0.3)
