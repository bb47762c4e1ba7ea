"""A softmax with more rows than the tokenizer has tokens, or with fewer: what is declared, and what is refused."""

import json

import numpy as np
import pytest
from huggingface_folders import llama_tensors, tokenizer_json, write_folder
from tiny import tiny_parts

from lm_meter import Checkpoint, CheckpointError, TextError, evaluate, read_text, write_checkpoint
from lm_meter.conversion.convert import convert
from lm_meter.tokenizers import load_tokenizer

pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")


def converted(tmp_path, tokens, rows, start="^"):
    """A checkpoint of so many tokens and rows."""
    write_folder(tmp_path / "model", llama_tensors(rows), tokenizer_json(tokens), vocab_size=rows)
    return convert(tmp_path / "model", tmp_path / "m.npz", start=start)


def text(tmp_path, content):
    (tmp_path / "text").write_text(content, encoding="utf-8")
    return tmp_path / "text"


def test_all_rows_are_in_every_prediction(tmp_path):
    done = converted(tmp_path, 128, 200)
    assert done.notes == ["128 tokens, 200 rows of the softmax: every prediction is over all rows"]
    opened = Checkpoint(tmp_path / "m.npz")
    assert opened.config["tokenizer"]["tokens"] == 128
    assert opened.model_config.vocabulary == 200
    padded = evaluate(tmp_path / "m.npz", text=text(tmp_path, "ab\n")).log_probs
    # The rows behind the tokens are the last of the embedding: the same model without them gives each token more.
    tensors = llama_tensors(200)
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:128]
    write_folder(tmp_path / "cut", tensors)
    convert(tmp_path / "cut", tmp_path / "cut.npz", start="^")
    cut = evaluate(tmp_path / "cut.npz", text=text(tmp_path, "ab\n")).log_probs
    assert (padded < cut).all()


def test_a_token_without_a_row_is_refused_where_a_text_has_it(tmp_path):
    done = converted(tmp_path, 128, 127)
    assert done.notes == ["128 tokens, 127 rows of the softmax: a text that uses a token without a row is refused"]
    assert np.isfinite(evaluate(tmp_path / "m.npz", text=text(tmp_path, "ab\n")).log_probs).all()
    with pytest.raises(TextError) as caught:
        evaluate(tmp_path / "m.npz", text=text(tmp_path, "a\x7fb\n"))
    assert str(caught.value) == (
        f"{tmp_path / 'text'}: has the token '\\x7f', number 127; the model has rows for 127 tokens only; choose a "
        "text without it"
    )
    tokenizer = load_tokenizer(Checkpoint(tmp_path / "m.npz"))
    with pytest.raises(TextError, match="the model has rows for 127 tokens only"):
        tokenizer.encode(read_text(tmp_path / "text"))


def test_a_start_token_without_a_row(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        converted(tmp_path, 128, 127, start="\x7f")
    assert str(caught.value) == (f"{tmp_path / 'm.npz'}: tokenizer.start is '\\x7f', for which the model has no row")


def test_as_many_tokens_as_rows_need_no_word(tmp_path):
    assert converted(tmp_path, 128, 128).notes == []
    assert "tokens" not in Checkpoint(tmp_path / "m.npz").config["tokenizer"]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (127, "the tokenizer has 128 tokens; tokenizer.tokens is 127; they must agree"),
        ("128", "tokenizer.tokens is '128'; expected a whole number"),
        (True, "tokenizer.tokens is True; expected a whole number"),
        (None, "tokenizer.tokens is None; expected a whole number"),
    ],
)
def test_a_declaration_that_is_not_so(declared, message, tmp_path):
    converted(tmp_path, 128, 200)
    opened = Checkpoint(tmp_path / "m.npz")
    config = {key: value for key, value in opened.config.items() if key not in ("format", "version")}
    config["tokenizer"] = {**config["tokenizer"], "tokens": declared}
    arrays = {name: opened.view(opened.verified(name)).copy() for name in (*opened.formats, "tokenizer.json")}
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(tmp_path / "other.npz", json.loads(json.dumps(config)), arrays)
    assert str(caught.value) == f"{tmp_path / 'other.npz'}: {message}"


def test_words_without_rows_are_refused_at_once(tmp_path):
    """Of the other tokenizers no file has them."""
    config, arrays = tiny_parts()
    words = arrays["tokenizer.words"].tobytes() + b"\none\ntwo"
    config["tokenizer"]["tokens"] = len(words.split(b"\n"))
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(tmp_path / "m.npz", config, {**arrays, "tokenizer.words": np.frombuffer(words, np.uint8)})
    count = config["dimensions"]["vocabulary"]
    assert str(caught.value) == (
        f"{tmp_path / 'm.npz'}: the tokenizer has {count + 2} tokens; the model has rows for {count}; expected a row "
        "for each"
    )
