"""What a result says of its tokenizer, and of how its tokens cover the text, as rows of a table."""

from __future__ import annotations

from typing import Any

from .text_in_tokens import LONG_TOKEN


def tokenizer_rows(tokenizer: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Bits of the tokenizer's tables, and its longest token."""
    if tokenizer is None:
        return []
    tables = ("vocabulary", "merges", "scores", "rules")
    return [
        ("bits of the tokenizer", f"{tokenizer['bits']:,}"),
        *((f"  {name}", f"{bits:,}") for name in tables if (bits := tokenizer[f"{name}_bits"])),
        ("longest token, bytes", f"{tokenizer['longest_token']:,}"),
    ]


def token_rows(text: dict[str, Any]) -> list[tuple[str, str]]:
    """How much of the text a token holds; not of results that are too old to say."""
    if text["longest_token"] is None or not text["bytes"]:
        return []
    share = 100 * text["bytes_in_long_tokens"] / text["bytes"]
    size = f"mean {text['bytes'] / text['scored']:.2f}, longest {text['longest_token']:,}"
    return [
        ("bytes a token of the text", f"{size}; {share:.1f} % beyond {LONG_TOKEN}"),
        ("word tokens a prediction", f"{text['word_tokens'] / text['scored']:.3f}"),
    ]


def unscored_words(text: dict[str, Any]) -> str:
    """How many bytes no token says, where there are such."""
    count = text["unscored_bytes"]
    return f" ({count:,} of {text['bytes']:,} bytes are blanks that no token says)" if count else ""
