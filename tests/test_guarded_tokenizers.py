"""Tokenizers that take all memory or time, abort, panic or refuse a text: each is an error of one line."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from entry_programs import is_gone
from tiny import sentencepiece_model

from lm_meter import CheckpointError, ConfigError, TextError
from lm_meter.tokenizers import guarded
from lm_meter.tokenizers.guarded import GuardedPieces, GuardedTokenizer
from lm_meter.tokenizers.limited_child import Limits

pytest.importorskip("tokenizers")
ABORTED = (
    r"the package \w+ (runs out of memory|is ended by signal 6 \(Aborted\)) when it runs the tokenizer; it may take"
)


def tokenizer_json(**changes):
    """Single ASCII characters."""
    model = {"type": "BPE", "vocab": {chr(n): n for n in range(128)}, "merges": []}
    return json.dumps({"version": "1.0", "model": model, "decoder": {"type": "Fuse"}, **changes}).encode()


def replacing(what, by, times=1):
    one = {"type": "Replace", "pattern": {"String": what}, "content": by}
    return {"normalizer": {"type": "Sequence", "normalizers": [one] * times}}


PADDING = {
    "strategy": {"Fixed": 3_000_000_000}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
    "pad_type_id": 0, "pad_token": "!",
}  # fmt: skip
TRUNCATION = {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}


@pytest.mark.parametrize("settings", [{}, {"padding": PADDING}, {"truncation": TRUNCATION}])
def test_every_character_is_a_token_whatever_padding_and_truncation_say(settings):
    model = GuardedTokenizer(tokenizer_json(**settings), "m.npz")
    found = model.encode("a cat\n")
    assert found.ids.tolist() == [ord(c) for c in "a cat\n"]
    assert found.begins.tolist() == list(range(6))
    assert found.ends.tolist() == list(range(1, 7))
    assert model.decode(found.ids) == "a cat\n"
    assert (model.tokens, model.numbers["a"]) == ([chr(n) for n in range(128)], 97)
    assert json.loads(model.settings())["padding"] is json.loads(model.settings())["truncation"] is None


@pytest.mark.parametrize(
    "changes",
    [
        replacing("a", "a" * 1000, 4),
        {"decoder": {"type": "Sequence", "decoders": replacing("a", "a" * 1000, 4)["normalizer"]["normalizers"]}},
    ],
    ids=["normalizer", "decoder"],
)
def test_one_that_writes_more_than_there_is_memory_is_refused_when_it_is_opened(changes):
    with pytest.raises(
        CheckpointError, match=rf"m.npz: tokenizer.json: {ABORTED} 512 MB and 10 s of a processor for that"
    ):
        GuardedTokenizer(tokenizer_json(**changes), "m.npz")


def test_one_that_does_so_at_a_rare_letter_is_refused_there_and_can_be_used_again():
    model = GuardedTokenizer(tokenizer_json(**replacing("q", "q" * 1000, 4)), "m.npz")
    with pytest.raises(CheckpointError, match=ABORTED):
        model.encode("a queue")
    assert model.encode("a line").ids.tolist() == [ord(c) for c in "a line"]


def test_one_that_writes_many_tokens_for_a_character():
    """Each is 24 bytes of an answer: number, begin and end."""
    model = GuardedTokenizer(tokenizer_json(**replacing("q", "q" * 60)), "m.npz")
    assert model.encode("q").ids.size == 60
    with pytest.raises(
        CheckpointError, match=r"makes 288000\d\d bytes of 20000 when it runs the tokenizer; at most 4888576"
    ):
        model.encode("q" * 20000)


def test_one_that_takes_too_long(monkeypatch):
    """A cube of the text's length at each of its characters."""
    split = {"type": "Split", "pattern": {"Regex": r"a*a*a*\d"}, "behavior": "Isolated", "invert": False}
    model = GuardedTokenizer(tokenizer_json(pre_tokenizer=split), "m.npz")
    monkeypatch.setattr(guarded, "_running", lambda *_: Limits(1 << 29, 1, 1 << 20))
    begun = time.monotonic()
    with pytest.raises(
        CheckpointError, match=r"takes too long when it runs the tokenizer; it may take 512 MB and 1 s of"
    ):
        model.encode("a" * 390 + "!")
    assert time.monotonic() - begun < 120


def test_a_text_is_not_read_within_the_limits_of_the_one_before():
    model = GuardedTokenizer(tokenizer_json(model={"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}), "m.npz")
    model._child.ask("encoded", b"a", Limits(4 << 20, 1, 1 << 20))
    assert model.encode("a" * (16 << 20)).ends.tolist() == [16 << 20]


WORD_LEVEL = {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "?"}}
WORD_PIECE = {
    "model": {
        "type": "WordPiece", "vocab": {"a": 0}, "unk_token": "?", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 9,
    }
}  # fmt: skip
PANICS = {
    "pre_tokenizer": {
        "type": "Split",
        "pattern": {"Regex": "(x|x|xx)+$(?<!y)"},
        "behavior": "Isolated",
        "invert": False,
    }
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (WORD_LEVEL, "WordLevel error: Missing [UNK] token"),
        (WORD_PIECE, "WordPiece error: Missing [UNK] token"),
        (PANICS, "retry-limit-in-match over"),
    ],
    ids=["WordLevel", "WordPiece", "panic"],
)
def test_a_text_that_the_library_refuses(changes, reason):
    model = GuardedTokenizer(tokenizer_json(**changes), "m.npz")
    with pytest.raises(TextError) as caught:
        model.encode("x" * 60 + "!")
    assert str(caught.value).startswith("m.npz: tokenizer.json cannot be run over this text (")
    assert reason in str(caught.value)


_PAIRS = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "é": 3}, "merges": [["a", "b"]]}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {**_PAIRS, "continuing_subword_prefix": "##"}},
        {"model": {"type": "Unigram", "unk_id": 5, "vocab": [["a", 0.0]]}},
        {"normalizer": json.loads('{"type":"Sequence","normalizers":[' * 200 + "]}" * 200)},
    ],
    ids=["panic", "exception", "depth"],
)
def test_one_that_cannot_be_opened(changes):
    """The first one panics: the library takes a prefix of two bytes from a token of one."""
    with pytest.raises(CheckpointError, match=r"^m.npz: tokenizer.json cannot be read \([^\n]+\)$"):
        GuardedTokenizer(tokenizer_json(**changes), "m.npz")


