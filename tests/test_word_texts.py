"""Word tokens of a text by bytes and as texts: those that its lines have, whatever the parts."""

import itertools
import random

import numpy as np
import pytest
from tiny import WORDS, tiny_parts

import lm_meter
from lm_meter import text as text_module
from lm_meter.pass_files import PassFiles
from lm_meter.record_table import label
from lm_meter.records import read_words
from lm_meter.text import first_words, text_from_bytes
from lm_meter.text_blocks import _line_ends
from lm_meter.word_texts import WordTexts


def _texts():
    rng = random.Random(4)
    yield f" = One = \n\ta\rbc\f\u00e9\u00a0x\n\n{'long' * 9} y"
    for _ in range(200):
        yield "".join(rng.choice("ab \n\n\t\u00e9\u732b\u2003\0") for _ in range(rng.randrange(1, 40)))


def _split(raw, sizes):
    return [raw[first:last].tobytes().decode() for first, last in itertools.pairwise([0, *np.cumsum(sizes).tolist()])]


@pytest.mark.parametrize("slab", [1, 5, 1 << 16])
def test_word_tokens_are_those_of_the_lines(slab, monkeypatch):
    monkeypatch.setattr(text_module, "_SLAB", slab)
    for content, end in itertools.product(_texts(), ["", "\n"]):
        whole = text_from_bytes((content + end).encode(), "t")
        for given in (whole, first_words(whole, 5)):
            lines = list(given.each_line())
            expected = [word for words, ended in lines for word in (*words, *["\n"] * ended)]
            assert list(WordTexts(given)) == expected
            assert [word for part in WordTexts(given).in_bytes() for word in _split(*part)] == expected
            assert _line_ends(given).tolist() == np.cumsum([len(words) + ended for words, ended in lines]).tolist()


def test_labels_of_words_in_records(tmp_path):
    """A character model: one row for several pieces. What is long, or holds a zero character, is written as a label."""
    characters = sorted({*"".join(WORDS), "\n", " ", "\0", "\u00e9"})
    config, arrays = tiny_parts(words=characters)
    config["tokenizer"] = {"kind": "characters"}
    arrays["tokenizer.characters"] = np.frombuffer("".join(characters).encode(), np.uint8)
    del arrays["tokenizer.words"]
    lm_meter.write_checkpoint(tmp_path / "m.npz", config, arrays)
    words = ["the", "\u00e9" * 300, "c\0t", "cat", "\n", "mat"]
    (tmp_path / "text").write_text(" ".join(words).replace(" \n ", "\n"), encoding="utf-8")
    options, files = lm_meter.RunOptions(first_token="skip"), PassFiles(records=tmp_path / "r.npz")
    lm_meter.evaluate(tmp_path / "m.npz", text=tmp_path / "text", options=options, files=files)
    assert list(read_words(tmp_path / "r.npz").text) == [label(word) for word in words]
