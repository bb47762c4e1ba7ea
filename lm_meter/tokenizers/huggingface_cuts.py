"""Where a text may be cut for a ``tokenizer.json`` so that its parts, each encoded by itself, have the same tokens.

Pre-tokenizers split a text into words, and no token reaches across two of them. Those that are known here end a word,
whatever follows, where a blank (U+0020) follows a letter, a digit or a sign: none of their words has a blank anywhere
but in front, and nothing in them looks back. What else could look across the cut must be absent: a normalizer,
truncation, padding, chance, and added tokens that hold such a place or take blanks with them. Decoding joins bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# What splits texts of Llama 3: like that of GPT-2, which ``ByteLevel`` has built in, but for line ends and digits.
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_ABSENT = ("normalizer", "truncation", "padding")


def may_be_cut(found: Mapping[str, Any]) -> bool:
    """Whether a ``tokenizer.json``, an object, is of those of which it is known."""
    model, decoder = found["model"], found["decoder"]
    return (
        all(found.get(name) is None for name in _ABSENT)
        and model["type"] == "BPE"
        and not model.get("dropout")
        and decoder is not None
        and decoder["type"] == "ByteLevel"
        and _ends_words_at_blanks(found["pre_tokenizer"])
        and _treats_all_alike(found["post_processor"])
        and not any(map(_reaches_across, found["added_tokens"]))
    )


def _ends_words_at_blanks(pre_tokenizer: dict[str, Any] | None) -> bool:
    if pre_tokenizer is None:
        return False
    if pre_tokenizer["type"] == "ByteLevel":
        return bool(pre_tokenizer["use_regex"]) and not pre_tokenizer["add_prefix_space"]
    if pre_tokenizer["type"] != "Sequence" or len(pre_tokenizer["pretokenizers"]) != 2:
        return False
    split, level = pre_tokenizer["pretokenizers"]
    return (
        split["type"] == "Split"
        and split["pattern"] == {"Regex": _LLAMA_3}
        and (split["behavior"], split["invert"]) == ("Isolated", False)
        and level["type"] == "ByteLevel"
        and not level["use_regex"]
        and not level["add_prefix_space"]
    )


def _treats_all_alike(post_processor: dict[str, Any] | None) -> bool:
    """Whether where a token ends, in the text, does not depend on its being the first of what is encoded."""
    if post_processor is None or post_processor["type"] == "TemplateProcessing":  # which adds what is not asked for
        return True
    if post_processor["type"] == "Sequence":
        return all(map(_treats_all_alike, post_processor["processors"]))
    return post_processor["type"] == "ByteLevel" and not post_processor["trim_offsets"]


def _reaches_across(added: dict[str, Any]) -> bool:
    content = added["content"]
    return added["lstrip"] or added["rstrip"] or any(_is_cut(content, at) for at in range(1, len(content)))


def _is_cut(content: str, at: int) -> bool:
    """Whether a blank follows what no reading of white space takes for it."""
    before = content[at - 1]
    return content[at] == " " and ("!" <= before <= "~" or before.isalnum())


def parts(content: str, size: int) -> Iterator[str]:
    """A text in parts of at least so many characters, cut at such places."""
    first, at = 0, size
    while at < len(content):
        at = content.find(" ", at)
        if at < 0:
            break
        if _is_cut(content, at):
            yield content[first:at]
            first, at = at, at + size
        else:
            at += 1
    yield content[first:]
