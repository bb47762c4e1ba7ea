"""Dumps of TensorFlow's BasicLSTMCell: their loss is what it was there, and one that is damaged is refused."""

import json
from itertools import pairwise

import numpy as np
import pytest

import lm_meter
from lm_meter import Checkpoint, CheckpointError, RunOptions, cli, evaluate
from lm_meter.conversion.convert import convert

# Of the real model: characters of text.txt, 20,001 of which the first is only context.
FIRST, LAST = 100_000, 120_000
# By the model's original code, from a zero state.
MEAN_LOSS = 1.275111303
PERPLEXITY = 3.579100

CHARACTERS = "ab \n."
VOCABULARY, EMBEDDING, HIDDEN = len(CHARACTERS), 3, (4, 6)
CELL = "rnnlm/multi_rnn_cell/cell_{}/basic_lstm_cell/{}"
TEXT = "ab ba.\naab. b\n"


def variables():
    """Random variables of a small model, as its program names them."""
    rng = np.random.default_rng(5)
    shapes = {"embedding": (VOCABULARY, EMBEDDING), "rnnlm/softmax_w": (HIDDEN[-1], VOCABULARY)}
    shapes |= {"rnnlm/softmax_b": (VOCABULARY,), "Variable": ()}
    for layer, (inputs, units) in enumerate([(EMBEDDING, HIDDEN[0]), HIDDEN]):
        shapes[CELL.format(layer, "kernel")] = (inputs + units, 4 * units)
        shapes[CELL.format(layer, "bias")] = (4 * units,)
    return {name: rng.standard_normal(shape).astype("<f4") for name, shape in shapes.items()}


def dump(folder, values):
    """Write variables as a dump; returns its manifest."""
    folder.mkdir(exist_ok=True)
    manifest = {}
    for name, array in values.items():
        file = name.replace("/", "_")
        (folder / file).write_bytes(np.asarray(array).tobytes())
        manifest[name] = {"filename": file, "shape": list(np.shape(array))}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps({c: n for n, c in enumerate(CHARACTERS)}), encoding="utf-8")
    return manifest


@pytest.fixture
def folder(tmp_path):
    dump(tmp_path / "dump", variables())
    return tmp_path / "dump"


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference_log_probs(values, tokens):
    """The cell in float64 as TensorFlow documents it: each token's log-probability after the tokens before it."""
    values = {name: array.astype(np.float64) for name, array in values.items()}
    states = [(np.zeros(units), np.zeros(units)) for units in HIDDEN]
    found = []
    for token, following in pairwise(tokens):
        x = values["embedding"][token]
        for layer, (c, h) in enumerate(states):
            sums = np.concatenate([x, h]) @ values[CELL.format(layer, "kernel")] + values[CELL.format(layer, "bias")]
            i, j, f, o = np.split(sums, 4)
            c = sigmoid(f + 1.0) * c + sigmoid(i) * np.tanh(j)
            x = sigmoid(o) * np.tanh(c)
            states[layer] = c, x
        logits = x @ values["rnnlm/softmax_w"] + values["rnnlm/softmax_b"]
        found.append(logits[following] - np.log(np.exp(logits).sum()))
    return np.array(found)


def test_known_loss(shared_data, tmp_path):
    source = shared_data / "char-lstm" / "charlotte_bronte"
    done = convert(source, tmp_path / "model.npz")
    assert (done.source, done.tokens) == ("tensorflow", 64)
    assert (done.text, done.not_run) == ("the sample text", "what its vocabulary lacks is left out")  # "=" and "@"
    content = (source / "text.txt").read_bytes().decode("utf-8")[FIRST : LAST + 1]
    (tmp_path / "text").write_bytes(content.encode())

    result = evaluate(tmp_path / "model.npz", text=tmp_path / "text", options=RunOptions(first_token="skip"))

    assert result["text"]["scored"] == LAST - FIRST
    assert abs(result["nll_nats"] / (LAST - FIRST) - MEAN_LOSS) < 1e-6
    assert abs(result["perplexity"]["piece"] - PERPLEXITY) < 5e-7 + 1e-6 * PERPLEXITY


def test_a_small_model_says_what_the_cell_says(folder, tmp_path):
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    reference = reference_log_probs(variables(), [CHARACTERS.index(c) for c in TEXT])

    convert(folder, tmp_path / "m.npz")
    result = evaluate(tmp_path / "m.npz", text=tmp_path / "text", options=RunOptions(first_token="skip"))

    # Logits of up to 8, where float32 numbers are 2**-21 apart, and sums of up to 10 terms through two layers. With a
    # gate in the place of another, or without the added 1.0, some character is off by 0.4 or more.
    np.testing.assert_allclose(result.log_probs, reference, rtol=0, atol=4 * 2**-21)
    opened = Checkpoint(tmp_path / "m.npz")
    assert opened.config["dimensions"] == {"vocabulary": 5, "embedding": 3, "hidden": [4, 6], "projection": None}
    assert opened.config["origin"] == "lm-meter convert, from 'dump' (tensorflow)"


