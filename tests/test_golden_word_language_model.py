"""Converted state dicts say what PyTorch says of them in float64 (``scripts/make_golden_word_language_model.py``)."""

import numpy as np
import pytest
from state_dicts import golden_case, golden_names, text_of, vocabulary

from lm_meter import Checkpoint, RunOptions, evaluate
from lm_meter.conversion import word_language_model
from lm_meter.conversion.convert import convert

# Both sides have the same float32 weights. What remains is our float32 arithmetic, and of an LSTM the sum of its two
# biases, rounded once. Logits stay below 4, where neighbouring float32 numbers are 2**-22 apart; eight such steps
# cover sums of up to 27 rounded terms through two layers (the worst token is little more than one step off). With a
# gate in the place of another, or a bias left out, some token is off by 0.05 or more.
TOLERANCE = 8 * 2**-22


@pytest.fixture
def converted(tmp_path, monkeypatch):
    """Converts a golden case: its tensors come from the golden file, where PyTorch would read a file of its own."""

    def convert_case(name):
        state, words, *_ = golden_case(name)
        monkeypatch.setattr(word_language_model, "read_torch_file", lambda path: state)
        vocabulary(tmp_path / "words", words)
        (tmp_path / "state.pt").write_bytes(b"\x80\x02rnn.weight_hh_l0")
        return convert(tmp_path / "state.pt", tmp_path / "m.npz", tokenizer=tmp_path / "words")

    return convert_case


@pytest.mark.parametrize("name", golden_names())
def test_agrees_with_pytorch(name, converted, tmp_path):
    _, words, tokens, log_probs = golden_case(name)
    (tmp_path / "text").write_text(text_of(tokens, words), encoding="utf-8")

    assert converted(name).source == "word-language-model"
    result = evaluate(tmp_path / "m.npz", text=tmp_path / "text", options=RunOptions(first_token="skip"))

    np.testing.assert_allclose(result.log_probs, log_probs, rtol=0, atol=TOLERANCE)
    opened = Checkpoint(tmp_path / "m.npz")
    kind, layers, tied = name.split("_")
    assert opened.config["architecture"] == kind
    assert len(opened.config["dimensions"]["hidden"]) == int(layers)
    assert opened.config["tied"] == (tied == "tied")


def test_every_kind_is_there():
    assert {"lstm_1_untied", "lstm_1_tied", "lstm_2_untied", "lstm_2_tied", "gru_1_untied", "gru_2_tied"} == set(
        golden_names()
    )
