"""Tokenizers: nothing of a text is lost, unknown words are an error or counted, and the vocabulary is checked."""

import functools

import numpy as np
import pytest
from tiny import CHARACTERS, TEXT, WORDS, sentencepiece_model, tiny_parts

from lm_meter import Checkpoint, CheckpointError, ConfigError, TextError, read_text, write_checkpoint
from lm_meter.text import Text, first_words, text_from_bytes
from lm_meter.tokenizers import PieceTokenizer, Specials, load_tokenizer


def text(content):
    return text_from_bytes(content.encode(), "a text")


@pytest.fixture
def tokenizer(tmp_path):
    """Makes a tokenizer of any kind by way of a checkpoint, parts of its configuration replaced."""

    def make(kind, /, raw=None, words=None, **entries):
        config, arrays = tiny_parts(kind=kind, words=words, embedding=2, hidden=(2,))
        config["tokenizer"] |= entries
        if raw is not None:
            arrays[next(name for name in arrays if name.startswith("tokenizer."))] = np.frombuffer(raw, np.uint8)
        write_checkpoint(tmp_path / "model.npz", config, arrays)
        return load_tokenizer(Checkpoint(tmp_path / "model.npz"))

    return make


def refusal(make, *arguments, **entries):
    with pytest.raises(CheckpointError) as caught:
        make(*arguments, **entries)
    message = str(caught.value)
    assert "\n" not in message
    return message.split("model.npz: ", 1)[1]


# words


def test_words_are_numbered_as_in_the_vocabulary(tokenizer):
    made = tokenizer("word")
    the, cat, eos = (WORDS.index(word) for word in ("the", "cat", "<eos>"))

    encoded = made.encode(text("the cat\n\n cat \n"))

    assert encoded.tokens.tolist() == [the, cat, eos, eos, cat, eos]
    assert [made.token(number) for number in encoded.tokens[:3]] == ["the", "cat", "<eos>"]
    assert made.number("cat") == cat
    assert made.specials == Specials(start=eos, end_of_line=eos, unknown=WORDS.index("<unk>"))


def test_words_have_the_bytes_since_the_token_before(tokenizer):
    """Of " the  Ünïcode\\n\\n": 1 + 3, 2 + 9 (two letters have two bytes), 1, 1; joined, it has two bytes fewer."""
    encoded = tokenizer("word").encode(text(" the  Ünïcode\n\n"))

    assert encoded.words.tolist() == [1, 1, 1, 1]
    assert encoded.sizes.tolist() == [4, 11, 1, 1]
    assert encoded.unscored.tolist() == [1, 1, 0, 0]


def test_an_unknown_word_is_named_with_its_line(tokenizer):
    with pytest.raises(TextError) as caught:
        tokenizer("word").encode(text("the cat\nthe zebra sat\nthe lion\n"))

    assert str(caught.value) == (
        "a text: line 2: word 'zebra' is not in the checkpoint's vocabulary; --oov unk replaces such words by <unk>"
    )


def test_without_an_unknown_token_there_is_no_such_hint(tokenizer):
    made = tokenizer("word", unknown=None)

    with pytest.raises(TextError, match=r"word 'zebra' is not in the checkpoint's vocabulary$"):
        made.encode(text("zebra"))


def test_unknown_words_are_replaced_and_counted(tokenizer):
    encoded = tokenizer("word").encode(text("a zebra\nzebra <unk>\n"), oov="unk")
    a, unknown, eos = (WORDS.index(word) for word in ("a", "<unk>", "<eos>"))

    assert encoded.tokens.tolist() == [a, unknown, eos, unknown, unknown, eos]
    assert encoded.replaced.tolist() == [0, 1, 0, 1, 0, 0]  # the text's own <unk> is an ordinary word


@pytest.mark.parametrize("kind", ["word", "characters", "sentencepiece"])
def test_no_word_can_be_replaced_without_an_unknown_token(kind, tokenizer):
    made = tokenizer(kind, unknown=None)

    with pytest.raises(ConfigError) as caught:
        made.encode(text("the cat"), oov="unk")

    assert str(caught.value) == (
        "oov is unk, but the checkpoint's vocabulary has no unknown token; leave the option away"
    )


