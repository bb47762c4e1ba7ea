"""Long texts are encoded in parts: every piece, and what it stands for, is that of the text as a whole."""

import json
import random
import tracemalloc

import numpy as np
import pytest
from llama2c_files import ADDED, llama2c_tokenizer

import lm_meter.text
from lm_meter import TextError
from lm_meter.text import text_from_bytes
from lm_meter.tokenizers import (
    CharacterTokenizer,
    HuggingFaceTokenizer,
    Llama2cTokenizer,
    Specials,
    cover,
    huggingface,
    llama2c,
)
from lm_meter.tokenizers.huggingface_cuts import may_be_cut, parts

SIGNS = "aab bc  \n\n\t.,'s1\u00e9\u20ac\u732b\U0001f600\u3000\u00a0<>"
LENGTHS = (1, 2, 5, 1000)


def text(content):
    return text_from_bytes(content.encode(), "a text")


def texts(seed, count, signs=SIGNS):
    rng = random.Random(seed)
    for _ in range(count):
        yield text("".join(rng.choice(signs) for _ in range(rng.randrange(1, 60))))


def columns(encoded):
    return [getattr(encoded, name).tolist() for name in ("tokens", "words", "sizes", "replaced")]


def spanned(content, tokens, ends):
    """The columns of pieces that end at these bytes, byte by byte."""
    raw, found, start = content.encode(), ([], [], [], []), 0
    for token, end in zip(tokens, ends, strict=True):
        begins = sum(
            raw[at] == 10 or (raw[at] not in b" \t\r\f\v\n" and (at == 0 or raw[at - 1] in b" \t\r\f\v\n"))
            for at in range(start, end)
        )
        for column, value in zip(found, (token, begins, end - start, 0), strict=True):
            column.append(value)
        start = end
    return list(found)


@pytest.fixture(params=LENGTHS)
def length(request, monkeypatch):
    """How long parts are."""
    monkeypatch.setattr(lm_meter.text, "_SLAB", request.param)  # of whole lines, or more
    for module in (huggingface, llama2c, cover):
        monkeypatch.setattr(module, "_PART", request.param)
    return request.param


# characters


def test_characters_by_parts(length):
    made = CharacterTokenizer("".join(sorted(set(SIGNS))), "m.npz")
    for given in texts(1, 100):
        raw = given.content
        ends = np.cumsum([len(c.encode()) for c in raw]).tolist()
        assert columns(made.encode(given)) == spanned(raw, [made.number(c) for c in raw], ends)


def test_unknown_characters_by_parts(length):
    made = CharacterTokenizer("ab \n?", "m.npz")
    given = text("ab\nb\u732ba\na \U0001f600b")
    with pytest.raises(TextError, match="line 2: character '\u732b' is not in the checkpoint's vocabulary"):
        made.encode(given)
    made.specials = Specials(None, None, 4)
    encoded = made.encode(given, "unk")
    assert encoded.tokens.tolist() == [0, 1, 3, 1, 4, 0, 3, 0, 2, 4, 1]
    assert encoded.replaced.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    assert encoded.sizes.tolist() == [1, 1, 1, 1, 3, 1, 1, 1, 1, 4, 1]
    assert encoded.words.tolist() == [1, 0, 1, 1, 0, 0, 1, 1, 0, 1, 0]


# llama2.c


def joined(made, content):
    """Pieces of a text by the plainest reading of llama2.c: again and again the best pair, the first of equals."""
    symbols = [(made.number(" "), 0)]
    for character in content:
        known, raw = made.number(character), character.encode()
        symbols += [(known, len(raw))] if known is not None else [(3 + byte, 1) for byte in raw]
    while True:
        best = None
        for at in range(len(symbols) - 1):
            number = made._numbers.get(made._pieces[symbols[at][0]] + made._pieces[symbols[at + 1][0]])
            if number is not None and (best is None or made._scores[number] > best[0]):
                best = made._scores[number], at, number
        if best is None:
            return [number for number, _ in symbols], np.cumsum([size for _, size in symbols]).tolist()
        _, at, number = best
        symbols[at : at + 2] = [(number, symbols[at][1] + symbols[at + 1][1])]


def scored(rng, added):
    named = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % n for n in range(256)), *added]
    return [(float(rng.randrange(6)), piece) for piece in named]


@pytest.mark.parametrize("seed", range(6))
def test_llama2c_by_parts(seed, length):
    rng = random.Random(seed)
    added = {bytes(rng.choice(b"ab \n<") for _ in range(rng.randrange(2, 6))) for _ in range(25)}
    singles = {b" ", b"a", b"b", b"<", b"\n", "\u00e9".encode()} - ({b"\n"} if seed % 2 else set())
    pieces = scored(rng, [*sorted(singles), *sorted(added), b"<0x0A>a", b"a<0xE2>"])
    made = Llama2cTokenizer(llama2c_tokenizer(pieces), "m.npz")
    for given in texts(seed, 60, "aabb  \n<\u00e9\u20ac"):
        assert columns(made.encode(given)) == spanned(given.content, *joined(made, given.content))


