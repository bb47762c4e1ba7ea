"""Contexts and mixtures as large as they may be: counted in closed form, in short lists, and interruptible."""

import signal

import numpy as np
import pytest
from test_experts import _chosen
from tiny_transformer import transformer_parts

import lm_meter
from lm_meter import inspection
from lm_meter.activations import full_activations
from lm_meter.context import MAX_LENGTH, Context
from lm_meter.inspection import count_operations
from lm_meter.kernels.experts import Experts
from lm_meter.models.token_operations import token_operations
from lm_meter.profiles import PROFILES

HEADS, WIDTH, KEY_HEADS = 4, 6, 2  # of ``tiny_transformer.py``, in two layers
PATTERNS = {
    "dense": None,
    "strided": {"kind": "strided", "local": 7, "stride": 1024},
    "fixed": {"kind": "fixed", "stride": 256, "summary": 32},
    "local_global": {"kind": "local_global", "local": 100, "global": 9},
}
RUNS = [(name, policy) for name in PATTERNS for policy in ("cache", "recompute")]
RUNS += [("dense", "segment:1000"), ("fixed", "segment"), ("strided", "segment:1000")]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A model of each pattern."""
    found = {}
    for name, pattern in PATTERNS.items():
        parts = transformer_parts("llama", attention={"pattern": pattern}, dimensions={"context": MAX_LENGTH})
        path = tmp_path_factory.mktemp("long") / "m.npz"
        lm_meter.write_checkpoint(path, *parts)
        found[name] = lm_meter.Checkpoint(path)
    return found


def _seen(name):
    """Positions that each query of a whole context sees, (n,) int64, from the pattern's own words."""
    q = np.arange(MAX_LENGTH)
    if name == "dense":
        return q + 1
    if name == "strided":  # itself, seven before it, and every 1024th beyond these
        return np.minimum(q, 7) + 1 + q // 1024
    if name == "fixed":  # its block so far, and 32 of each before
        return q % 256 + 1 + q // 256 * 32
    return np.minimum(q, 100) + 1 + np.minimum(9, np.maximum(0, q - 100))


@pytest.mark.parametrize("name", PATTERNS)
def test_the_longest_context_is_counted(name, opened):
    counted = count_operations(opened[name], PROFILES["flops"], "recompute")
    exponentials = {row["region"]: row["count"] for row in counted["histogram"] if row["kind"] == "transcendental"}
    seen = _seen(name)
    # Of the second layer, the last one, one query alone is asked.
    assert exponentials["layers.0.attention"] == HEADS * int(seen.sum())
    assert exponentials["layers.1.attention"] == HEADS * int(seen[-1])
    if name == "dense":
        assert exponentials["layers.0.attention"] == HEADS * MAX_LENGTH * (MAX_LENGTH + 1) // 2


@pytest.mark.parametrize(("name", "policy"), RUNS)
def test_what_is_alive_in_a_long_context_goes_on_as_in_shorter_ones(name, policy, opened):
    """It grows in proportion to the context; ``test_activations.py`` has short ones by hand."""
    checkpoint, found = opened[name], []
    longest = MAX_LENGTH if policy in ("cache", "recompute") else MAX_LENGTH // 8  # else each position is a kind
    for length in (longest // 4, longest // 2, longest):
        context = checkpoint.architecture.context(checkpoint.model_config, policy, length)
        regions = full_activations(checkpoint, context).with_state
        found.append(regions["layers.1.attention"].elements)
    quarter, half, whole = found
    assert whole - half == 2 * (half - quarter)


def test_chunks_are_looked_at_some_at_a_time(opened):
    checkpoint = opened["fixed"]
    context = checkpoint.architecture.context(checkpoint.model_config, "segment:1000", 1 << 16)
    _, moments = checkpoint.architecture.full_moments(checkpoint, context)
    assert max(moment.whole.shape[1] for moment in moments) == 4096


def test_of_a_run_that_is_long_each_prediction_is_known(tmp_path):
    """Every one is made from all tokens before it: summed afresh, this would be 2^35 rows of a table."""
    lm_meter.write_checkpoint(tmp_path / "m.npz", *transformer_parts("mixtral", dimensions={"context": MAX_LENGTH}))
    checkpoint, context = lm_meter.Checkpoint(tmp_path / "m.npz"), Context("recompute", MAX_LENGTH)
    tokens = np.zeros(1 << 18, np.int64)
    found = token_operations(checkpoint, context, tokens, tokens)
    for size in (1, 2, 7, 1000, 1 << 18):
        _, tally = checkpoint.architecture.step_tally(checkpoint, Context("recompute", size))
        assert found[size - 1] == tally[:, :7].sum()


def test_a_count_that_is_interrupted_ends_at_the_next_moment(opened, monkeypatch):
    def pressed(checkpoint, context, pause):
        signal.raise_signal(signal.SIGINT)
        pause()
        pytest.fail("went on")

    monkeypatch.setattr(inspection, "full_activations", pressed)
    with pytest.raises(KeyboardInterrupt):
        count_operations(opened["dense"], PROFILES["flops"], "segment")


def test_each_moment_can_be_the_last(opened):
    calls = iter([None, None, KeyboardInterrupt()])

    def pause():
        if raised := next(calls):
            raise raised

    with pytest.raises(KeyboardInterrupt):
        full_activations(opened["strided"], pause=pause)


@pytest.mark.parametrize("used", [1, 2048, 4096])
def test_the_most_experts_are_chosen(used):
    logits = np.random.default_rng(8).standard_normal(4096).astype(np.float32)
    chosen, _ = _chosen(logits, Experts(4096, used, 1))
    assert chosen == np.argsort(-logits, kind="stable")[:used].tolist()