# characters


def test_characters_are_numbered_as_in_the_vocabulary(tokenizer):
    encoded = tokenizer("characters").encode(text("aé\n"))

    assert encoded.tokens.tolist() == [CHARACTERS.index(c) for c in "aé\n"]
    assert encoded.sizes.tolist() == [1, 2, 1]


def test_a_character_begins_a_word_behind_a_blank_or_ends_a_line(tokenizer):
    encoded = tokenizer("characters").encode(text(" ab  c\n\n"))

    assert encoded.words.tolist() == [0, 1, 0, 0, 0, 1, 1, 1]


def test_a_missing_last_newline_is_not_predicted_by_characters(tokenizer):
    """A word model predicts the end of the last line in any case; characters are those of the file."""
    assert tokenizer("characters").encode(text("ab c")).words.sum() == text("ab c").word_tokens - 1


def test_an_unknown_character_is_named_with_its_line(tokenizer):
    with pytest.raises(TextError, match=r"^a text: line 2: character 'Q' is not in the checkpoint's vocabulary$"):
        tokenizer("characters").encode(text("a\nbQ\n"))


# SentencePiece


def test_pieces_give_the_line_back(tokenizer):
    made = tokenizer("sentencepiece")
    content = "the cat sat\n zebra… 'the' Ünïcode 猫 \n"
    encoded = made.encode(text(content))

    eos = made.number("<eos>")
    assert encoded.tokens[-1] == eos
    assert (encoded.tokens == eos).sum() == 2
    assert encoded.words.sum() == 3 + 1 + 4 + 1
    assert encoded.sizes.sum() == len(content.encode())
    assert encoded.unscored.sum() == 2  # the blanks at either end of the second line
    assert encoded.replaced.sum() == encoded.lost.sum() == 0


def test_what_a_model_normalises_is_lost():
    """NFKC writes the ligatures as two letters, and so another text has the same pieces: an easier one."""
    pieces = PieceTokenizer(sentencepiece_model(normalization="nfkc"), "model.npz")
    pieces.specials = Specials(3, 3, None)

    encoded, other = pieces.encode(text("the cat\n \ufb01re \ufb06\n")), pieces.encode(text("the cat\nfire st\n"))

    assert encoded.tokens.tolist() == other.tokens.tolist()
    assert encoded.sizes.sum() == len("the cat\n \ufb01re \ufb06\n".encode())
    assert encoded.words.tolist() == other.words.tolist()
    assert (encoded.lost.sum(), other.lost.sum()) == (2, 0)


def test_a_blank_sign_in_the_text_is_lost(tokenizer):
    """It becomes a blank, so that the text may be two words as well as this one of seven letters."""
    encoded = tokenizer("sentencepiece").encode(text("the\u2581cat\n"))
    assert encoded.words.sum() == 2
    assert encoded.lost.sum() > 0


class _Deaf:
    """A SentencePiece model that says nothing of a line, or something else."""

    def __init__(self, model, pieces):
        self._model, self._pieces = model, pieces
        self.unknown = model.unknown

    def encode(self, lines):
        return [self._pieces for _ in lines]

    def written(self, lines):
        return [[self._model.pieces[piece] for piece in self._pieces] for _ in lines]

    def normalised(self, line):
        return self._model.normalised(line) if self._pieces else ("", [0])


@pytest.mark.parametrize("said", [[], [265]], ids=["nothing", "another word"])
def test_pieces_of_something_else_are_refused(said):
    pieces = PieceTokenizer(sentencepiece_model(), "model.npz")
    pieces.specials = Specials(3, 3, None)
    pieces._model = _Deaf(pieces._model, said)

    with pytest.raises(TextError) as caught:
        pieces.encode(text("the cat sat\n"))

    assert str(caught.value) == (
        "a text: line 1: the pieces of the checkpoint's SentencePiece model are not those of the line; expected pieces "
        "that cover it"
    )


