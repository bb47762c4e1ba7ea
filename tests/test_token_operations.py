"""Operations of each prediction by the cost laws: what a run is charged when its tokens enter one by one."""

import numpy as np
import pytest
from test_buffers import RECURRENT
from test_target_rank import ENDS, TRANSFORMERS, WORDS, _parts
from test_transformer import NARROWED
from tiny_transformer import MIXTRAL, transformer_parts

import lm_meter
from lm_meter.context import Context
from lm_meter.errors import ConfigError
from lm_meter.kernels.charge import KINDS
from lm_meter.models.token_operations import distinct_rows, token_operations
from lm_meter.threads import ThreadTeam

POLICIES = (Context("cache", 6), Context("recompute", 5), Context("segment", 4), Context("segment", 6, 2))


def _charged(opened, context, inputs, targets):
    """What the tally grows by in a call of one token each."""
    runtime, found = opened.architecture.load(opened, ThreadTeam(1), context), []
    for entering, target in zip(inputs, targets, strict=True):
        tallies = runtime.new_tallies()
        runtime.run(np.array([entering]), np.array([target]), 1, tallies)
        found.append(int(tallies[:, :, : len(KINDS)].sum()))
    return found


def _same(opened, context):
    tokens = np.random.default_rng(3).integers(0, len(WORDS), 31)
    inputs, targets = tokens[:-1], tokens[1:]
    reference = _charged(opened, context, inputs, targets)
    actual = token_operations(opened, context, inputs, targets)
    assert actual.dtype == np.int64
    assert actual.tolist() == reference
    # Rows of an interrupted pass: those of its beginning.
    assert token_operations(opened, context, inputs[:7], targets[:7]).tolist() == reference[:7]
    return reference


@pytest.mark.parametrize("name", [*RECURRENT, *ENDS])
def test_operations_of_a_recurrent_model(name, tmp_path):
    lm_meter.write_checkpoint(tmp_path / "m.npz", *_parts(name))
    found = _same(lm_meter.Checkpoint(tmp_path / "m.npz"), None)
    depends_on_the_text = "adaptive" in name or "continuous" in name
    assert (len(set(found)) > 1) == depends_on_the_text or name == "adaptive, all bins"


@pytest.mark.parametrize("context", POLICIES, ids=str)
@pytest.mark.parametrize("name", [*TRANSFORMERS, *NARROWED])
def test_operations_of_a_transformer(name, context, tmp_path):
    if name == "transformer, gpt" and context.policy == "cache":
        pytest.skip("a cache does not slide over learned positions")
    lm_meter.write_checkpoint(tmp_path / "m.npz", *_parts(name))
    if name == "narrow experts":
        with pytest.raises(ConfigError, match="differ in their formats or in what is kept of them"):
            token_operations(lm_meter.Checkpoint(tmp_path / "m.npz"), context, np.zeros(1, int), np.zeros(1, int))
        return
    _same(lm_meter.Checkpoint(tmp_path / "m.npz"), context)


def test_distances_belong_to_the_first_prediction(tmp_path):
    lm_meter.write_checkpoint(tmp_path / "m.npz", *transformer_parts("transformer-xl", WORDS))
    opened, context = lm_meter.Checkpoint(tmp_path / "m.npz"), Context("cache", 6)
    _, once = opened.architecture.once_tally(opened, context)
    found = token_operations(opened, context, np.zeros(20, int), np.zeros(20, int))
    assert once.sum() > 0
    # From the sixth on the context is full; the first one sees itself alone, and makes the distances.
    _, full = opened.architecture.step_tally(opened, context)
    assert set(found[5:].tolist()) == {int(full[:, : len(KINDS)].sum())}
    assert found[0] - once.sum() < found[1]


@pytest.mark.parametrize("most", [1, 4, 2000, 1 << 40])
@pytest.mark.parametrize("count", [0, 1, 500])
def test_rows_are_found_again(count, most):
    rows = np.random.default_rng(0).integers(0, most, (count, 4))
    found, which = distinct_rows(rows)
    assert np.array_equal(found[which], rows)
    assert np.unique(rows, axis=0).tolist() == sorted(found.tolist())


def test_many_tokens_take_no_time(tmp_path):
    """What is evaluated grows with the kinds of chunks, not with the text: a law for each token would take minutes."""
    lm_meter.write_checkpoint(tmp_path / "m.npz", *transformer_parts("mixtral", WORDS, **{**MIXTRAL, "dimensions": {}}))
    tokens = np.random.default_rng(0).integers(0, len(WORDS), 200_000)
    found = token_operations(lm_meter.Checkpoint(tmp_path / "m.npz"), Context("recompute", 200), tokens, tokens)
    assert (found[:200] < found[1:201]).sum() == 199
    assert len(set(found[199:].tolist())) == 1
