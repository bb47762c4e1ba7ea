"""Models of other programs: what they say is what the checkpoint says; what is damaged is refused."""

import numpy as np
import pytest
from llama2c_files import llama2c_model, llama2c_tokenizer

from lm_meter import Checkpoint, CheckpointError, TextError, cli
from lm_meter.checkpoint_arguments import SOURCE_NAMES
from lm_meter.conversion import convert as conversion
from lm_meter.conversion.convert import SOURCES, convert, inputs_of
from lm_meter.threads import ThreadTeam
from lm_meter.tokenizers import load_tokenizer


@pytest.fixture
def source(tmp_path):
    (tmp_path / "model.bin").write_bytes(llama2c_model())
    (tmp_path / "tok264.bin").write_bytes(llama2c_tokenizer())
    return tmp_path / "model.bin"


def test_stories260k_is_what_it_was(shared_data, tmp_path):
    """Known of this model: its loss over eight stories, and what it writes when it always takes the likeliest token."""
    folder = shared_data / "stories260K"
    done = convert(folder / "stories260K.bin", tmp_path / "m.npz")
    assert (done.source, done.tokens) == ("llama2c", 64)
    opened = Checkpoint(tmp_path / "m.npz")
    tokenizer, runtime = load_tokenizer(opened), opened.architecture.load(opened, ThreadTeam(1))
    runtime.reserve(64)

    total, predictions = 0.0, 0
    stories = (folder / "tinystories_sample.txt").read_text(encoding="utf-8").split("<|endoftext|>")[:8]
    for story in stories:
        (tmp_path / "story").write_text(story.strip(), encoding="utf-8")
        from lm_meter import read_text

        tokens = np.concatenate([[1], tokenizer.encode(read_text(tmp_path / "story")).tokens])[:512]
        runtime.reset()
        total -= runtime.run(tokens[:-1], tokens[1:], 64, runtime.new_tallies()).sum()
        predictions += tokens.size - 1
    assert predictions == 2705
    assert total / predictions == pytest.approx(1.292693, abs=1e-6)

    runtime.reset()
    token, written = 1, []
    for _ in range(200):
        runtime.run(np.array([token]), np.zeros(0, np.int64), 1, runtime.new_tallies())
        token = int(runtime.distribution(runtime.frozen(0)).argmax())
        if token == 1:
            break
        written.append(tokenizer.content(token, first=not written))
    assert b"".join(written) == (folder / "expected_greedy_200_tokens.txt").read_bytes()


@pytest.mark.parametrize("tied", [True, False])
def test_arrays_of_a_llama2c_model(tied, tmp_path):
    (tmp_path / "model.bin").write_bytes(llama2c_model(tied))
    (tmp_path / "tok.bin").write_bytes(llama2c_tokenizer())
    done = convert(tmp_path / "model.bin", tmp_path / "m.npz")
    opened, raw = Checkpoint(tmp_path / "m.npz"), np.frombuffer(llama2c_model(tied), "<f4", offset=28)
    values = {name: opened.view(opened.verified(name)) for name in opened.formats}
    # Embedding, then of both layers together: norms of 8, queries of 8 x 8, keys and values of 4 x 8, ...
    assert np.array_equal(values["embedding"].reshape(-1), raw[: 264 * 8])
    at = 264 * 8 + 2 * 8
    assert np.array_equal(values["layers.1.attention.query.weight"].reshape(-1), raw[at + 64 : at + 128])
    at += 2 * (64 + 32 + 32 + 64) + 2 * 8
    assert np.array_equal(values["layers.0.feed_forward.gate.weight"].reshape(-1), raw[at : at + 96])
    at += 2 * 96
    assert np.array_equal(values["layers.1.feed_forward.output.weight"].reshape(-1), raw[at + 96 : at + 192])
    # What its program has in its code and not in its file.
    assert (opened.model_config.epsilon, opened.model_config.positions.pairs) == (1e-5, "adjacent")
    assert ("softmax.weight" in values) == (not tied)
    if not tied:
        assert np.array_equal(values["softmax.weight"].reshape(-1), raw[-264 * 8 :])
    assert done.loss_nats > 0


def test_pieces_are_joined_by_their_scores_and_nothing_is_lost(source, tmp_path):
    from lm_meter import read_text

    convert(source, tmp_path / "m.npz")
    tokenizer = load_tokenizer(Checkpoint(tmp_path / "m.npz"))
    content = "abab é\n\nba "
    (tmp_path / "text").write_text(content, encoding="utf-8")
    encoded = tokenizer.encode(read_text(tmp_path / "text"))
    # " ab" has the highest score, then "ab"; é is its two bytes.
    assert [tokenizer.token(t) for t in encoded.tokens] == [
        " ab", "ab", " ", "<0xC3>", "<0xA9>", "<0x0A>", "<0x0A>", "b", "a", " ",
    ]  # fmt: skip
    assert encoded.sizes.tolist() == [2, 2, 1, 1, 1, 1, 1, 1, 1, 1]
    assert encoded.words.tolist() == [1, 0, 0, 1, 0, 1, 1, 1, 0, 0]
    written = [tokenizer.content(t, first=n == 0) for n, t in enumerate(encoded.tokens.tolist())]
    assert b"".join(written).decode() == content
    assert tokenizer.number("ab") == 262
    assert tokenizer.number("abab") is None