@functools.cache
def model_without_bytes():
    return sentencepiece_model(byte_fallback=False)


def test_a_character_without_a_piece_is_named(tokenizer):
    pieces = PieceTokenizer(model_without_bytes(), "model.npz")
    pieces.specials = Specials(None, end_of_line=2, unknown=0)

    with pytest.raises(TextError) as caught:
        pieces.encode(text("the cat\nthe 猫 sat\n"))

    assert str(caught.value) == (
        "a text: line 2: character '猫' is not in the checkpoint's vocabulary; --oov unk replaces such words by <unk>"
    )


def test_characters_without_a_piece_are_replaced_and_counted():
    pieces = PieceTokenizer(model_without_bytes(), "model.npz")
    pieces.specials = Specials(None, end_of_line=2, unknown=0)

    encoded = pieces.encode(text("the 猫 sat\n"), oov="unk")

    unknown = encoded.tokens == 0
    assert unknown.sum() == 1
    assert np.array_equal(encoded.replaced, unknown)
    assert encoded.sizes[unknown].tolist() == [len("猫".encode())]
    assert encoded.lost.tolist() == unknown.tolist()
    assert encoded.words.sum() == 4
    assert encoded.sizes.sum() == len("the 猫 sat\n".encode())
    assert encoded.sizes.min() >= 0


def test_an_unknown_character_does_not_hide_that_the_model_normalises_its_line():
    pieces = PieceTokenizer(sentencepiece_model(byte_fallback=False, normalization="nfkc"), "model.npz")
    pieces.specials = Specials(None, end_of_line=2, unknown=0)

    encoded = pieces.encode(text("the 猫 \ufb06 on\n"), oov="unk")

    assert (encoded.lost.sum(), encoded.replaced.sum()) == (2, 1)


def test_words_that_one_unknown_piece_swallows_are_counted_each():
    """Without a piece for the blank, unknown characters and the blanks between them are one piece: 3 words of 4."""
    pieces = PieceTokenizer(_without_blank(model_without_bytes()), "model.npz")
    pieces.specials = Specials(None, end_of_line=2, unknown=0)

    encoded = pieces.encode(text("the 猫 犬 鳥\n"), oov="unk")

    assert encoded.replaced.sum() == 1
    assert encoded.replaced_words.sum() == 3


def _without_blank(model):
    """A model whose piece for a blank alone is another sign."""
    return model.replace(b"\n\x03\xe2\x96\x81\x15", b"\n\x03\xe2\x96\x82\x15")


# all kinds


@pytest.mark.parametrize("kind", ["word", "characters", "sentencepiece"])
@pytest.mark.parametrize("limit", range(1, 24))
def test_a_limited_text_has_the_first_tokens_of_the_whole(kind, limit, tokenizer):
    made = tokenizer(kind)
    whole, part = made.encode(text(TEXT)), made.encode(first_words(text(TEXT), limit))

    assert part.words.sum() == limit
    np.testing.assert_array_equal(part.tokens, whole.tokens[: len(part.tokens)])


@pytest.mark.parametrize("kind", ["word", "characters", "sentencepiece"])
def test_sums_are_the_texts(kind, tokenizer):
    encoded = tokenizer(kind).encode(text("the cat sat\n\nthe mat .\n"))

    assert encoded.words.sum() == 3 + 1 + 1 + 3 + 1
    assert encoded.sizes.sum() == len("the cat sat\n\nthe mat .\n")
    assert encoded.tokens.dtype == encoded.words.dtype == encoded.sizes.dtype == encoded.replaced.dtype == np.int32


@pytest.mark.parametrize("kind", ["word", "characters", "sentencepiece"])
def test_an_empty_text_has_no_tokens(kind, tokenizer):
    encoded = tokenizer(kind).encode(Text("nothing", "", np.zeros(0, np.uint8)))
    for column in (encoded.tokens, encoded.words, encoded.sizes, encoded.unscored, encoded.lost, encoded.replaced):
        assert column.size == 0


