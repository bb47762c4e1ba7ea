"""Tokenizers of GGUF files: types of tokens, ways to cut, and every other entry, which is used or refused."""

import re

import pytest
from gguf_files import byte_tokens, write_gguf

from lm_meter import Checkpoint, CheckpointError, read_text
from lm_meter.conversion.convert import convert
from lm_meter.tokenizers import load_tokenizer

pytest.importorskip("tokenizers")

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
TOKENS = byte_tokens()  # the last three: "Ġt", "he", "<s>"


def types(**changes):
    """Entry of the types of all tokens, normal but for those that are named."""
    return {"tokenizer.ggml.token_type": [changes.get(token.strip("<>"), NORMAL) for token in TOKENS]}


def tokens_of(tmp_path, content, **changes):
    """The tokens that a text has after a conversion."""
    write_gguf(tmp_path / "m.gguf", **changes)
    done = convert(tmp_path / "m.gguf", tmp_path / "m.npz")
    tokenizer = load_tokenizer(Checkpoint(tmp_path / "m.npz"))
    (tmp_path / "text").write_text(content, encoding="utf-8")
    return [tokenizer.token(n) for n in tokenizer.encode(read_text(tmp_path / "text")).tokens], done


@pytest.mark.parametrize("kind", [CONTROL, USER_DEFINED, UNKNOWN])
def test_tokens_that_are_found_before_the_text_is_cut(kind, tmp_path):
    found, _ = tokens_of(tmp_path, "the<s>the", entries=types(s=kind))
    assert found == ["t", "he", "<s>", "t", "he"]


@pytest.mark.parametrize("kind", [NORMAL, UNUSED, BYTE, 0])
def test_tokens_of_other_types_are_made_by_merges_alone(kind, tmp_path):
    found, _ = tokens_of(tmp_path, "the<s>", entries=types(s=kind))
    assert found == ["t", "he", "<", "s", ">"]


def test_a_user_defined_token_inside_a_word(tmp_path):
    """Where "he" is user-defined, " the" is no longer " t" and "he" by merges, but cut there: the same here."""
    assert tokens_of(tmp_path, "sheet", entries=types(he=USER_DEFINED))[0] == ["s", "he", "e", "t"]


@pytest.mark.parametrize("value", [[1, 2], [1] * 258 + [7], [1] * 258 + [-1], 3, ["a"] * 259])
def test_types_that_are_none(value, tmp_path):
    write_gguf(tmp_path / "m.gguf", entries={"tokenizer.ggml.token_type": value})
    with pytest.raises(CheckpointError) as caught:
        convert(tmp_path / "m.gguf", tmp_path / "m.npz")
    assert str(caught.value) == (
        f"{tmp_path / 'm.gguf'}: tokenizer.ggml.token_type is {value!r:.40}; expected a number from 0 to 6 for each of "
        "its 259 tokens"
    )


# What llama.cpp does by default, written down a second time: each rule cuts what the ones before have left.
LETTERS = r"[^\W\d_]"
RULES = [
    r"[!\"#%&'()*,\-./:;?@\[\\\]_{}$+<=>^~|]+",
    rf"'s|'t|'re|'ve|'m|'ll|'d| ?{LETTERS}+| ?\d+| ?(?:(?!{LETTERS}|\d)\S)+|\s+(?!\S)|\s+",
    r"\d+",
    r"[0-9][0-9][0-9]",
]


def cut_by_default(content):
    parts = [content]
    for rule in RULES:
        found = []
        for part in parts:
            at = 0
            for match in re.finditer(rule, part):
                found += [part[at : match.start()], match[0]]
                at = match.end()
            found.append(part[at:])
        parts = [part for part in found if part]
    return parts


CONTENT = "In 1912 and 20245,  they'll\n\n say `x` <=314159>; \t42!"


def test_the_reference_of_the_default_cut():
    assert cut_by_default("In 20245, they'll") == ["In", " ", "202", "45", ",", " they", "'", "ll"]


@pytest.mark.parametrize("pre", ["default", None])
def test_texts_are_cut_as_llama_cpp_does_by_default(pre, tmp_path):
    """Looked at in the tokenizer.json itself: which parts of a text a merge may not cross."""
    import tokenizers

    write_gguf(tmp_path / "m.gguf", pre=pre)
    done = convert(tmp_path / "m.gguf", tmp_path / "m.npz")
    missing = "tokenizer.ggml.pre is missing: texts are cut as llama.cpp does then, which it calls 'default'"
    assert done.notes == ([missing] if pre is None else [])
    document = Checkpoint(tmp_path / "m.npz").bytes("tokenizer.json")
    model = tokenizers.Tokenizer.from_buffer(document)
    cut = [CONTENT[first:last] for _, (first, last) in model.pre_tokenizer.pre_tokenize_str(CONTENT)]
    assert cut == cut_by_default(CONTENT)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tokenizer.ggml.add_space_prefix", True),
        ("tokenizer.ggml.remove_extra_whitespaces", True),
        ("tokenizer.ggml.precompiled_charsmap", [1, 2]),
        ("tokenizer.ggml.escape_whitespaces", True),
        ("tokenizer.rwkv.world", "x"),
    ],
)
def test_entries_that_would_change_tokens(key, value, tmp_path):
    write_gguf(tmp_path / "m.gguf", entries={key: value})
    with pytest.raises(CheckpointError) as caught:
        convert(tmp_path / "m.gguf", tmp_path / "m.npz")
    assert str(caught.value) == (
        f"{tmp_path / 'm.gguf'}: {key} is {value!r}, which is not known here; expected a Llama without it"
    )


@pytest.mark.parametrize(
    "entries",
    [
        {"tokenizer.ggml.add_space_prefix": False, "tokenizer.ggml.remove_extra_whitespaces": False},
        {"tokenizer.ggml.scores": [0.0] * 259, "tokenizer.ggml.token_type_count": 1},
        {
            "tokenizer.ggml.eos_token_id": 258,
            "tokenizer.ggml.unknown_token_id": 0,
            "tokenizer.ggml.add_eos_token": True,
        },
        {
            "tokenizer.chat_template": "{{ x }}",
            "tokenizer.chat_template.tools": "x",
            "tokenizer.chat_templates": ["tools"],
        },
        {"tokenizer.huggingface.json": "{}"},
    ],
)
def test_entries_that_change_no_token(entries, tmp_path):
    assert tokens_of(tmp_path, "the", entries=entries)[0] == ["t", "he"]


@pytest.mark.parametrize(("added", "expected"), [(True, "<s>"), (False, None)])
def test_the_token_before_a_text(added, expected, tmp_path):
    _, done = tokens_of(tmp_path, "the", entries={"tokenizer.ggml.add_bos_token": added})
    assert (done.start, done.start_from) == (expected, "tokenizer.ggml.add_bos_token")


def test_a_flag_that_is_none(tmp_path):
    write_gguf(tmp_path / "m.gguf", entries={"tokenizer.ggml.add_bos_token": "false"})
    with pytest.raises(CheckpointError) as caught:
        convert(tmp_path / "m.gguf", tmp_path / "m.npz")
    assert (
        str(caught.value) == f"{tmp_path / 'm.gguf'}: tokenizer.ggml.add_bos_token is 'false'; expected true or false"
    )


def test_a_token_that_is_there_twice(tmp_path):
    write_gguf(tmp_path / "m.gguf", entries={"tokenizer.ggml.tokens": [*TOKENS[:-1], "he"]})
    with pytest.raises(CheckpointError, match=r"tokenizer.ggml.tokens has a token twice; expected each once"):
        convert(tmp_path / "m.gguf", tmp_path / "m.npz")
