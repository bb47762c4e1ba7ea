"""Tokens cover every word and line end of a text, and what they leave out of it, or share with others, is counted."""

import hashlib
import json
import random
import re
import struct
import unicodedata

import numpy as np
import pytest
from llama2c_files import llama2c_tokenizer
from tiny import sentencepiece_model

from lm_meter import CheckpointError, TextError, read_text
from lm_meter.text import text_from_bytes
from lm_meter.tokenizers import (
    HuggingFaceTokenizer,
    Llama2cTokenizer,
    PieceTokenizer,
    Specials,
    WordTokenizer,
)
from lm_meter.tokenizers.cover import Cover, Tokens
from lm_meter.tokenizers.pieces import normalizer_bytes
from lm_meter.tokenizers.said import Shortfall, shortfall


def text(content):
    return text_from_bytes(content.encode(), "a text")


def words(vocabulary, blanks="ascii"):
    made = WordTokenizer("\n".join(["<eos>", "<unk>", *vocabulary]), "m.npz", blanks)
    made.specials = Specials(0, 0, 1)
    return made


def tokenizer_json(model, added=(), **parts):
    """A tokenizer.json of a model and other parts."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    numbered = [{"id": len(model["vocab"]) + n, **flags, **token} for n, token in enumerate(added)]
    names = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    document = {"version": "1.0", "added_tokens": numbered, **dict.fromkeys(names), "model": model, **parts}
    pytest.importorskip("tokenizers")
    return HuggingFaceTokenizer(json.dumps(document).encode(), "m.npz")


def word_level(*tokens):
    return {"type": "WordLevel", "vocab": {token: n for n, token in enumerate(("?", *tokens))}, "unk_token": "?"}


SPLIT = {"type": "WhitespaceSplit"}
METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}


# words, joined by one blank


@pytest.mark.parametrize(("blanks", "word"), [("ascii", r"[^ \t\f]+"), ("unicode", r"\S+")])
@pytest.mark.parametrize("seed", range(20))
def test_blanks_that_the_joined_form_lacks_are_not_scored(seed, blanks, word):
    """Reference: all bytes, less the words, the line ends, and one U+0020 where there is one between two words."""
    rng = random.Random(seed)
    others = ["\u00a0", "\u2028", "\x85", "\x1c", "\u3000"] if blanks == "unicode" else ["\u00a0"]
    content = "".join(rng.choice(["a", "b\u00e9", " ", " ", "\t", "\f", "\n", *others]) for _ in range(80)) + "a\n"
    lines = content.split("\n")[:-1]
    found = [re.findall(word, line) for line in lines]
    between = [re.split(word, line)[1:-1] for line in lines]
    said = sum(len(w.encode()) for line in found for w in line) + len(lines)
    said += sum(" " in run for line in between for run in line)
    made = words({w for line in found for w in line}, blanks)

    encoded = made.encode(text(content))

    assert [made.token(n) for n in encoded.tokens] == [w for line in found for w in (*line, "<eos>")]
    assert encoded.sizes.sum() == len(content.encode())
    assert encoded.unscored.sum() == len(content.encode()) - said
    assert encoded.words.sum() == text(content).word_tokens
    assert encoded.lost.sum() == 0


def test_words_as_python_splits_them():
    """U+0085 and U+2028 are blanks; a line ends in U+000D too, alone or before U+000A."""
    made = words(["the", "cat"], "unicode")
    encoded = made.encode(text("the\u00a0cat \u2028the\x85cat\rthe\r\n\x1cthe\n"))
    assert encoded.tokens.tolist() == [2, 3, 2, 3, 0, 2, 0, 2, 0]
    assert encoded.sizes.tolist() == [3, 5, 7, 5, 1, 3, 2, 4, 1]
    assert encoded.unscored.tolist() == [0, 2, 3, 2, 0, 0, 1, 1, 0]


def test_the_programs_of_word_language_model_see_the_same_in_all_these(shared_cases):
    """Other blanks between the same words: the same tokens."""
    folder = shared_cases / "word-language-model-blanks"
    vocabulary = (folder / "words.txt").read_text(encoding="utf-8").split("\n")
    made = WordTokenizer("\n".join(vocabulary), "m.npz", "unicode")
    made.specials = Specials(None, made.number("<eos>"), made.number("<unk>"))
    names = ("plain", "nbsp", "u2028", "ideographic", "x1c-x85")
    found = [made.encode(read_text(folder / f"{name}.txt")) for name in names]
    assert [each.tokens.tolist() for each in found] == [found[0].tokens.tolist()] * len(names)
    assert found[0].tokens.size == 129
    assert [int(each.unscored.sum() > 0) for each in found[1:]] == [1] * 4


def test_replaced_words_are_lost_and_each_counted_once():
    encoded = words(["the"]).encode(text("the zebra lion\n"), "unk")
    assert encoded.lost.tolist() == [0, 5, 4, 0]
    assert encoded.replaced_words.tolist() == [0, 1, 1, 0]


# what tokens say of a span


@pytest.mark.parametrize(
    ("span", "said", "before", "after", "expected"),
    [
        ("the", "the", "", "", (0, 0)),
        ("The CAt", "the cat", "", "", (0, 3)),
        ("\ufb01re", "fire", "", "", (0, 3)),  # three letters, said as four
        ("  cat", " cat", "t", "", (1, 0)),
        (" cat", "cat", "e", "", (1, 1)),  # "the cat" and "thecat" have the same tokens
        (" cat", "cat", "\n", "", (1, 0)),
        ("<s>  ", "<s>", "", "a", (2, 1)),
        ("<s>  ", "<s>", "", "\n", (2, 0)),
        ("\t", " ", "a", "b", (0, 1)),  # a blank, but which?
        ("cat", " cat", "t", "", (0, 1)),  # one more than there is
        ("cat", "", "", "", (3, 0)),
        ("\n", " ", "", "", (1, 0)),  # a line end is no blank: Cover refuses it
    ],
)
def test_what_is_not_said(span, said, before, after, expected):
    assert shortfall(*(part.encode() for part in (span, said, before, after))) == Shortfall(*expected)


@pytest.mark.parametrize(("content", "unscored"), [("ab cd", [3, 0]), ("ab cd", [0, 3]), ("a\n b", [0, 2])])
def test_nothing_but_blanks_may_be_missing(content, unscored):
    cover = Cover(text(content))
    with pytest.raises(TextError) as caught:
        cover.add(Tokens(np.zeros(2, int), np.array([1, len(content)]), np.array(unscored)))
    assert "line 1: the tokenizer leaves out all or a part of " in str(caught.value)
    assert str(caught.value).endswith(
        "; expected tokens that cover every word and line end, as what is not predicted is not paid for"
    )


def test_what_follows_the_last_token_is_of_blanks():
    cover = Cover(text("ab \t"))
    cover.add(Tokens(np.zeros(1, int), np.array([2])))
    encoded = cover.encoded()
    assert (encoded.sizes.tolist(), encoded.unscored.tolist()) == ([4], [2])
    cover = Cover(text("ab\n"))
    cover.add(Tokens(np.zeros(1, int), np.array([2])))
    with pytest.raises(TextError, match=r"the tokenizer leaves out all or a part of '\\n'"):
        cover.encoded()


# attempts to cheat


def test_a_llama2c_tokenizer_whose_byte_pieces_are_empty_is_refused():
    """It dropped every character: joined, nothing and nothing are the empty piece."""
    pieces = [(0.0, b"<unk>"), (0.0, b"<s>"), (0.0, b"</s>"), *[(0.0, b"")] * 256, (0.0, b" ")]
    made = Llama2cTokenizer(llama2c_tokenizer(pieces), "m.npz")
    with pytest.raises(TextError, match="a text: line 1: the tokenizer leaves out all or a part of 'the"):
        made.encode(text("the cat\n"))


@pytest.mark.parametrize(
    ("parts", "left_out"),
    [
        ({"pre_tokenizer": SPLIT}, r"'\nsat\n'"),  # the line end
        ({"normalizer": {"type": "Replace", "pattern": {"Regex": "[\\s\\S]"}, "content": ""}}, r"'the cat\nsat\n'"),
        ({"normalizer": {"type": "Replace", "pattern": {"Regex": "[\\s\\S]+"}, "content": " "}}, r"'the cat\nsat\n'"),
        ({"normalizer": {"type": "Replace", "pattern": {"Regex": "[\\s\\S]+"}, "content": "a"}}, r"'the cat\nsat\n'"),
        (
            {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[^a]+"}, "behavior": "Removed", "invert": False}},
            "'the ca'",
        ),
    ],
    ids=["line ends", "everything", "all as one blank", "all as one letter", "all but one letter"],
)
def test_a_tokenizer_json_that_drops_words_or_line_ends_is_refused(parts, left_out):
    made = tokenizer_json(word_level("the", "cat", "sat", "a", " "), **parts)
    with pytest.raises(TextError) as caught:
        made.encode(text("the cat\nsat\n"), "unk")
    assert f"leaves out all or a part of {left_out}; expected tokens that cover every word" in str(caught.value)


def test_an_unknown_word_does_not_hide_that_a_line_end_is_dropped():
    made = tokenizer_json(word_level("the", "cat"), pre_tokenizer=SPLIT)
    with pytest.raises(TextError, match=r"line 1: the tokenizer leaves out all or a part of '\\nzebra'"):
        made.encode(text("the cat\nzebra"), "unk")


def test_blanks_after_several_tokens_of_one_character():
    """Bytes of a character are tokens of their own, and the first of them has the blanks that no token says."""
    vocabulary = {token: n for n, token in enumerate(["?", "a", *(f"<0x{byte:02X}>" for byte in "é".encode())])}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": True, "unk_token": "?"}
    encoded = tokenizer_json(model, pre_tokenizer=SPLIT).encode(text("aé "))
    assert encoded.tokens.tolist() == [1, 2, 3]
    assert encoded.sizes.tolist() == [1, 3, 0]
    assert (encoded.unscored.tolist(), encoded.lost.sum()) == ([0, 1, 0], 0)


def test_small_letters_for_capitals_are_lost():
    made = tokenizer_json(word_level("the", "cat"), pre_tokenizer=SPLIT, normalizer={"type": "Lowercase"})
    encoded = made.encode(text("THE cAt"))
    assert encoded.lost.tolist() == [3, 2]  # and the blank between the words, which no token says


def test_an_unknown_token_of_a_tokenizer_json_is_an_error_or_lost():
    made = tokenizer_json(word_level("the", "sat"), pre_tokenizer=SPLIT)
    with pytest.raises(TextError) as caught:
        made.encode(text("the zebra sat"))
    assert str(caught.value) == (
        "a text: line 1: word 'zebra' is not in the checkpoint's vocabulary; --oov unk replaces such words by <unk>"
    )
    encoded = made.encode(text("the zebra sat"), "unk")
    assert encoded.replaced.tolist() == [0, 1, 0]
    assert encoded.replaced_words.tolist() == [0, 1, 0]
    assert encoded.lost.tolist() == [0, len(" zebra"), 1]


def test_the_unknown_token_that_a_text_has_itself_is_an_ordinary_word():
    encoded = tokenizer_json(word_level("the"), pre_tokenizer=SPLIT).encode(text("the ?"))
    assert encoded.replaced.sum() == 0


def test_a_tokenizer_json_of_chance_is_refused():
    """With BPE dropout three runs had 65, 65 and 64 predictions."""
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"], "dropout": 0.5}
    with pytest.raises(CheckpointError) as caught:
        tokenizer_json(model)
    assert str(caught.value) == (
        "m.npz: tokenizer.json leaves its tokens to chance (model.dropout is 0.5), so that no run could be made again; "
        "expected it without"
    )


def test_truncation_and_padding_play_no_part():
    truncation = {"max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    padding = {
        "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "?",
    }  # fmt: skip
    made = tokenizer_json(word_level("the", "cat"), pre_tokenizer=SPLIT, truncation=truncation, padding=padding)
    assert made.encode(text("the cat the")).tokens.tolist() == [1, 2, 1]


# a blank that a tokenizer puts in front


def metaspace(scheme="first"):
    """Letters, and words with a blank before them."""
    tokens = ["\u2581", *"abc<s>", "\u2581a", "\u2581\u2581"]
    vocabulary = {token: n for n, token in enumerate(dict.fromkeys(tokens))}
    model = {"type": "BPE", "vocab": vocabulary, "merges": ["\u2581 a", "\u2581 \u2581"]}
    return tokenizer_json(model, [{"content": "<s>"}], pre_tokenizer={**METASPACE, "prepend_scheme": scheme})


@pytest.mark.parametrize(
    ("content", "scheme", "unscored", "lost"),
    [
        ("ab a", "first", 0, 0),
        (" ab a", "first", 1, 0),  # has the tokens of "ab a"
        ("  ab a", "first", 0, 0),
        (" ab a", "never", 0, 0),
        ("<s> a", "first", 0, 0),
        ("<s> a", "always", 1, 1),  # has the tokens of "<s>a", which is one word
        ("<s>a<s> a<s>  a", "always", 1, 1),
    ],
)
def test_a_blank_that_is_put_in_front_where_the_text_has_none(content, scheme, unscored, lost):
    encoded = metaspace(scheme).encode(text(content))
    assert encoded.sizes.sum() == len(content)
    assert encoded.unscored.sum() == unscored
    assert encoded.lost.sum() == lost


def test_a_blank_that_is_always_put_in_front_makes_no_two_texts_one():
    """As Llama 2 has it: Prepend, then Replace; after an added token "<s> a" has two blanks and "<s>a" one."""
    vocabulary = {token: n for n, token in enumerate(["\u2581", *"abc"])}
    model = {"type": "BPE", "vocab": vocabulary, "merges": []}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    steps = [{"type": "Prepend", "prepend": "\u2581"}, replace]
    made = tokenizer_json(model, [{"content": "<s>"}], normalizer={"type": "Sequence", "normalizers": steps})
    for content in ("a <s> b", "a <s>b", " a", "a"):
        encoded = made.encode(text(content))
        assert (encoded.lost.sum(), encoded.unscored.sum(), encoded.sizes.sum()) == (0, 0, len(content))


@pytest.mark.parametrize("content", [" a b", "  a", "a <s> b"])
def test_a_missing_blank_is_counted_once(content):
    """Where a tokenizer that drops blanks puts one in front, too."""
    split = {"type": "Sequence", "pretokenizers": [SPLIT, {**METASPACE, "prepend_scheme": "always"}]}
    vocabulary = {token: n for n, token in enumerate(["\u2581", *"ab<s>"])}
    made = tokenizer_json({"type": "BPE", "vocab": vocabulary, "merges": []}, [{"content": "<s>"}], pre_tokenizer=split)
    encoded = made.encode(text(content))
    assert encoded.sizes.sum() == len(content)
    assert encoded.unscored.sum() <= content.count(" ")


def test_a_text_of_which_nothing_is_said():
    strip = {"type": "Strip", "strip_left": True, "strip_right": True}
    made = tokenizer_json(word_level("a"), normalizer=strip)
    assert made.encode(text("  ")).tokens.size == 0
    with pytest.raises(TextError, match="the tokenizer leaves out all or a part of"):
        made.encode(text(" \n \n"))


# two texts, the same tokens


def test_a_word_that_is_the_end_of_a_line_is_lost():
    """With "the" for an end, every "the" would help to predict the ends, and the other way round."""
    made = words(["the", "cat"])
    made.specials = Specials(2, 2, 1)
    encoded = made.encode(text("the cat\n"))
    assert encoded.tokens.tolist() == [2, 3, 2]
    assert encoded.lost.tolist() == [3, 0, 0]


def test_a_piece_that_is_the_end_of_a_line_is_lost():
    pieces = PieceTokenizer(sentencepiece_model(), "m.npz")
    the = pieces.number("\u2581the")
    pieces.specials = Specials(the, the, None)
    encoded = pieces.encode(text("the cat\nthe\n"))
    assert (encoded.tokens == the).sum() == 4
    assert encoded.lost.sum() == 2


def test_a_line_that_ends_in_a_carriage_return_alone_is_lost():
    made = words(["the", "cat"], "unicode")
    one, other = made.encode(text("the\rcat\n")), made.encode(text("the\ncat\n"))
    assert one.tokens.tolist() == other.tokens.tolist()
    assert (one.lost.sum(), other.lost.sum()) == (1, 0)


def test_bytes_that_are_no_characters_are_not_all_the_same():
    """Of a llama2.c tokenizer whose pieces for the bytes 0x80 to 0xBF have one name."""
    names = [b"<0x%02X>" % byte if not 0x80 <= byte <= 0xBF else b"\x80" for byte in range(256)]
    pieces = [(0.0, name) for name in (b"<unk>", b"<s>", b"</s>", *names, b" ", b"\x80\x80")]
    made = Llama2cTokenizer(llama2c_tokenizer(pieces), "m.npz")
    one, other = made.encode(text("\u6771\n")), made.encode(text("\u6765\n"))
    assert one.tokens.tolist() == other.tokens.tolist()
    assert one.lost.sum() > 0


@pytest.mark.parametrize("content", ["cafe\u0301 a", "e\u0301a \u00e9", "a\u0301", "\u1112\u1161\u11ab a"])
def test_letters_that_are_composed_are_lost_and_not_left_out(content):
    """NFC writes two characters as one, whose place the library gives as that of the first."""
    letters = "".join(sorted(set(unicodedata.normalize("NFC", content))))
    model = {"type": "BPE", "vocab": {letter: n for n, letter in enumerate(letters)}, "merges": []}
    encoded = tokenizer_json(model, normalizer={"type": "NFC"}).encode(text(content))
    assert encoded.sizes.sum() == len(content.encode())
    assert encoded.unscored.sum() == 0
    assert encoded.lost.sum() > 0


@pytest.mark.parametrize("blank", ["\u3000", "\u00a0", "\u2009"])
def test_a_blank_of_unicode_that_becomes_another_is_lost(blank):
    model = {"type": "BPE", "vocab": {letter: n for n, letter in enumerate("ab ")}, "merges": []}
    encoded = tokenizer_json(model, normalizer={"type": "NFKC"}).encode(text(f"a{blank}b"))
    assert (encoded.lost.sum(), encoded.unscored.sum()) == (1, 0)


def test_an_added_token_that_the_model_makes_too_is_what_the_model_makes():
    """Gemma's two blanks: a token of the model's that is found in a text as U+2581 U+2581, too."""
    vocabulary = {token: n for n, token in enumerate(["\u2581", "a", "b", "\u2581\u2581"])}
    model = {"type": "BPE", "vocab": vocabulary, "merges": ["\u2581 \u2581"]}
    steps = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    made = tokenizer_json(model, [{"content": "\u2581\u2581", "id": 3}], normalizer=steps)
    blanks, signs = made.encode(text("a  b")), made.encode(text("a\u2581\u2581b"))
    assert blanks.tokens.tolist() == signs.tokens.tolist() == [1, 3, 2]
    assert (blanks.lost.sum(), blanks.unscored.sum()) == (0, 0)
    assert signs.lost.sum() > 0


def test_a_line_end_that_an_added_token_swallows_is_left_out():
    made = tokenizer_json(word_level("cat"), [{"content": "the", "rstrip": True}], pre_tokenizer=SPLIT)
    with pytest.raises(TextError, match="the tokenizer leaves out all or a part of"):
        made.encode(text("the\ncat"))


def test_rules_of_a_model_are_counted_after_a_field_that_nobody_reads():
    """A group, which the library passes over, hid the normaliser."""
    model = sentencepiece_model(normalization="nfkc")
    group = b"\xc3\x0c\xc4\x0c"  # begin and end of a group, field 200
    plain, hidden = PieceTokenizer(model, "m.npz"), PieceTokenizer(group + model, "m.npz")
    assert hidden.tables() == plain.tables()
    assert plain.tables().rules_bits > 1_000_000


def test_a_model_that_does_not_end_with_a_field():
    with pytest.raises(CheckpointError) as caught:
        normalizer_bytes(sentencepiece_model() + b"\x06", "m.npz")
    assert "m.npz: tokenizer.model is not a SentencePiece model (byte " in str(caught.value)
    assert str(caught.value).endswith(" begins no field)")


def test_leading_blanks_of_a_tokenizer_of_transformers_5(shared_cases):
    """Tokens as the library has them; ``one-blank`` and ``plain`` are the same: a loss of one byte."""
    pytest.importorskip("tokenizers")
    folder = shared_cases / "hf-leading-blanks"
    made = HuggingFaceTokenizer((folder / "transformers5" / "tokenizer.json").read_bytes(), "m.npz")
    tokens = {"plain": 144, "one-blank": 144, "two-blanks": 145, "indented-code": 16, "inner-indents": 21,
              "blank-lines": 147, "odd": 19}  # fmt: skip
    found = {name: made.encode(read_text(folder / f"{name}.txt")) for name in tokens}
    assert {name: each.tokens.size for name, each in found.items()} == tokens
    assert [name for name, each in found.items() if each.unscored.sum()] == ["one-blank"]
    assert found["one-blank"].unscored.sum() == 1
    assert sum(int(each.lost.sum()) for each in found.values()) == 0


# identity


def test_the_hash_is_of_the_tokens():
    made = words(["the", "cat"])
    one, other = made.encode(text("the cat\n")), made.encode(text("cat the\n"))
    expected = hashlib.sha256(struct.pack("<3i", 2, 3, 0)).hexdigest()
    assert one.sha256() == expected
    assert other.sha256() != expected
