"""The trial run of a conversion judges and never blocks: what it could not run is said, and no loss is made up."""

import json

import numpy as np
import pytest
from huggingface_folders import llama_tensors, tokenizer_json, write_folder
from llama2c_files import llama2c_model, llama2c_tokenizer

from lm_meter import Checkpoint, cli
from lm_meter.conversion.convert import convert

pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

LETTERS = {chr(97 + n): n for n in range(26)} | {"^": 26}


@pytest.fixture
def command(tmp_path, capsys):
    """Converts a folder by the command: status, document or text of standard output, standard error."""

    def run(folder, *arguments):
        status = cli.main(["convert", str(folder), str(tmp_path / "m.npz"), *arguments])
        return status, *capsys.readouterr()

    return run


def lowering(tmp_path, **changes):
    """A model whose tokenizer changes its text."""
    return write_folder(tmp_path / "model", tokenizer=tokenizer_json(normalizer={"type": "Lowercase"}, **changes))


def test_a_vocabulary_of_27_characters(command, tmp_path):
    """The sample text has others: whatever a tokenizer does with them, there is a checkpoint."""
    tokenizer = json.loads(tokenizer_json())
    tokenizer["model"]["vocab"] = LETTERS
    tensors = llama_tensors(27)
    folder = write_folder(tmp_path / "model", tensors, json.dumps(tokenizer), vocab_size=27)
    status, printed, _ = command(folder, "--start", "^", "--format", "json")
    document = json.loads(printed)
    assert status == 0
    assert document["not_run"] is not None
    (tmp_path / "text").write_text("abc", encoding="utf-8")
    status, printed, _ = command(folder, "--start", "^", "--format", "json", "--text", str(tmp_path / "text"))
    document = json.loads(printed)
    assert (status, document["tokens"], document["text"], document["not_run"]) == (0, 3, str(tmp_path / "text"), None)
    assert document["loss_nats"] > 0


def test_a_text_that_cannot_be_encoded_is_no_obstacle(command, tmp_path, monkeypatch):
    from lm_meter import TextError
    from lm_meter.tokenizers import HuggingFaceTokenizer

    def refuse(self, text, oov="error"):
        raise TextError(f"{text.name}: cannot be had")

    monkeypatch.setattr(HuggingFaceTokenizer, "encode", refuse)
    folder = write_folder(tmp_path / "model")
    status, printed, _ = command(folder, "--format", "json")
    document = json.loads(printed)
    assert status == 0
    assert (document["tokens"], document["loss_nats"]) == (0, None)
    assert document["not_run"] == "the sample text: cannot be had"
    assert command(folder)[1].endswith("\nnothing was run: the sample text: cannot be had\n")
    assert Checkpoint(tmp_path / "m.npz").model_config.vocabulary == 128


@pytest.mark.parametrize(
    "changes",
    [
        {"truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}},
        {
            "padding": {
                "strategy": {"Fixed": 512}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0,
                "pad_type_id": 0, "pad_token": "\0",
            }
        },
    ],
    ids=["truncation", "padding"],
)  # fmt: skip
def test_settings_for_batches_change_nothing(changes, tmp_path):
    """The library asks for neither where it encodes a text."""
    plain = convert(write_folder(tmp_path / "model"), tmp_path / "m.npz", start="^")
    done = convert(write_folder(tmp_path / "other", tokenizer=tokenizer_json(**changes)), tmp_path / "n.npz", start="^")
    assert (done.tokens, done.loss_nats, done.not_run) == (64, plain.loss_nats, None)


def test_lower_casing_is_no_obstacle(command, tmp_path):
    status, printed, _ = command(lowering(tmp_path), "--format", "json")
    assert status == 0
    json.loads(printed)
    assert (tmp_path / "m.npz").exists()


def test_a_text_of_the_user_is_run(command, tmp_path):
    (tmp_path / "text").write_text("abc\n" * 40, encoding="utf-8")
    folder = write_folder(tmp_path / "model")
    _, printed, _ = command(folder, "--start", "^", "--text", str(tmp_path / "text"))
    assert f"mean loss of 64 predictions over {tmp_path / 'text'}: " in printed
    (tmp_path / "text").write_text("a", encoding="utf-8")
    _, printed, _ = command(folder, "--text", str(tmp_path / "text"))
    assert "nothing was run: it has fewer than two tokens\n" in printed


def test_a_text_that_is_not_there_is_found_before_anything_is_read(command, tmp_path):
    status, _, error = command(tmp_path / "none", "--text", str(tmp_path / "nothing"))
    assert status == 2
    assert "nothing: cannot be read (No such file or directory)" in error


def test_the_text_is_no_place_for_the_checkpoint(tmp_path, capsys):
    (tmp_path / "text").write_text("a\n", encoding="utf-8")
    folder = write_folder(tmp_path / "model")
    assert cli.main(["convert", str(folder), str(tmp_path / "text"), "--text", str(tmp_path / "text")]) == 2
    assert "is an input of this run; choose another name" in capsys.readouterr().err
    assert (tmp_path / "text").read_text(encoding="utf-8") == "a\n"


@pytest.mark.parametrize("kind", ["json", "text"])
def test_a_loss_that_is_no_number_is_no_success(kind, command, tmp_path):
    """The last norm's weights times anything are more than float32 holds."""
    tensors = llama_tensors()
    tensors["model.norm.weight"] = np.full(8, 3e38, np.float32)
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"] * np.float16(9)
    arguments = ["--format", "json"] if kind == "json" else []
    status, printed, error = command(write_folder(tmp_path / "model", tensors), "--start", "^", *arguments)
    assert (status, printed) == (2, "")
    assert error.count("\n") == 1
    assert (
        "m.npz: its loss at position 0 of the sample text is nan: the model overflows float32; there is no perplexity, "
        "and nothing was written; check the weights of the source\n"
    ) in error
    assert not (tmp_path / "m.npz").exists()


def test_the_document_of_a_conversion(tmp_path, capsys):
    (tmp_path / "model.bin").write_bytes(llama2c_model())
    (tmp_path / "tok.bin").write_bytes(llama2c_tokenizer())
    assert cli.main(["convert", str(tmp_path / "model.bin"), str(tmp_path / "m.npz"), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document) == [
        "source", "size", "start", "start_from", "notes", "tokens", "loss_nats", "text", "not_run",
    ]  # fmt: skip
    assert (document["tokens"], document["text"], document["not_run"]) == (64, "the sample text", None)
