"""The token that stands before a text: of the post-processor, of the settings, of the class, or of the user."""

import json

import numpy as np
import pytest
from huggingface_folders import tokenizer_json, write_folder
from llama2c_files import llama2c_model, llama2c_tokenizer

from lm_meter import Checkpoint, CheckpointError, RunOptions, cli, evaluate
from lm_meter.conversion.convert import convert
from lm_meter.conversion.huggingface_start import start_token

pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

TEXT = {"Sequence": {"id": "A", "type_id": 0}}


def special(name):
    return {"SpecialToken": {"id": name, "type_id": 0}}


def template(*before, after=()):
    tokens = {name: {"id": name, "ids": [ord(name)], "tokens": [name]} for name in (*before, *after)}
    single = [*map(special, before), TEXT, *map(special, after)]
    return {"type": "TemplateProcessing", "single": single, "pair": [*single, *single], "special_tokens": tokens}


BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
NOTHING = "the tokenizer puts no token before a text"
POST = "the post-processor in tokenizer.json"


@pytest.mark.parametrize("added", [None, True, False])
@pytest.mark.parametrize("kind", [None, "PreTrainedTokenizerFast", "LlamaTokenizer", "GPT2TokenizerFast"])
@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (template("^"), "^"),
        (template("^", after="$"), "^"),
        ({"type": "Sequence", "processors": [BYTES, template("^")]}, "^"),
        ({"type": "BertProcessing", "sep": ["$", 36], "cls": ["^", 94]}, "^"),
        ({"type": "RobertaProcessing", "sep": ["$", 36], "cls": ["^", 94], "trim_offsets": True}, "^"),
    ],
)
def test_the_post_processor_decides_whatever_the_settings_say(processor, expected, kind, added):
    """As transformers 5.24 does, of which a table was made for these classes and settings."""
    settings = {"bos_token": "~", "tokenizer_class": kind, "add_bos_token": added}
    settings = {key: value for key, value in settings.items() if value is not None}
    assert start_token({"post_processor": processor}, settings, "t") == (expected, POST)


@pytest.mark.parametrize("processor", [None, BYTES, template(), template(after="$")])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (None, NOTHING)),
        ({"add_bos_token": True}, (None, NOTHING)),  # of no known name
        ({"bos_token": "^"}, (None, NOTHING)),
        ({"bos_token": "^", "add_bos_token": False}, (None, NOTHING)),
        ({"bos_token": "^", "add_bos_token": True}, ("^", "add_bos_token in tokenizer_config.json")),
        ({"bos_token": {"content": "^"}, "add_bos_token": True}, ("^", "add_bos_token in tokenizer_config.json")),
        ({"bos_token": "^", "tokenizer_class": "GPT2TokenizerFast"}, (None, NOTHING)),
        ({"bos_token": "^", "tokenizer_class": "LlamaTokenizer"}, ("^", "the default of LlamaTokenizer")),
        ({"bos_token": "^", "tokenizer_class": "LlamaTokenizerFast"}, ("^", "the default of LlamaTokenizer")),
        ({"bos_token": "^", "tokenizer_class": "LlamaTokenizer", "add_bos_token": False}, (None, NOTHING)),
    ],
)
def test_where_the_post_processor_puts_nothing_in_front(settings, expected, processor):
    assert start_token({"post_processor": processor}, settings, "t") == expected


def test_two_tokens_before_a_text_are_none_here():
    both = {"type": "Sequence", "processors": [template("^"), template("~")]}
    for processor in (template("^", "~"), both):
        token, reason = start_token({"post_processor": processor}, {"bos_token": "^", "add_bos_token": True}, "t")
        assert (token, reason) == (None, "the post-processor puts 2 tokens before a text, and here there can be one")


@pytest.mark.parametrize(
    "processor",
    [3, [], {}, {"type": "Sequence"}, {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "^"}}]}],
)
def test_a_post_processor_that_is_none(processor):
    with pytest.raises(CheckpointError) as caught:
        start_token({"post_processor": processor}, {}, "t")
    assert str(caught.value) == "t: its post_processor cannot be read; expected one of the tokenizers package"


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "model", tokenizer=tokenizer_json(post_processor=template("^")))


def first_loss(checkpoint, tmp_path):
    """What a whole pass over a text loses at its first token."""
    (tmp_path / "text").write_text("ab\n", encoding="utf-8")
    return evaluate(checkpoint, text=tmp_path / "text").log_probs[0]


def test_the_choice_is_the_users(folder, tmp_path):
    losses = {}
    for start, expected in ((None, "^"), ("~", "~"), ("none", None)):
        done = convert(folder, tmp_path / f"{start}.npz", start=start)
        assert done.start == expected
        assert done.start_from == (POST if start is None else "--start")
        assert Checkpoint(tmp_path / f"{start}.npz").config["tokenizer"]["start"] == expected
        if expected:
            losses[expected] = first_loss(tmp_path / f"{start}.npz", tmp_path)
    assert losses["^"] != losses["~"]
    skipped = [
        evaluate(tmp_path / f"{start}.npz", text=tmp_path / "text", options=RunOptions(first_token="skip")).log_probs
        for start in (None, "~", "none")
    ]
    assert all(np.array_equal(each, skipped[0]) for each in skipped)


def test_the_command_says_which_token_it_is(folder, tmp_path, capsys):
    out = str(tmp_path / "m.npz")
    assert cli.main(["convert", str(folder), out]) == 0
    assert f"\nstart token: '^' ({POST})\n" in capsys.readouterr().out
    assert cli.main(["convert", str(folder), out, "--start", "none", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["start"], document["start_from"]) == (None, "--start")
    (tmp_path / "text").write_text("ab\n", encoding="utf-8")
    assert cli.main(["eval", "--checkpoint", out, "--text", str(tmp_path / "text"), "--quiet"]) == 2
    assert "convert --start TOKEN gives a model the token that it was trained with" in capsys.readouterr().err


def test_a_token_that_there_is_not(folder, tmp_path, capsys):
    assert cli.main(["convert", str(folder), str(tmp_path / "m.npz"), "--start", "<s>"]) == 2
    assert "m.npz: tokenizer.start is '<s>', which is not in the vocabulary" in capsys.readouterr().err
    assert not (tmp_path / "m.npz").exists()


def test_settings_that_name_no_token_are_said(folder, tmp_path):
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    settings = {"bos_token": "<s>", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    done = convert(folder, tmp_path / "m.npz")
    said = "add_bos_token in tokenizer_config.json names '<s>', which is no token"
    assert (done.start, done.start_from) == (None, said)
    assert convert(folder, tmp_path / "m.npz", start="^").start == "^"


def test_of_other_formats_too(tmp_path):
    (tmp_path / "model.bin").write_bytes(llama2c_model())
    (tmp_path / "tok.bin").write_bytes(llama2c_tokenizer())
    done = convert(tmp_path / "model.bin", tmp_path / "m.npz")
    assert (done.start, done.start_from) == ("\n<s>\n", "llama2.c, which begins every text so")
    assert convert(tmp_path / "model.bin", tmp_path / "m.npz", start="a").start == "a"
