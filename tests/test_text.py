"""Texts: WikiText's conventions, limits, and what is refused."""

import hashlib
import os

import pytest

from lm_meter import ConfigError, LmMeterError, TextError, read_text
from lm_meter.defaults import sample_text
from lm_meter.text import Text, as_text, first_words, text_from_bytes


def text(content):
    return text_from_bytes(content.encode(), "a text")


def test_every_line_ends_in_one_token():
    assert text("a b\nc\n").lines() == [(["a", "b"], True), (["c"], True)]
    assert text("a b\nc\n").word_tokens == 5  # a b <eos> c <eos>


def test_blank_lines_count():
    assert text("\n \na\n\n").lines() == [([], True), ([], True), (["a"], True), ([], True)]
    assert text("\n \na\n\n").word_tokens == 5  # four ends and one word


def test_a_last_line_without_newline_ends_all_the_same():
    assert text("a\nb").lines() == text("a\nb\n").lines()


def test_only_ascii_blanks_separate_words():
    """WikiText's words may contain Unicode's blanks and line separators."""
    words = ["a\u00a0b", "c\u2028d", "e\u3000f", "g\x85h", "i\x1cj"]

    assert text(" ".join(words)).lines() == [(words, True)]
    assert text("a\tb\fc\vd\re  f").lines() == [(list("abcdef"), True)]


def test_windows_line_ends_are_blanks():
    assert text("a b\r\nc\r\n").lines() == text("a b\nc\n").lines()


def test_the_hash_is_the_files(tmp_path):
    (tmp_path / "t").write_bytes("é\r\n".encode())

    read = read_text(tmp_path / "t")

    assert read.sha256 == hashlib.sha256("é\r\n".encode()).hexdigest()
    assert read.name == str(tmp_path / "t")


@pytest.mark.parametrize(
    ("limit", "lines"),
    [
        (1, [(["a"], False)]),
        (2, [(["a", "b"], False)]),
        (3, [(["a", "b"], True)]),
        (4, [(["a", "b"], True), ([], True)]),
        (5, [(["a", "b"], True), ([], True), (["c"], False)]),
        (6, [(["a", "b"], True), ([], True), (["c"], True)]),
        (7, [(["a", "b"], True), ([], True), (["c"], True)]),
    ],
)
@pytest.mark.parametrize("content", ["a b\n\nc\n", "a b\n\nc", " a  b \n \n c "])
def test_a_limit_cuts_behind_exactly_that_many_tokens(limit, lines, content):
    cut = first_words(text(content), limit)

    assert cut.lines() == lines
    assert cut.word_tokens == min(limit, 6)
    assert cut.sha256 == text(content).sha256


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing(limit):
    with pytest.raises(ConfigError, match=f"^limit is {limit}; expected 1 or more word tokens$"):
        first_words(text("a"), limit)


def test_missing(tmp_path):
    with pytest.raises(TextError) as caught:
        read_text(tmp_path / "none")

    expected = f"{tmp_path / 'none'}: cannot be read (No such file or directory); expected a UTF-8 text file"
    assert str(caught.value) == expected


def test_a_folder(tmp_path):
    with pytest.raises(TextError, match=r"cannot be read \(Is a directory\); expected a UTF-8 text file$"):
        read_text(tmp_path)


def test_not_utf8_names_line_and_byte():
    with pytest.raises(TextError) as caught:
        text_from_bytes(b"fine\nalso fine\ncaf\xe9\n", "latin.txt")

    assert str(caught.value) == "latin.txt: line 3: byte 18 is not UTF-8 (0xe9); convert the text to UTF-8"


def test_empty():
    with pytest.raises(TextError, match=r"^a text: the text is empty; expected at least one line$"):
        text("")


def test_the_sample_text_is_long_enough():
    assert sample_text().word_tokens >= 3000
    assert isinstance(sample_text(), Text)


@pytest.mark.parametrize(("split", "tokens", "unknown"), [("test", 245_569, 2_492), ("valid", 217_646, None)])
def test_wikitext_103(split, tokens, unknown, shared_data):
    """Published sizes of the splits, with one <eos> a line."""
    read = read_text(shared_data / "wikitext-103" / f"wiki.{split}.tokens")

    assert read.word_tokens == tokens
    if unknown is not None:
        assert sum(words.count("<unk>") for words, _ in read.lines()) == unknown


def test_a_file_name_that_is_not_utf8_does_not_spoil_the_result(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("a b\n", encoding="utf-8")
    assert read_text(path).name.encode("utf-8").endswith(b"caf?.txt")


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfthe cat\n", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_refused(content, tmp_path):
    path = tmp_path / "book.txt"
    path.write_bytes(content)
    with pytest.raises(TextError) as caught:
        read_text(path)
    assert str(caught.value) == (
        f"{path}: begins with a byte-order mark (U+FEFF, 3 bytes), which would be scored as part of its first word; "
        "remove it, as tail -c +4 does"
    )
    path.write_bytes(b"the\n\xef\xbb\xbf cat\n")  # elsewhere it is a character
    assert read_text(path).lines() == [(["the"], True), (["\ufeff", "cat"], True)]


def test_a_string_is_a_text():
    assert as_text("the cat\n").content == "the cat\n"
    assert as_text(text("the cat\n")) == text("the cat\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"the", "text is b'the'; expected a string, or what lm_meter.read_text returns"),
        (None, "text is None; expected a string, or what lm_meter.read_text returns"),
        ("", "the string: the text is empty; expected at least one line"),
        ("\ud800", "the string: line 1: byte 0 is not UTF-8 (0xed); convert the text to UTF-8"),
    ],
)
def test_what_is_no_text(given, message):
    with pytest.raises(LmMeterError) as caught:
        as_text(given)
    assert str(caught.value) == message


@pytest.mark.parametrize("given", [5, None, b"book.txt", ["book.txt"]])
def test_what_names_no_text(given):
    with pytest.raises(ConfigError) as caught:
        read_text(given)
    assert str(caught.value) == (f"text is {given!r}; expected the name of a file, or what lm_meter.read_text returns")
