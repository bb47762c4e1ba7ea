"""Lines and articles of the pieces of a text."""

import numpy as np

from lm_meter.checkpoint import Checkpoint
from lm_meter.defaults import default_checkpoint, sample_text
from lm_meter.text import text_from_bytes
from lm_meter.text_blocks import articles_of_lines, block_sums, lines_of_pieces
from lm_meter.tokenizers import Encoded, load_tokenizer


def _text(*lines):
    return text_from_bytes("".join(f"{line}\n" for line in lines).encode(), "t")


def _encoded(words):
    """Pieces in which so many word tokens begin, a byte each."""
    count, nothing = len(words), np.zeros(len(words), np.int32)
    numbers, sizes = np.arange(count, dtype=np.int32), np.ones(count, np.int32)
    return Encoded(numbers, np.array(words, np.int32), sizes, nothing, nothing, nothing, nothing)


def _words(text):
    """Each word and line end a piece of its own."""
    return _encoded([1] * text.word_tokens)


def test_pieces_stand_in_the_line_of_the_word_that_begins_in_them():
    text = _text("a b", "", "c", "d e f")
    assert lines_of_pieces(text, _words(text)).tolist() == [0, 0, 0, 1, 2, 2, 3, 3, 3, 3]


def test_pieces_inside_a_word_stand_with_it():
    text = _text("a b", "c")
    # a, b1, b2, end, c1, c2, end
    found = lines_of_pieces(text, _encoded([1, 1, 0, 1, 1, 0, 1]))
    assert found.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_a_piece_before_the_first_word_stands_in_the_first_line():
    text = _text("a")
    assert lines_of_pieces(text, _encoded([0, 1, 1])).tolist() == [0, 0, 0]


def test_articles_begin_with_titles_of_level_one_alone():
    part, formula = " = = Part = = ", " = a formula = "
    text = _text("before", "", " = One = ", "", "x", "", part, "", formula, "y", "", " = Two = ", "")
    assert articles_of_lines(text).tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2]  # before the first: with it
    assert articles_of_lines(_text("no", "", "title")).tolist() == [0, 0, 0]


def _sums(text, tokens):
    return block_sums(text, tokens, slice(0, tokens.tokens.size), np.arange(tokens.tokens.size) / 8)


def test_blocks_are_articles_where_there_are_enough_of_these():
    articles = [line for n in range(20) for line in ("", f" = Title {n} = ", "", "word")]
    few, many = _text(*articles[:72]), _text(*articles)
    unit, _, words = _sums(few, _words(few))
    assert (unit, words.size) == ("line", 72)
    unit, sums, words = _sums(many, _words(many))
    # Seven words or five are in an article, with the blank line before the next title: 1 + 5 + 1 + 2 - 1.
    number = np.arange(many.word_tokens)
    article = np.maximum((number - 1) // 9, 0)
    assert unit == "article"
    assert words[words > 0].tolist() == np.bincount(article).tolist()
    assert sums[words > 0].tolist() == np.bincount(article, number / 8).tolist()


def test_the_shipped_text_has_an_interval():
    """The sample's 107 lines, by the tokenizer of the shipped model."""
    text = sample_text()
    tokens = load_tokenizer(Checkpoint(default_checkpoint())).encode(text, "error")
    unit, _, words = _sums(text, tokens)
    assert (unit, words.size) == ("line", 107)
    assert (words > 0).all()


def test_wikitext_has_its_articles(shared_data):
    """The 60 that Merity et al. (2016) give for the test set."""
    raw = (shared_data / "wikitext-103" / "wiki.test.tokens").read_bytes()
    articles = articles_of_lines(text_from_bytes(raw, "t"))
    assert (articles.min(), articles.max()) == (1, 60)
