"""Byte-level byte-pair encoding as a ``tokenizer.json``, from lists of tokens and merges."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

# How a text is cut before pairs are merged, by the name that GGUF has for it.
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}
_CUTS: dict[str, list[dict[str, Any]]] = {"gpt-2": [_BYTES], "smollm": [_DIGITS, _BYTES]}


def byte_level_json(tokens: Sequence[str], merges: Sequence[str], cut: str) -> str:
    """The tokenizer as JSON; ValueError where a text is cut in a way that is not known."""
    if cut not in _CUTS:
        raise ValueError(f"the tokenizer cuts texts as {cut!r:.40} does; expected one of {', '.join(_CUTS)}")
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
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
