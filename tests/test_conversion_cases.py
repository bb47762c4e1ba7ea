"""Whole folders and files as users report them, against what the transformers library says in float64.

They lie beside the shared data, and each is an example of a kind; the kinds are tested without them too.
"""

import pytest

from lm_meter import RunOptions, evaluate
from lm_meter.conversion.convert import convert

pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")
pytest.importorskip("gguf")


@pytest.mark.parametrize(
    ("source", "pieces", "nats"),
    [
        ("hf-stale-shards", 199, 1440.680),  # all files merged: 1434.865
        ("hf-padded-vocabulary/padded", 199, 1533.754),  # over all 512 rows
        ("hf-padded-vocabulary/added", 200, 1484.469),  # 399 rows of 400 tokens
        ("gguf-added-tokens/u.gguf", 223, 1603.592),  # without the types of tokens: 242 and 1763.84
        ("gguf-cutting/none.gguf", 242, 1775.877),
        ("gguf-cutting/default.gguf", 242, 1775.877),
    ],
)
def test_without_the_first_token(source, pieces, nats, shared_cases, tmp_path):
    convert(shared_cases / source, tmp_path / "m.npz")
    text = shared_cases / source.split("/")[0] / "text.txt"
    result = evaluate(tmp_path / "m.npz", text=text, options=RunOptions(first_token="skip"))
    # Given to three digits; float32 sums of 200 losses of 7 nats, each off by some 2**-20.
    assert -result.log_probs.sum() == pytest.approx(nats, abs=0.001)
    assert result["text"]["pieces"] == pieces


@pytest.mark.parametrize("source", ["llama3", "no-config", "says-false"])
def test_with_the_first_token(source, shared_cases, tmp_path):
    done = convert(shared_cases / "hf-start-token" / source, tmp_path / "m.npz")
    assert done.start == "<|begin_of_text|>"
    result = evaluate(tmp_path / "m.npz", text=shared_cases / "hf-start-token" / "text.txt")
    assert -result.log_probs.sum() == pytest.approx(1440.907533, abs=1e-4)
    assert result.log_probs.size == 200


def test_what_transformers_5_writes_is_converted(shared_cases, tmp_path):
    """Its tokenizer drops a leading blank where it decodes; the tool's own sample text begins with one."""
    folder = shared_cases / "hf-leading-blanks"
    done = convert(folder / "transformers5", tmp_path / "m.npz")
    assert (done.source, done.start) == ("huggingface", "<s>")
    assert (tmp_path / "m.npz").exists()
    done = convert(folder / "transformers5", tmp_path / "m.npz", text=folder / "plain.txt")
    assert (done.tokens, done.not_run) == (64, None)
    result = evaluate(tmp_path / "m.npz", text=folder / "plain.txt")
    assert (result.log_probs.size, -result.log_probs.sum()) == (144, pytest.approx(1120.017, abs=0.001))
