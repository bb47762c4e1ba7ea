"""A tokenizer that knows the text: its tables count, and the gate is not judged where tokens hold the text."""

import json
import sys

import numpy as np
import pytest
from tiny import TEXT, tiny_parts

import lm_meter
from lm_meter import ForeignEntry, evaluate, evaluate_entry, write_checkpoint
from lm_meter.profiles import PROFILES
from lm_meter.ranking import rank
from lm_meter.report import result_table
from lm_meter.result import Result, price_result
from lm_meter.score_section import why_it_never_passes
from lm_meter.text_in_tokens import are_too_few, hold_text
from lm_meter.tokenizers import CharacterTokenizer, Llama2cTokenizer, WordTokenizer

JUNE, FINAL = PROFILES["micronet-2019-06"], PROFILES["micronet-2019-final"]
TEST_SHA256 = "56db52eb157b1ab5c89646eef70510c1eca6e12a3bfdb99f0d6b05b4eacb75b9"


def of(**figures):
    """A result's section ``text`` of an honest word model, but for some figures."""
    return {"word_tokens": 1000, "scored": 1000, "bytes": 6000, "bytes_in_long_tokens": 0, **figures}


@pytest.mark.parametrize(
    ("figures", "holds"),
    [
        ({}, False),
        ({"bytes_in_long_tokens": 60}, False),  # a hundredth
        ({"bytes_in_long_tokens": 61}, True),
        ({"scored": 500}, False),  # two words each
        ({"scored": 499}, True),
        ({"scored": 1}, True),
        ({"bytes_in_long_tokens": None}, False),  # an older result
        ({"bytes_in_long_tokens": None, "scored": 1}, True),
    ],
)
def test_when_tokens_hold_the_text(figures, holds):
    assert hold_text(of(**figures)) is holds


