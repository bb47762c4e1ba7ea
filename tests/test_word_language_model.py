"""State dicts of word_language_model: which array each tensor becomes, and what is refused."""

import numpy as np
import pytest
from state_dicts import WORDS, random_state, vocabulary

import lm_meter
from lm_meter import Checkpoint, CheckpointError, cli
from lm_meter.bfloat16 import to_bfloat16
from lm_meter.conversion import word_language_model
from lm_meter.conversion.convert import convert
from lm_meter.conversion.word_language_model import parts_of
from lm_meter.defaults import sample_text
from lm_meter.tokenizers import WordTokenizer, load_tokenizer


def parts(state, words=WORDS):
    return parts_of(state, WordTokenizer("\n".join(words), "words"), "state.pt", "words")


@pytest.fixture
def source(tmp_path):
    """A file that looks like a state dict of the example, beside a vocabulary."""
    vocabulary(tmp_path / "words")
    (tmp_path / "state.pt").write_bytes(b"\x80\x02rnn.weight_hh_l0")
    return tmp_path / "state.pt"


def test_arrays_of_an_lstm():
    state = random_state(layers=2)
    made = parts(state)
    assert list(made.arrays) == [
        "embedding", "lstm.0.weight", "lstm.0.bias", "lstm.1.weight", "lstm.1.bias", "softmax.weight", "softmax.bias",
        "tokenizer.words",
    ]  # fmt: skip
    assert np.array_equal(made.arrays["lstm.1.weight"][:, :4], state["rnn.weight_ih_l1"])
    assert np.array_equal(made.arrays["lstm.1.weight"][:, 4:], state["rnn.weight_hh_l1"])
    assert np.array_equal(made.arrays["lstm.1.bias"], state["rnn.bias_ih_l1"] + state["rnn.bias_hh_l1"])
    assert np.array_equal(made.arrays["embedding"], state["encoder.weight"])
    assert np.array_equal(made.arrays["softmax.weight"], state["decoder.weight"])
    assert made.config["architecture"] == "lstm"
    assert made.config["dimensions"] == {"vocabulary": 5, "embedding": 3, "hidden": [4, 4], "projection": None}
    assert made.config["bias"] == {"lstm": True, "projection": False, "softmax": True}
    specials = {"start": "<eos>", "end_of_line": "<eos>", "unknown": "<unk>"}
    assert made.config["tokenizer"] == {"kind": "word", **specials, "blanks": "unicode"}
    assert not made.config["tied"]


def test_arrays_of_a_gru():
    state = random_state("gru", layers=2)
    made = parts(state)
    for layer in (0, 1):
        for theirs, ours in (("ih", "input"), ("hh", "hidden")):
            for part in ("weight", "bias"):
                array = made.arrays[f"gru.{layer}.{ours}.{part}"]
                assert np.array_equal(array, state[f"rnn.{part}_{theirs}_l{layer}"])
    assert len(made.arrays) == 1 + 2 * 4 + 2 + 1
    assert made.config["architecture"] == "gru"
    assert made.config["bias"] == {"gru": True, "projection": False, "softmax": True}


def test_tied_is_what_is_equal_bit_for_bit():
    state = random_state(embedding=4, tied=True)
    made = parts(state | {"decoder.weight": state["encoder.weight"].copy()})
    assert made.config["tied"]
    assert "softmax.weight" not in made.arrays
    other = state["encoder.weight"].copy()
    other[0, 0] = np.nextafter(other[0, 0], np.float32(9))
    made = parts(state | {"decoder.weight": other})
    assert not made.config["tied"]
    assert np.array_equal(made.arrays["softmax.weight"], other)