@pytest.mark.parametrize("kind", ["bytes", None, ["word"]])
def test_an_unknown_kind(kind, tokenizer):
    expected = f"tokenizer.kind is {kind!r}; expected one of word, sentencepiece, characters, llama2c, huggingface"
    assert refusal(tokenizer, "word", kind=kind) == expected


def test_what_separates_words_is_known(tokenizer):
    expected = "tokenizer.blanks is 'tabs'; expected one of ascii, unicode"
    assert refusal(tokenizer, "word", blanks="tabs") == expected


@pytest.mark.parametrize(("kind", "key"), [("word", "blank"), ("sentencepiece", "blanks"), ("word", "add_bos")])
def test_an_entry_of_a_tokenizer_that_has_no_meaning(kind, key, tokenizer):
    expected = f"tokenizer.{key} has no meaning; expected one of kind, start, end_of_line, unknown, tokens"
    assert refusal(tokenizer, kind, **{key: "unicode"}) == expected


@pytest.mark.parametrize("kind", ["word", "characters"])
def test_a_vocabulary_that_is_not_utf8(kind, tokenizer):
    name = {"word": "words", "characters": "characters"}[kind]
    assert refusal(tokenizer, kind, raw=b"ab\xff") == f"tokenizer.{name} is not UTF-8 (byte 2)"


@pytest.mark.parametrize(("raw", "size"), [(b"", 0), (b"<eos>\n<unk>\n", 2), (b"<eos>\n\n<unk>", 3)])
def test_a_vocabulary_of_another_size(raw, size, tokenizer):
    assert refusal(tokenizer, "word", raw=raw) == (
        f"the tokenizer has {size} tokens; dimensions.vocabulary is {len(WORDS)}; they must agree"
    )


@pytest.mark.parametrize(
    ("kind", "raw", "what"), [("word", b"a\nb\na", "word 'a'"), ("characters", "ébé".encode(), "character 'é'")]
)
def test_a_vocabulary_with_a_token_twice(kind, raw, what, tokenizer):
    assert refusal(tokenizer, kind, raw=raw) == f"{what} appears twice in the vocabulary"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no protocol buffer",
        sentencepiece_model()[:100],
        sentencepiece_model().replace(b"<0x41>", b"<0\xff41>"),  # the library's own message is then not UTF-8
        sentencepiece_model().replace("▁cat".encode(), b"\xe2\x96\x81\xffat"),
    ],
    ids=["empty", "text", "cut", "byte piece", "piece"],
)
def test_what_is_no_sentencepiece_model(raw, tokenizer):
    assert refusal(tokenizer, "sentencepiece", raw=raw).startswith("tokenizer.model is not a SentencePiece model (")


@pytest.mark.parametrize("role", ["start", "end_of_line", "unknown"])
@pytest.mark.parametrize("token", ["zebra", "", 3, ["the"], True])
@pytest.mark.parametrize("kind", ["word", "sentencepiece"])
def test_a_special_token_that_is_not_in_the_vocabulary(role, token, kind, tokenizer):
    expected = f"tokenizer.{role} is {token!r}, which is not in the vocabulary"
    assert refusal(tokenizer, kind, **{role: token}) == expected


@pytest.mark.parametrize("kind", ["word", "sentencepiece"])
def test_lines_need_an_end(kind, tokenizer):
    expected = "tokenizer.end_of_line is missing; lines end in a token for this kind"
    assert refusal(tokenizer, kind, end_of_line=None) == expected


def test_wikitext_103_under_its_own_vocabulary(shared_data, tokenizer):
    """The training vocabulary has every word of the test set; 2,492 of them are <unk>."""
    lines = (shared_data / "wikitext-103" / "vocab_counts.tsv").read_text(encoding="utf-8").split("\n")
    words = tuple(line.rsplit("\t", 1)[0] for line in lines if line)
    made = tokenizer("word", words=words)

    encoded = made.encode(read_text(shared_data / "wikitext-103" / "wiki.test.tokens"))

    assert made.size == 267_735
    assert encoded.tokens.size == encoded.words.sum() == 245_569
    assert (encoded.tokens == made.number("<unk>")).sum() == 2_492