def test_llama2c_is_cut_where_no_piece_reaches_across(monkeypatch):
    monkeypatch.setattr(llama2c, "_PART", 4)
    made = Llama2cTokenizer(llama2c_tokenizer(), "m.npz")  # has "ab" and " ab", and so "b" stands behind "a"
    a, b, blank = map(made.number, "ab ")
    assert made._are_never_joined(b, a)
    assert made._are_never_joined(b, blank)
    assert not made._are_never_joined(a, b)
    assert not made._are_never_joined(blank, a)
    seen = []
    monkeypatch.setattr(made, "_joined", lambda symbols, sizes: seen.append(len(symbols)) or (symbols, sizes))
    made.encode(text("ab" * 6))
    assert seen == [5, 4, 4]  # the blank in front, and two pairs; cut behind each second "b"
    seen.clear()
    whole = Llama2cTokenizer(llama2c_tokenizer(scored(random.Random(1), [*ADDED, b"ba"])), "m.npz")
    monkeypatch.setattr(whole, "_joined", lambda symbols, sizes: seen.append(len(symbols)) or (symbols, sizes))
    whole.encode(text("ab" * 6))
    assert seen == [13]  # nowhere is it known to be safe


# tokenizer.json


LLAMA_3 = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)


def trained(kind):
    """A byte-level tokenizer.json with merges of a small text."""
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    level = tokenizers.pre_tokenizers.ByteLevel
    if kind == "llama-3":
        split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(LLAMA_3), "isolated")
        level = level(add_prefix_space=False, use_regex=False)
        model.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, level])
    else:
        model.pre_tokenizer = level(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    model.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    model.train_from_iterator([given.content for given in texts(0, 80)], trainer)
    model.add_special_tokens(["<|end|>", "  "])
    return model


@pytest.mark.parametrize("kind", ["gpt-2", "llama-3"])
def test_byte_level_tokenizers_by_parts(kind, length):
    model = trained(kind)
    assert may_be_cut(json.loads(model.to_str()))
    made = HuggingFaceTokenizer(model.to_str().encode(), "m.npz")
    signs = [*SIGNS, "<|end|>", "  ", "'ll", "123"]
    for given in texts(7, 150, signs):
        raw, whole = given.content, model.encode(given.content, add_special_tokens=False)
        # A letter of a token is a byte of the text, but for the two tokens that were added as they are written.
        sizes = [len(token) for token in whole.tokens]
        assert columns(made.encode(given)) == spanned(raw, whole.ids, np.cumsum(sizes).tolist())


def test_a_text_is_cut_before_blanks_behind_what_is_none():
    assert list(parts("ab cd  e\u3000 f\n g. h", 1)) == ["ab", " cd", "  e\u3000 f\n g.", " h"]
    assert list(parts("ab cd", 9)) == ["ab cd"]
    assert list(parts("abc de f", 4)) == ["abc de", " f"]


NORMALIZER = {"type": "Lowercase"}
ADDED_TOKEN = {"id": 500, "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": {"type": "NFC"}},
        {"truncation": {"max_length": 9, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}},
        {"decoder": None},
        {"decoder": {"type": "Fuse"}},
        {"post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        {"added_tokens": [{**ADDED_TOKEN, "content": "a b"}]},
        {"added_tokens": [{**ADDED_TOKEN, "content": "<s>", "rstrip": True}]},
        {"added_tokens": [{**ADDED_TOKEN, "content": "<s>", "lstrip": True}]},
    ],
    ids=str,
)
def test_what_could_look_across_a_cut_is_encoded_as_a_whole(changes):
    document = json.loads(trained("gpt-2").to_str())
    assert may_be_cut(document)
    assert not may_be_cut(document | changes)


@pytest.mark.parametrize("change", [{"dropout": 0.1}, {"type": "Unigram"}], ids=str)
def test_models_that_could_look_across_a_cut_are_encoded_as_a_whole(change):
    document = json.loads(trained("gpt-2").to_str())
    document["model"] |= change
    assert not may_be_cut(document)


def test_a_pattern_of_another_kind_is_encoded_as_a_whole():
    document = json.loads(trained("llama-3").to_str())
    assert may_be_cut(document)
    document["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": ".* "}
    assert not may_be_cut(document)


# memory


def test_memory_for_a_character_does_not_hold_lists():
    """Beside the text: of characters what stays; of pieces that and where they end."""
    given = text("ab \u00e9a\n" * 50_000)
    size = len(given.content)

    def peak(made):
        tracemalloc.start()
        made.encode(given)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found / size

    assert peak(CharacterTokenizer("ab \u00e9\n", "m.npz")) < 40
    assert peak(Llama2cTokenizer(llama2c_tokenizer(), "m.npz")) < 80