@pytest.mark.parametrize("declared", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_halves_stay_halves_but_for_a_sum_of_biases(kind, declared, source, tmp_path, monkeypatch):
    wide = random_state(kind)
    state = {name: to_bfloat16(a) if declared == "bfloat16" else a.astype(np.float16) for name, a in wide.items()}
    monkeypatch.setattr(word_language_model, "read_torch_file", lambda path: state)
    convert(source, tmp_path / "m.npz", tokenizer=tmp_path / "words")
    opened = Checkpoint(tmp_path / "m.npz")
    formats = {name: entry.format for name, entry in opened.formats.items()}
    assert formats.pop("lstm.0.bias", "float32") == "float32"
    assert set(formats.values()) == {declared}
    embedding = opened.view(opened.verified("embedding"))
    assert np.array_equal(embedding.view(np.uint16), state["encoder.weight"].view(np.uint16))
    if kind == "lstm":
        # Two halves of up to 8 bits (11 in float16) behind the point: their sum in float32 is near the wide one.
        bias = opened.view(opened.verified("lstm.0.bias"))
        np.testing.assert_allclose(bias, wide["rnn.bias_ih_l0"] + wide["rnn.bias_hh_l0"], rtol=0, atol=2**-6)


def test_the_command(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(word_language_model, "read_torch_file", lambda path: random_state())
    command = ["convert", str(source), str(tmp_path / "m.npz"), "--tokenizer", str(tmp_path / "words")]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert "(word-language-model)" in printed
    first = [token for line in sample_text().content.split("\n") for token in [*line.split(), "<eos>"]][:64]
    unknown = sum(token not in WORDS for token in first)
    assert 0 < unknown < 64
    assert (
        f"64 predictions over the sample text, where {unknown} words that it does not know are replaced by" in printed
    )
    opened = Checkpoint(tmp_path / "m.npz")
    assert [load_tokenizer(opened).token(n) for n in range(5)] == list(WORDS)


def test_words_that_are_unknown_where_there_is_no_word_for_them(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(word_language_model, "read_torch_file", lambda path: random_state())
    vocabulary(tmp_path / "words", ["<eos>", "of", "the", "cat", "sat"])
    command = ["convert", str(source), str(tmp_path / "m.npz"), "--tokenizer", str(tmp_path / "words")]
    assert cli.main(command) == 0
    assert (
        "64 predictions over the sample text, where what its vocabulary lacks is left out:" in capsys.readouterr().out
    )
    assert Checkpoint(tmp_path / "m.npz").config["tokenizer"]["unknown"] is None


def test_a_vocabulary_with_line_ends_of_windows(source, tmp_path, monkeypatch):
    monkeypatch.setattr(word_language_model, "read_torch_file", lambda path: random_state())
    (tmp_path / "words").write_bytes("\r\n".join(WORDS).encode())
    convert(source, tmp_path / "m.npz", tokenizer=tmp_path / "words")
    assert load_tokenizer(Checkpoint(tmp_path / "m.npz")).number("sat") == 4


def without(name):
    return {key: array for key, array in random_state().items() if key != name}


ENCODER = {"encoder.layers.0.self_attn.in_proj_weight": np.zeros((9, 3), np.float32)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"pos_encoder.pe": np.zeros((5, 1, 3), np.float32), **ENCODER},
            "unknown architecture: has no tensor rnn.weight_hh_l0, but 'pos_encoder.pe'; expected an LSTM or a GRU of "
            "word_language_model",
        ),
        (
            random_state("rnn"),
            "unknown architecture: rnn.weight_hh_l0 has shape (4, 4); expected (4 H, H) of an LSTM or (3 H, H) of a "
            "GRU; a plain RNN, (H, H), is not known here",
        ),
        (random_state() | {"rnn.weight_hh_l0": np.zeros((15, 4), np.float32)}, "rnn.weight_hh_l0 has shape (15, 4)"),
        (random_state() | {"rnn.weight_hh_l0": np.zeros((8, 0), np.float32)}, "rnn.weight_hh_l0 has shape (8, 0)"),
        (
            random_state() | {"rnn.weight_hh_l0": np.zeros(16, np.float32)},
            "tensor rnn.weight_hh_l0 has shape (16,); expected (gates H, H)",
        ),
        (without("encoder.weight"), "has no tensor encoder.weight; expected a state dict of word_language_model"),
        (without("rnn.bias_hh_l0"), "has no tensor rnn.bias_hh_l0; expected"),
        (without("decoder.bias"), "has no tensor decoder.bias; expected"),
        (
            random_state() | {"rnn.weight_ih_l0": np.zeros((12, 3), np.float32)},
            "tensor rnn.weight_ih_l0 has shape (12, 3); expected (16, 3)",
        ),
        (
            random_state(layers=2) | {"rnn.weight_hh_l1": np.zeros((12, 4), np.float32)},
            "tensor rnn.weight_hh_l1 has shape (12, 4); expected (16, 4)",
        ),
        (
            random_state() | {"decoder.weight": np.zeros((5, 3), np.float32)},
            "tensor decoder.weight has shape (5, 3); expected (5, 4)",
        ),
        (
            random_state() | {"rnn.weight_ih_l0_reverse": np.zeros((16, 3), np.float32)},
            "has a tensor 'rnn.weight_ih_l0_reverse', which no model of word_language_model has",
        ),
        (
            random_state() | {"encoder.weight": np.zeros((6, 3), np.float32)},
            "words: has 5 words; the encoder of state.pt has 6 rows; expected a word for each",
        ),
    ],
)
def test_tensors_that_do_not_fit(state, message):
    with pytest.raises(CheckpointError) as caught:
        parts(state)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"the\n<unk>\n", "words: has no word <eos>, in which each line ends; expected the example's whole vocabulary"),
        (b"<eos>\nthe\nthe\n", "words: word 'the' appears twice in the vocabulary"),
        (b"<eos>\nthe 12\n", "words: line 2 is 'the 12'; expected one word a line, without blanks"),
        (b"<eos>\n\nthe\n", "words: line 2 is ''; expected one word a line, without blanks"),
        (b"<eos>\nth\xe9\n", "words: is not UTF-8 (byte 8); expected one word a line"),
        (None, "words: cannot be read (No such file or directory)"),
    ],
)
def test_vocabularies_that_are_none(content, message, source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(word_language_model, "read_torch_file", lambda path: random_state())
    (tmp_path / "words").unlink()
    if content is not None:
        (tmp_path / "words").write_bytes(content)
    command = ["convert", str(source), str(tmp_path / "m.npz"), "--tokenizer", str(tmp_path / "words")]
    assert cli.main(command) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "m.npz").exists()


