"""LSTM models as a whole against the scalar reference: every value within rounding, every count to the integer."""

import numpy as np
import pytest
from reference import Lstm
from tiny import tiny_parts

import lm_meter
from lm_meter.histogram import rows_of

WORDS = ("<eos>", "<unk>", *(f"w{i}" for i in range(398)))  # two segments of the softmax, the second not full
CONFIGURATIONS = {
    "plain": {},
    "no biases": {"bias": False},
    "projection, tied, float16": {"embedding": 20, "hidden": (33,), "projection": 20, "tied": True, "dtype": "float16"},
    "tied without projection, bfloat16": {"embedding": 16, "tied": True, "dtype": "bfloat16"},
    "three layers, untied projection": {"embedding": 5, "hidden": (17, 16, 31), "projection": 9},
    "one unit": {"embedding": 1, "hidden": (1,)},
}


def _float_values(array, weight_format):
    if weight_format == "bfloat16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


def _reference(config, arrays):
    formats = config["formats"]
    values = {name: _float_values(array, formats[name]).tolist() for name, array in arrays.items() if name in formats}
    bits = {name: {"float32": 32}.get(kind, 16) for name, kind in formats.items()}
    return Lstm(values, bits, config["dimensions"]["hidden"])


def _tokens(count, vocabulary, seed=5):
    return np.random.default_rng(seed).integers(0, vocabulary, count)


def _write_text(path, tokens):
    path.write_text("".join("\n" if t == 0 else f"{WORDS[t]} " for t in tokens), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_metered_predicted_and_hand_executed_agree(name, tmp_path):
    config, arrays = tiny_parts(words=WORDS, **CONFIGURATIONS[name])
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    tokens = [*_tokens(11, len(WORDS)), 0]  # ends in a line end, as a text does

    model = _reference(config, arrays)
    expected = []
    for before, token in zip([0, *tokens[:-1]], tokens, strict=True):
        model.advance(before)
        expected.append(model.log_prob(token))

    result = lm_meter.evaluate(
        tmp_path / "model.npz",
        text=_write_text(tmp_path / "text", tokens),
        options=lm_meter.RunOptions(block=5, threads=2),
    )
    opened = lm_meter.Checkpoint(tmp_path / "model.npz")
    regions, law = opened.architecture.step_tally(opened)
    predicted = [(r.region, r.kind, r.bits_a, r.bits_b, r.count * len(tokens)) for r in rows_of(law, regions)]
    metered = [tuple(row.values()) for row in result["histogram"]]

    # Logits below 10 have neighbours 2**-20 apart; a dozen roundings of that size in four steps of the recurrence.
    np.testing.assert_allclose(result.log_probs, expected, rtol=0, atol=1e-5)
    assert metered == predicted
    assert {row[:4]: row[4] for row in metered} == dict(model.ledger.counts)


def test_probabilities_of_the_vocabulary_sum_to_one(tmp_path):
    config, arrays = tiny_parts(words=WORDS)
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    model = lm_meter.Model(tmp_path / "model.npz")
    for token in _tokens(5, len(WORDS)):
        model.advance(token)
        log_probs = model.log_probs()
        # Each of 400 probabilities is off by less than 40 half units of 2**-24 (see test_log_softmax).
        assert np.exp(log_probs).sum() == pytest.approx(1, abs=40 * 2.0**-24)
        assert [model.log_prob(t) for t in (0, 7, 399)] == log_probs[[0, 7, 399]].tolist()
