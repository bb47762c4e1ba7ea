"""Tokenizers: how a text becomes the numbers a model predicts.

``word``: WikiText's own words, one number each. ``sentencepiece``: sub-word pieces of a SentencePiece model that is
stored in the checkpoint. ``characters``: Unicode code points, line ends included. ``llama2c``: scored pieces as
llama2.c applies them. ``huggingface``: a ``tokenizer.json``. Whatever the kind, tokens cover every word and line end of
the text, because what is not predicted is not paid for (``cover.py``); what they leave out of it is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..checkpoint import Checkpoint, Expected
from ..errors import CheckpointError
from .characters import CharacterTokenizer
from .encoding import Encoded, Specials
from .huggingface import HuggingFaceTokenizer
from .joined import ASCII, BLANKS
from .llama2c import Llama2cTokenizer
from .pieces import PieceTokenizer
from .words import WordTokenizer

__all__ = [
    "CharacterTokenizer",
    "Encoded",
    "HuggingFaceTokenizer",
    "Llama2cTokenizer",
    "PieceTokenizer",
    "Specials",
    "Tokenizer",
    "WordTokenizer",
    "load_tokenizer",
    "tokenizer_arrays",
]

_ARRAYS = {
    "word": "tokenizer.words",
    "sentencepiece": "tokenizer.model",
    "characters": "tokenizer.characters",
    "llama2c": "tokenizer.llama2c",
    "huggingface": "tokenizer.json",
}
_KEYS = ("kind", "start", "end_of_line", "unknown", "tokens")
_OF_BYTES: dict[str, Callable[[bytes, str], PieceTokenizer | Llama2cTokenizer | HuggingFaceTokenizer]] = {
    "sentencepiece": PieceTokenizer,
    "llama2c": Llama2cTokenizer,
    "huggingface": HuggingFaceTokenizer,
}


Tokenizer = WordTokenizer | PieceTokenizer | CharacterTokenizer | Llama2cTokenizer | HuggingFaceTokenizer


def tokenizer_arrays(config: Mapping[str, Any], path: str) -> dict[str, Expected]:
    """The array in which a tokenizer of this configuration is stored."""
    kind = config.get("kind")
    if not isinstance(kind, str) or kind not in _ARRAYS:
        raise CheckpointError(f"{path}: tokenizer.kind is {kind!r:.60}; expected one of {', '.join(_ARRAYS)}")
    blanks = config.get("blanks", ASCII)
    if kind == "word" and blanks not in BLANKS:
        raise CheckpointError(f"{path}: tokenizer.blanks is {blanks!r:.60}; expected one of {', '.join(BLANKS)}")
    for key in config:
        if key not in (*_KEYS, *(("blanks",) if kind == "word" else ())):
            raise CheckpointError(f"{path}: tokenizer.{key!s:.60} has no meaning; expected one of {', '.join(_KEYS)}")
    return {_ARRAYS[kind]: Expected((None,), is_weight=False)}


def load_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer stored in a checkpoint, checked against its vocabulary size."""
    config, path = checkpoint.config["tokenizer"], str(checkpoint.path)
    kind = config["kind"]
    raw = checkpoint.bytes(_ARRAYS[kind])
    tokenizer: Tokenizer
    if kind in _OF_BYTES:
        tokenizer = _OF_BYTES[kind](raw, path)
    else:
        try:
            content = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path}: {_ARRAYS[kind]} is not UTF-8 (byte {error.start})") from None
        tokenizer = (
            WordTokenizer(content, path, config.get("blanks", ASCII))
            if kind == "word"
            else CharacterTokenizer(content, path)
        )
    rows = checkpoint.model_config.vocabulary
    _compare_sizes(config, tokenizer, rows, path)
    tokenizer.specials = _specials(config, tokenizer, rows, path)
    return tokenizer


def _compare_sizes(config: Mapping[str, Any], tokenizer: Tokenizer, rows: int, path: str) -> None:
    """Refuse a number of tokens that is neither the model's, which has so many ``rows``, nor declared."""
    declared = config.get("tokens", rows)
    if type(declared) is not int:
        raise CheckpointError(f"{path}: tokenizer.tokens is {declared!r:.40}; expected a whole number")
    if tokenizer.size != declared:
        name = "tokenizer.tokens" if "tokens" in config else "dimensions.vocabulary"
        raise CheckpointError(
            f"{path}: the tokenizer has {tokenizer.size} tokens; {name} is {declared}; they must agree"
        )
    if isinstance(tokenizer, HuggingFaceTokenizer):
        tokenizer.rows = rows
    elif tokenizer.size > rows:
        raise CheckpointError(
            f"{path}: the tokenizer has {tokenizer.size} tokens; the model has rows for {rows}; expected a row for each"
        )


def _specials(config: Mapping[str, Any], tokenizer: Any, rows: int, path: str) -> Specials:
    numbers: dict[str, Any] = {}
    for role in ("start", "end_of_line", "unknown"):
        token = config.get(role)
        if token is not None and (not isinstance(token, str) or tokenizer.number(token) is None):
            raise CheckpointError(f"{path}: tokenizer.{role} is {token!r:.60}, which is not in the vocabulary")
        numbers[role] = None if token is None else tokenizer.number(token)
        if numbers[role] is not None and numbers[role] >= rows:
            raise CheckpointError(f"{path}: tokenizer.{role} is {token!r:.60}, for which the model has no row")
    if tokenizer.needs_end_of_line and numbers["end_of_line"] is None:
        raise CheckpointError(f"{path}: tokenizer.end_of_line is missing; lines end in a token for this kind")
    return Specials(**numbers)
