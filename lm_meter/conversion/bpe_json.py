"""Byte-level byte-pair encoding as a ``tokenizer.json``, from lists of tokens and merges."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


# What llama.cpp does where a file names no other way (``src/llama-vocab.cpp``, its default case): each rule cuts the
# parts that the ones before have left.
DEFAULT_CUT = "default"
_DEFAULT = [
    _split(r"[\p{P}\$\+<=>\^~\|]+"),
    _split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
    _split(r"\p{N}+"),
    _split(r"[0-9][0-9][0-9]"),
    {**_BYTES, "use_regex": False},
]
# How a text is cut before pairs are merged, by the name that GGUF has for it.
_CUTS: dict[str, list[dict[str, Any]]] = {DEFAULT_CUT: _DEFAULT, "gpt-2": [_BYTES], "smollm": [_DIGITS, _BYTES]}


def byte_level_json(tokens: Sequence[str], merges: Sequence[str], cut: str, added: Mapping[int, bool]) -> str:
    """The tokenizer as JSON; ValueError where a text is cut in a way that is not known.

    Parameters
    ----------
    tokens : sequence of str
        In the order of their numbers.
    merges : sequence of str
        Pairs of tokens, a blank between them, the first to be merged first.
    cut : str
        The name of a way to cut texts.
    added : mapping of int to bool
        Tokens that are found in a text as they are written, before it is cut; whether each is a special one.
    """
    if cut not in _CUTS:
        raise ValueError(f"the tokenizer cuts texts as {cut!r:.40} does; expected one of {', '.join(_CUTS)}")
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {"id": number, "content": tokens[number], **plain, "special": special}
                for number, special in added.items()
            ],
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": _CUTS[cut]},
            "post_processor": None,
            "decoder": _BYTES,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "vocab": {token: number for number, token in enumerate(tokens)},
                "merges": list(merges),
            },
        },
        ensure_ascii=False,
    )