def test_the_command(source, tmp_path, capsys):
    assert cli.main(["convert", str(source), str(tmp_path / "m.npz")]) == 0
    printed = capsys.readouterr().out
    assert "(llama2c)" in printed
    assert "mean loss of 64 predictions over the sample text:" in printed
    assert tuple(SOURCES) == SOURCE_NAMES


def test_a_tokenizer_that_is_named(source, tmp_path, capsys):
    (tmp_path / "tok264.bin").rename(tmp_path / "elsewhere")
    assert cli.main(["convert", str(source), str(tmp_path / "m.npz"), "--tokenizer", str(tmp_path / "elsewhere")]) == 0
    assert load_tokenizer(Checkpoint(tmp_path / "m.npz")).size == 264


@pytest.mark.parametrize(
    ("model", "tokenizer", "message"),
    [
        (
            b"GGML" + bytes(100),
            llama2c_tokenizer(),
            "is not recognised as a model of one of llama2c, gguf, huggingface, tensorflow, word-language-model; "
            "it begins as none of them does; expected a model as one of these programs writes it",
        ),
        (
            None,
            llama2c_tokenizer(),
            "does not exist; expected a model of one of llama2c, gguf, huggingface, tensorflow",
        ),
        (llama2c_model()[:-4], llama2c_tokenizer(), "is not recognised as a model of one of llama2c"),
        (
            llama2c_model(),
            None,
            "beside it there is none, expected one tok*.bin; name it with --tokenizer",
        ),
        (
            llama2c_model(),
            llama2c_tokenizer()[:-1],
            "ends inside piece 263; expected a tokenizer file of llama2.c",
        ),
        (
            llama2c_model(),
            llama2c_tokenizer([(0.0, b"a")]),
            "has 1 pieces; expected 3 specials, the 256 bytes and others, a blank among them",
        ),
        (
            llama2c_model(vocabulary=300),
            llama2c_tokenizer(),
            "the tokenizer has 264 tokens; dimensions.vocabulary is 300",
        ),
    ],
)
def test_damaged_sources(model, tokenizer, message, tmp_path, capsys):
    if model is not None:
        (tmp_path / "model.bin").write_bytes(model)
    if tokenizer is not None:
        (tmp_path / "tok264.bin").write_bytes(tokenizer)
    assert cli.main(["convert", str(tmp_path / "model.bin"), str(tmp_path / "m.npz")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize("name", ["tok264.bin", "model.bin"])
def test_an_input_is_not_replaced(name, source, capsys):
    before = (source.parent / name).read_bytes()
    assert cli.main(["convert", str(source), str(source.parent / name)]) == 2
    assert "is an input of this run; choose another name" in capsys.readouterr().err
    assert (source.parent / name).read_bytes() == before


def test_a_folder_may_hold_the_checkpoint_that_is_made_of_it(tmp_path):
    for name in ("config.json", "model.npz"):
        (tmp_path / name).write_bytes(b"")
    assert inputs_of(tmp_path, None) == [tmp_path, tmp_path / "config.json"]


def test_what_cannot_be_tried_is_not_written(source, tmp_path, monkeypatch):
    def refuse(*_):
        raise TextError("refused")

    monkeypatch.setattr(conversion, "tried", refuse)
    (tmp_path / "m.npz").write_bytes(b"what was there")
    with pytest.raises(TextError, match="refused"):
        convert(source, tmp_path / "m.npz")
    assert (tmp_path / "m.npz").read_bytes() == b"what was there"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.npz", "model.bin", "tok264.bin"]


def test_a_named_format_is_looked_at_closely(source, tmp_path):
    source.write_bytes(bytes(28))
    with pytest.raises(CheckpointError, match=r"does not begin with the seven sizes of a llama2.c model; found \(0, "):
        convert(source, tmp_path / "m.npz", "llama2c")
    source.write_bytes(llama2c_model() + bytes(4))
    with pytest.raises(CheckpointError, match=r"has [0-9]+ bytes; its header \(8, 12, .*\) needs [0-9]+$"):
        convert(source, tmp_path / "m.npz", "llama2c")


def test_a_format_that_nobody_reads(source, tmp_path):
    from lm_meter import ConfigError

    with pytest.raises(ConfigError, match="--from is 'onnx'; expected one of llama2c, gguf"):
        convert(source, tmp_path / "m.npz", "onnx")


def test_a_source_that_cannot_be_read(tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing.bin: cannot be read \(No such file or directory\)"):
        convert(tmp_path / "nothing.bin", tmp_path / "m.npz", "llama2c")