def test_a_vocabulary_is_asked_for_last(source, tmp_path, monkeypatch, capsys):
    """After the tensors have been found to be those of such a model."""
    refused = "unknown architecture: rnn.weight_hh_l0 has shape (4, 4)"
    asked = (
        "state.pt: needs its vocabulary, which a state dict does not hold; name with --tokenizer a file with one word "
        "a line in the order of the model's numbers"
    )
    for kind, message in (("rnn", refused), ("lstm", asked)):
        monkeypatch.setattr(word_language_model, "read_torch_file", lambda path, kind=kind: random_state(kind))
        assert cli.main(["convert", str(source), str(tmp_path / "m.npz")]) == 2
        errors = capsys.readouterr().err
        assert message in errors
        assert errors.count("\n") == 1


def test_texts_are_cut_as_the_example_cuts_them(shared_cases, tmp_path):
    """Whatever stands between the words: 128 predictions, 571.851 nats of the example's own model in float64."""
    pytest.importorskip("torch")
    folder = shared_cases / "word-language-model-blanks"
    convert(folder / "state.pt", tmp_path / "m.npz", tokenizer=folder / "words.txt")
    options = lm_meter.RunOptions(first_token="skip", threads=1)
    for name in ("plain", "nbsp", "u2028", "ideographic", "x1c-x85"):
        result = lm_meter.evaluate(tmp_path / "m.npz", text=folder / f"{name}.txt", options=options)
        assert result["text"]["scored"] == 128
        assert result["nll_nats"] == pytest.approx(571.851, abs=5e-4)
        assert result["text"]["bytes"] - result["text"]["unscored_bytes"] <= 577  # those of blanks are not said