def test_one_that_aborts_while_it_is_opened():
    """A panic during a panic: the library ends the process."""
    model = {**_PAIRS, "merges": [["a", "é"]], "continuing_subword_prefix": "#"}
    with pytest.raises(
        CheckpointError, match=r"m.npz: tokenizer.json: the package tokenizers is ended by signal \d+ .* when it"
    ):
        GuardedTokenizer(tokenizer_json(model=model), "m.npz")


def test_what_is_too_large_to_be_one():
    with pytest.raises(CheckpointError, match=r"m: tokenizer.json has 134217729 bytes; expected at most 134217728"):
        GuardedTokenizer(bytes((1 << 27) + 1), "m")


@pytest.mark.parametrize("columns", [(128, 0, 1), (-1, 0, 1), (0, 0, 3), (0, 2, 1), (0, -1, 1)])
def test_tokens_that_there_are_not_or_outside_of_the_text(columns, monkeypatch):
    model = GuardedTokenizer(tokenizer_json(), "m.npz")
    answer = 1, memoryview(np.array(columns, np.int64).tobytes())
    monkeypatch.setattr(model._child, "ask", lambda *_: answer)
    message = "makes a token that it does not have, or that lies outside of the text"
    with pytest.raises(CheckpointError, match=message):
        model.encode("ab")


def test_no_process_is_left():
    model = GuardedTokenizer(tokenizer_json(), "m.npz")
    process = model._child._process
    assert process.poll() is None
    del model
    assert process.poll() is not None


def test_an_interrupted_question_is_not_the_next_ones_answer(monkeypatch):
    model = GuardedTokenizer(tokenizer_json(), "m.npz")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model._child, "_exchanged", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.encode("a")
    assert model.encode("b").ids.tolist() == [98]


def test_a_process_that_cannot_be_started_or_ends(monkeypatch):
    def failing(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", failing)
        message = r"m: tokenizer.json: no process can be started in which its library would run \(Resource temp"
        with pytest.raises(ConfigError, match=message):
            GuardedTokenizer(tokenizer_json(), "m")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(
        CheckpointError, match=r"the package tokenizers ends with exit status 1 when it opens the tokenizer"
    ):
        GuardedTokenizer(tokenizer_json(), "m")


# SentencePiece


def test_pieces_of_lines_and_what_they_stand_for():
    import sentencepiece

    raw = sentencepiece_model()
    reference = sentencepiece.SentencePieceProcessor(model_proto=raw)
    model, lines = GuardedPieces(raw, "m.npz"), ["the cat sat", "", "Ünïcode é"]
    size = reference.get_piece_size()
    assert model.pieces == [reference.id_to_piece(n) for n in range(size)]
    assert model.bytes == [n for n in range(size) if reference.is_byte(n)]
    assert model.unknown == reference.unk_id()
    assert model.encode(lines) == reference.encode(lines)
    assert model.decode(model.encode(lines)) == lines
    assert model.written(lines) == reference.encode(lines, out_type=str)


def test_a_model_that_writes_more_than_there_is_memory(tmp_path):
    """Its normalizer makes a hundred thousand letters of one."""
    import io

    import sentencepiece

    (tmp_path / "rules.tsv").write_text("71\t" + " ".join(["71"] * 100_000) + "\n", encoding="utf-8")
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d the cat"] * 9), model_writer=written, vocab_size=12, model_type="char",
        normalization_rule_tsv=str(tmp_path / "rules.tsv"), minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    model = GuardedPieces(written.getvalue(), "m.npz")
    with pytest.raises(CheckpointError, match=rf"m.npz: tokenizer.model: ({ABORTED}|the package sentencepiece makes)"):
        model.encode(["q" * 20_000])


def test_texts_that_are_no_models():
    for raw in (b"", b"\x0a\xff\xff\xff\xff\x7f", np.random.default_rng(1).bytes(300)):
        with pytest.raises(CheckpointError, match=r"^m: tokenizer.model is not a SentencePiece model \([^\n]*\)$"):
            GuardedPieces(raw, "m")


def test_limits_are_more_than_published_models_take():
    """Of 33 MB, 262,144 tokens, and a text of 1.3 MB: measured are 220 MB and 2 s, and 180 MB and 2 s."""
    opening, running = guarded._opening(bytes(8 << 20)), guarded._running(bytes(1_300_000), 0)
    assert opening.memory >= 2 * (220 << 20)
    assert running.memory >= 2 * (180 << 20)
    assert min(opening.seconds, running.seconds) >= 10


_BUSY = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
import worker
threading.Thread(target=worker._end_with, args=(os.getppid(),), daemon=True).start()
print(os.getpid(), flush=True)
while True:
    pass
"""


def test_a_busy_process_ends_after_its_parent_does():
    """By SIGKILL, too: then nothing tells the process that nobody waits for its answer."""
    folder = str(Path(guarded.__file__).parent)
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_BUSY!r}, {folder!r}])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        busy = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        # Its end of the pipe is closed when it ends, and only then.
        assert parent.stdout.read() == b""
    assert is_gone(busy)