def test_the_command(folder, tmp_path, capsys):
    assert cli.main(["convert", str(folder), str(tmp_path / "m.npz")]) == 0
    printed = capsys.readouterr().out
    assert "(tensorflow)" in printed
    assert "mean loss of 64 predictions over the sample text, where what its vocabulary lacks is left out:" in printed


def test_a_vocabulary_without_a_character_of_the_sample_text(folder, tmp_path, capsys):
    (folder / "vocab.json").write_text(json.dumps({c: n for n, c in enumerate("αβγδε")}), encoding="utf-8")
    assert cli.main(["convert", str(folder), str(tmp_path / "m.npz")]) == 0
    assert (
        "nothing was run: the sample text: its vocabulary has nothing of it; expected a text" in capsys.readouterr().out
    )
    assert lm_meter.Checkpoint(tmp_path / "m.npz").model_config.vocabulary == 5


def without(name):
    return {key: array for key, array in variables().items() if key != name}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (without("embedding"), "manifest.json: has no variable embedding; expected a dump of BasicLSTMCell"),
        (without(CELL.format(0, "bias")), f"has no variable {CELL.format(0, 'bias')}; expected a dump of"),
        (without(CELL.format(1, "kernel")), "variable rnnlm/softmax_w has the shape [6, 5]; expected [4, 5]"),
        (
            variables() | {CELL.format(0, "kernel"): np.zeros((7, 12), "<f4")},
            f"variable {CELL.format(0, 'kernel')} has the shape [7, 12]; expected [7, 16]",
        ),
        (
            variables() | {CELL.format(0, "bias"): np.zeros(17, "<f4")},
            f"variable {CELL.format(0, 'bias')} has the shape [17]; expected [16]",
        ),
        (
            variables() | {CELL.format(0, "bias"): np.float32(0)},
            f"variable {CELL.format(0, 'kernel')} has the shape [7, 16]; expected [3, 0]",
        ),
        (
            variables() | {"embedding": np.zeros((6, 3), "<f4")},
            "manifest.json: variable embedding has the shape [6, 3]; expected [5, E]",
        ),
        (
            variables() | {"embedding": np.zeros(5, "<f4")},
            "manifest.json: variable embedding has the shape [5]; expected [5, E]",
        ),
        (
            variables() | {"rnnlm/projection_w": np.zeros((6, 5), "<f4")},
            "has a variable 'rnnlm/projection_w', which no plain BasicLSTMCell model has",
        ),
        (
            variables() | {"rnnlm/softmax_b": np.full(5, np.nan, "<f4")},
            "array softmax.bias has a NaN or infinite weight in row 0",
        ),
    ],
)
def test_variables_that_do_not_fit(values, message, tmp_path, capsys):
    dump(tmp_path / "dump", values)
    assert cli.main(["convert", str(tmp_path / "dump"), str(tmp_path / "m.npz")]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize(
    "entry",
    [
        {"filename": "../secret", "shape": [5, 3]},
        {"filename": "a\0b", "shape": [5, 3]},
        {"filename": 1, "shape": [5, 3]},
        {"filename": "embedding"},
        {"filename": "embedding", "shape": [5, -3]},
        {"filename": "embedding", "shape": [5, 3.0]},
        [5, 3],
    ],
)
def test_a_manifest_that_is_none(entry, folder, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(60))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps(manifest | {"embedding": entry}), encoding="utf-8")
    with pytest.raises(
        CheckpointError, match=r"variable embedding is .*; expected the filename of one beside it, and a shape"
    ):
        convert(folder, tmp_path / "m.npz")


@pytest.mark.parametrize(
    "numbers",
    [
        {"a": 0, "b": 1, "c": 2, "d": 3, "e": 5},
        {"a": 0, "b": 1, "c": 2, "d": 3, "ef": 4},
        {"a": 0, "b": "1"},
    ],
)
def test_a_vocabulary_that_is_none(numbers, folder, tmp_path):
    (folder / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"vocab.json: expected single characters numbered from 0 without a gap"):
        convert(folder, tmp_path / "m.npz")


def test_files_that_are_cut_off_or_missing(folder, tmp_path):
    (folder / "embedding").write_bytes(bytes(59))
    with pytest.raises(
        CheckpointError, match=r"embedding: has 59 bytes; manifest.json gives it float32 numbers of shape \[5, 3\]"
    ):
        convert(folder, tmp_path / "m.npz")
    (folder / "embedding").unlink()
    with pytest.raises(CheckpointError, match=r"embedding: cannot be read \(No such file or directory\)"):
        convert(folder, tmp_path / "m.npz")
    (folder / "manifest.json").write_text('{"basic_lstm_cell":', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"manifest.json: is not JSON \("):
        convert(folder, tmp_path / "m.npz")
    (folder / "manifest.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"manifest.json: is not JSON \("):
        convert(folder, tmp_path / "m.npz", "tensorflow")
    (folder / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="is not recognised as a model of one of llama2c, gguf"):
        convert(folder, tmp_path / "m.npz")


def test_a_tokenizer_that_is_not_needed(folder, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"--tokenizer .*: a TensorFlow dump has its own vocab.json; leave the opt"
    ):
        convert(folder, tmp_path / "m.npz", tokenizer=tmp_path / "t")