@pytest.mark.parametrize(("scored", "few"), [(1000, False), (10, False), (9, True)])
def test_fewer_predictions_than_a_hundredth_of_the_word_tokens(scored, few):
    assert are_too_few(of(scored=scored)) is few


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs a tiny model over TEXT with a tokenizer.json of a vocabulary and added tokens."""
    pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("cheat")
    (folder / "text").write_text(TEXT, encoding="utf-8")

    def run(vocabulary, added=(), normalizer=None, pre_tokenizer=None):
        numbers = {token: number for number, token in enumerate(vocabulary)}
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
        document = {
            "version": "1.0", "truncation": None, "padding": None, "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": None, "decoder": None,
            "added_tokens": [{"id": len(vocabulary) + n, "content": token, **flags} for n, token in enumerate(added)],
            "model": {"type": "WordLevel", "vocab": numbers, "unk_token": vocabulary[0]},
        }  # fmt: skip
        words = [f"w{n}" for n in range(len(vocabulary) + len(added))]
        config, arrays = tiny_parts(words=("<eos>", "<unk>", *words[2:]), embedding=2, hidden=(2,))
        config["tokenizer"] = {"kind": "huggingface", "start": vocabulary[0]}
        del arrays["tokenizer.words"]
        arrays["tokenizer.json"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
        write_checkpoint(folder / "m.npz", config, arrays)
        return evaluate(folder / "m.npz", text=folder / "text", options=lm_meter.RunOptions(threads=1))

    return run


def on_the_test_set(result):
    """The same as if it were of the whole test set of WikiText-103."""
    document = json.loads(result.to_json())
    document["text"] |= {"sha256": TEST_SHA256, "whole": True}
    document["perplexity"]["word"] = 1.000003
    return price_result(Result(document), JUNE)


def test_the_whole_text_as_one_token_of_the_vocabulary(made):
    """It was one prediction, word perplexity 1.000003, gate met, 12 parameters stored."""
    result = made(["?", TEXT])
    text, tokenizer = result["text"], result["tokenizer"]
    assert (text["scored"], text["word_tokens"]) == (1, 5 + 1 + 8 + 9)
    assert text["longest_token"] == text["bytes_in_long_tokens"] == len(TEXT)
    assert tokenizer["longest_token"] == len(TEXT)
    assert tokenizer["vocabulary_bits"] == 8 * (len("?") + len(TEXT) + 2)
    assert "tokens hold the text: 23.00 word tokens a prediction" in result_table(result)
    assert not rank([("r", on_the_test_set(result))], JUNE)["results"][0]["score_rank"]
    score = on_the_test_set(result)["score"]
    assert (score["meets_gate"], score["gate_verdict"]) == (None, "not judged: tokens hold the text")
    assert score["total"] - score["total_without_tokenizer"] == pytest.approx(tokenizer["bits"] / 16 / 159e6)
    assert "gate, word perplexity of 35 or less: not judged: tokens hold the text" in result_table(
        on_the_test_set(result)
    )


def test_whole_lines_as_added_tokens(made):
    lines = TEXT.splitlines(keepends=True)
    result = made(["?", " "], list(dict.fromkeys(lines)))
    assert (result["text"]["scored"], result["text"]["word_tokens"]) == (len(lines), 23)
    assert on_the_test_set(result)["score"]["gate_verdict"] == "not judged: tokens hold the text"


def test_two_words_a_token_are_the_most(made):
    """Shorter tokens of many words are seen by the number of predictions alone."""
    result = made(["?", *dict.fromkeys(TEXT[at : at + 12] for at in range(0, len(TEXT), 12))], pre_tokenizer=_TWELVES)
    assert result["text"]["bytes_in_long_tokens"] == 0
    assert result["text"]["word_tokens"] > 2 * result["text"]["scored"]
    assert on_the_test_set(result)["score"]["gate_verdict"] == "not judged: tokens hold the text"


_TWELVES = {"type": "Split", "pattern": {"Regex": "[\\s\\S]{1,12}"}, "behavior": "Isolated", "invert": False}


def test_a_tokenizer_that_reads_capitals_as_small_letters(made):
    pieces = {"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": False}
    letters = sorted(set(TEXT) - {"t"})
    upper = {"type": "Replace", "pattern": {"String": "t"}, "content": "a"}
    result = made(["?", *letters], normalizer=upper, pre_tokenizer=pieces)
    assert result["text"]["lost_characters"] == TEXT.count("t")
    assert on_the_test_set(result)["score"]["gate_verdict"] == "not judged: characters are lost"
    assert f"{TEXT.count('t')} characters lost: " in result_table(result)


def test_a_vocabulary_of_a_foreign_entry_that_holds_the_text(made, tmp_path):
    """A program that knows single tokens alone reached 1.35 with one."""
    result = made(["?", " "], list(dict.fromkeys(TEXT.splitlines(keepends=True))))
    command = f"{sys.executable} -m lm_meter.entries.bigram"
    entry = ForeignEntry(command, result["checkpoint"]["path"])
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    foreign = evaluate_entry(entry, text=tmp_path / "text")
    assert foreign["tokenizer"] == result["tokenizer"]
    assert foreign["text"]["longest_token"] == max(map(len, TEXT.splitlines(keepends=True)))
    assert on_the_test_set(foreign)["score"]["gate_verdict"] == "not judged: tokens hold the text"
    assert "tokens hold the text: 5.75 word tokens a prediction" in result_table(foreign)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"replaced_by_unk": 1}, "words were replaced"),
        ({"lost_characters": 1}, "characters were lost"),
        ({"bytes_in_long_tokens": 61}, "its tokens hold the text"),
        ({"scored": 1}, "its predictions are fewer than a hundredth of its word tokens"),
    ],
)
def test_what_never_passes_whatever_the_text(changes, reason):
    """Also of a part of the test set, or with its first token skipped, where the gate is not asked."""
    document = {"text": {**of(), "replaced_by_unk": 0, "lost_characters": 0, "whole": False, **changes}}
    assert why_it_never_passes(document) == reason


# what is stored


def test_words_are_stored_with_a_byte_that_ends_each():
    assert WordTokenizer("the\nUnïcode", "m").tables().bits == 8 * (4 + 9)


def test_characters_are_stored_as_they_are():
    assert CharacterTokenizer("aé猫", "m").tables().bits == 8 * (1 + 2 + 3)


def test_pieces_of_llama2c_have_scores():
    from llama2c_files import ADDED, llama2c_tokenizer

    named = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % n for n in range(256)), *ADDED]
    tables = Llama2cTokenizer(llama2c_tokenizer(), "m").tables()
    assert tables.vocabulary_bits == 8 * sum(len(piece) + 1 for piece in named)
    assert tables.scores_bits == 32 * len(named)


def test_only_the_whole_vocabulary_of_wikitext_103_is_free(shared_data):
    """Under the final rules. The words of 1,995,743 bytes are 2,263,478 with the one that ends each."""
    lines = (shared_data / "wikitext-103" / "vocab_counts.tsv").read_text(encoding="utf-8").split("\n")
    words = [line.rsplit("\t", 1)[0] for line in lines if line]
    given = WordTokenizer("\n".join(words[::-1]), "m").tables()
    other = WordTokenizer("\n".join([*words[1:], "zebra crossing"]), "m").tables()
    fewer = WordTokenizer("\n".join(words[1:]), "m").tables()
    assert given.bits == 8 * 2_263_478
    assert [tables.is_given for tables in (given, other, fewer)] == [True, False, False]


@pytest.mark.parametrize(
    ("profile", "is_given", "ratio"),
    [(JUNE, False, 1600 / 16), (JUNE, True, 1600 / 16), (FINAL, False, 1600 / 32), (FINAL, True, 0)],
)
def test_what_tables_count_in_a_score(made, profile, is_given, ratio):
    document = json.loads(made(["?", " "], list(dict.fromkeys(TEXT.splitlines(keepends=True)))).to_json())
    document["tokenizer"] |= {"bits": 1600, "is_given": is_given}
    score = price_result(Result(document), profile)["score"]
    assert score["tokenizer_ratio"] == pytest.approx(ratio / 159e6, rel=1e-12)


def test_a_result_that_is_too_old_to_have_tables(made):
    document = json.loads(made(["?", " "], list(dict.fromkeys(TEXT.splitlines(keepends=True)))).to_json())
    document["tokenizer"] = None
    result = price_result(Result(document), JUNE)
    assert result["score"]["tokenizer_ratio"] is None
    assert result["score"]["total"] == result["score"]["total_without_tokenizer"]
    assert "tokenizer   not known" in result_table(result)
    assert rank([("old", result)], JUNE)["results"][0]["unranked"] == "older result"
