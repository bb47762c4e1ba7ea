"""Whether a result's tokens hold the text: then the tokenizer, and not the model, knows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONG_TOKEN = 32  # bytes; a token of more is long
# Bounds of a text's figures, beyond which its tokens are said to hold it. WikiText-103's test set has no byte in words
# of more than 32 bytes, and word tokens a prediction are 1 for words and 0.6 to 0.9 for the subwords in use.
MOST_IN_LONG_TOKENS = 0.01  # of the text's bytes
MOST_WORDS_PER_PREDICTION = 2
_ALL_BUT_NONE = 100  # word tokens a prediction, beyond which a result never passes, whatever it claims


def hold_text(text: Mapping[str, Any]) -> bool:
    """Whether the tokens of a result's ``text`` hold it. Older results do not say how much stands in long tokens."""
    is_long = (text["bytes_in_long_tokens"] or 0) > MOST_IN_LONG_TOKENS * text["bytes"]
    return bool(is_long or text["word_tokens"] > MOST_WORDS_PER_PREDICTION * text["scored"])


def are_too_few(text: Mapping[str, Any]) -> bool:
    """Whether predictions are fewer than a hundredth of the word tokens: such a result never passes."""
    return bool(text["word_tokens"] > _ALL_BUT_NONE * text["scored"])


def tokenizer_figures(document: Mapping[str, Any]) -> dict[str, float | None]:
    """What shows how much of a text a tokenizer knows; null in results that are too old to say.

    ``bytes`` of its tables, those of its ``longest_token``, and ``word_tokens_per_prediction``.
    """
    tokenizer, text = document["tokenizer"], document["text"]
    return {
        "bytes": None if tokenizer is None else tokenizer["bits"] / 8,
        "longest_token": None if tokenizer is None else tokenizer["longest_token"],
        "word_tokens_per_prediction": text["word_tokens"] / text["scored"],
    }


def tokenizer_cells(figures: Mapping[str, float | None]) -> tuple[str, str, str]:
    """``tokenizer_figures`` as cells of a table."""
    size, longest, words = (figures[name] for name in ("bytes", "longest_token", "word_tokens_per_prediction"))
    return (
        "-" if size is None else f"{size:,.0f}",
        "-" if longest is None else f"{longest:,}",
        "-" if words is None else f"{words:,.3f}",
    )
