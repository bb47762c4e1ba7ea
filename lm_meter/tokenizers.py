"""Tokenizers: how a text becomes the numbers a model predicts.

Three kinds. ``word``: WikiText's own words, one number each. ``sentencepiece``: sub-word pieces of a SentencePiece
model that is stored in the checkpoint. ``characters``: Unicode code points, line ends included. Whatever the kind,
nothing of the text may be lost, because what is not predicted is not paid for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checkpoint import Checkpoint, Expected
from .errors import CheckpointError, ConfigError, TextError
from .text import Text

_BLANK = "\u2581"  # how SentencePiece writes a blank
_ARRAYS = {
    "word": "tokenizer.words",
    "sentencepiece": "tokenizer.model",
    "characters": "tokenizer.characters",
}


@dataclass(frozen=True)
class Encoded:
    """A tokenized text.

    Attributes
    ----------
    tokens : (pieces,) int64
    words : (pieces,) int64
        Word tokens (words and line ends) that begin in each piece; their sum is the text's.
    sizes : (pieces,) int64
        UTF-8 bytes that each piece stands for, blanks between words included.
    replaced : int
        Unknown words that were replaced by the unknown token.
    """

    tokens: np.ndarray
    words: np.ndarray
    sizes: np.ndarray
    replaced: int


@dataclass(frozen=True)
class Specials:
    """Tokens with a meaning: the context before the text, the end of a line, and the unknown word; None if absent."""

    start: int | None
    end_of_line: int | None
    unknown: int | None


def tokenizer_arrays(config: Mapping[str, Any], path: str) -> dict[str, Expected]:
    """The array in which a tokenizer of this configuration is stored."""
    kind = config.get("kind")
    if not isinstance(kind, str) or kind not in _ARRAYS:
        raise CheckpointError(f"{path}: tokenizer.kind is {kind!r}; expected one of {', '.join(_ARRAYS)}")
    return {_ARRAYS[kind]: Expected((None,), is_weight=False)}


def load_tokenizer(checkpoint: Checkpoint) -> WordTokenizer | PieceTokenizer | CharacterTokenizer:
    """The tokenizer stored in a checkpoint, checked against its vocabulary size."""
    config, path = checkpoint.config["tokenizer"], str(checkpoint.path)
    kind = config["kind"]
    raw = checkpoint.bytes(_ARRAYS[kind])
    tokenizer: WordTokenizer | PieceTokenizer | CharacterTokenizer
    if kind == "sentencepiece":
        tokenizer = PieceTokenizer(raw, path)
    else:
        try:
            content = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path}: {_ARRAYS[kind]} is not UTF-8 (byte {error.start})") from None
        tokenizer = WordTokenizer(content, path) if kind == "word" else CharacterTokenizer(content, path)
    vocabulary = checkpoint.model_config.vocabulary
    if tokenizer.size != vocabulary:
        raise CheckpointError(
            f"{path}: the tokenizer has {tokenizer.size} tokens; dimensions.vocabulary is {vocabulary}; they must agree"
        )
    tokenizer.specials = _specials(config, tokenizer, path)
    return tokenizer


def _specials(config: Mapping[str, Any], tokenizer: Any, path: str) -> Specials:
    numbers = {}
    for role in ("start", "end_of_line", "unknown"):
        token = config.get(role)
        if token is not None and (not isinstance(token, str) or tokenizer.number(token) is None):
            raise CheckpointError(f"{path}: tokenizer.{role} is {token!r}, which is not in the vocabulary")
        numbers[role] = None if token is None else tokenizer.number(token)
    if tokenizer.needs_end_of_line and numbers["end_of_line"] is None:
        raise CheckpointError(f"{path}: tokenizer.end_of_line is missing; lines end in a token for this kind")
    return Specials(**numbers)


def _unique(tokens: Sequence[str], path: str, what: str) -> dict[str, int]:
    numbers = {token: number for number, token in enumerate(tokens)}
    if len(numbers) != len(tokens):
        repeated = next(token for number, token in enumerate(tokens) if numbers[token] != number)
        raise CheckpointError(f"{path}: {what} {repeated!r} appears twice in the vocabulary")
    return numbers


class _Replacer:
    """Decides what happens to a word that is not in the vocabulary, and counts."""

    def __init__(self, text: Text, unknown: int | None, oov: str) -> None:
        self.text, self.unknown, self.oov, self.replaced = text, unknown, oov, 0
        if oov == "unk" and unknown is None:
            raise ConfigError("oov is unk, but the checkpoint's vocabulary has no unknown token; leave the option away")

    def __call__(self, word: str, line: int, what: str) -> int:
        if self.oov != "unk" or self.unknown is None:
            hint = "; --oov unk replaces such words by <unk>" if self.unknown is not None else ""
            raise TextError(
                f"{self.text.name}: line {line}: {what} {word!r} is not in the checkpoint's vocabulary{hint}"
            )
        self.replaced += 1
        return self.unknown


def _line_bytes(words: Sequence[str]) -> int:
    """UTF-8 bytes of a line in normal form: words joined by one space."""
    return sum(len(word.encode()) for word in words) + max(0, len(words) - 1)


def _encoded(tokens: Iterable[int], words: Iterable[int], sizes: Iterable[int], replaced: int) -> Encoded:
    arrays = [np.array(list(values), np.int64) for values in (tokens, words, sizes)]
    return Encoded(arrays[0], arrays[1], arrays[2], replaced)


class WordTokenizer:
    """One number for each word of a fixed vocabulary, and one for the end of each line."""

    needs_end_of_line = True

    def __init__(self, content: str, path: str) -> None:
        self._words = content.split("\n")
        if self._words[-1] == "":
            self._words.pop()
        self._numbers = _unique(self._words, path, "word")
        self.size = len(self._words)
        self.specials = Specials(None, None, None)

    def number(self, token: str) -> int | None:
        """Number of a word, None where the vocabulary has no such word."""
        return self._numbers.get(token)

    def token(self, number: int) -> str:
        """Word of a number."""
        return self._words[number]

    def encode(self, text: Text, oov: str = "error") -> Encoded:
        """Numbers of all words and line ends; an unknown word is an error unless ``oov`` is "unk"."""
        replace = _Replacer(text, self.specials.unknown, oov)
        tokens: list[int] = []
        sizes: list[int] = []
        for line, (words, ended) in enumerate(text.lines(), 1):
            for word in words:
                number = self._numbers.get(word)
                tokens.append(replace(word, line, "word") if number is None else number)
                sizes.append(len(word.encode()) + 1)
            if words:
                sizes[-1] -= 1  # the last word of a line has no blank behind it
            if ended:
                tokens.append(self.specials.end_of_line)  # type: ignore[arg-type]
                sizes.append(1)
        return _encoded(tokens, [1] * len(tokens), sizes, replace.replaced)


class PieceTokenizer:
    """Pieces of a SentencePiece model, and its end-of-line piece behind each line.

    A line is encoded as its words joined by one space. The model must be lossless: decoding gives back that line, so
    that normalisation cannot make a text easier than it is.
    """

    needs_end_of_line = True

    def __init__(self, raw: bytes, path: str) -> None:
        import sentencepiece

        self._model = sentencepiece.SentencePieceProcessor()
        try:
            self._model.LoadFromSerializedProto(raw)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1][:80]
            raise CheckpointError(f"{path}: tokenizer.model is not a SentencePiece model ({reason})") from None
        self.size = self._model.get_piece_size()
        self.specials = Specials(None, None, None)

    def number(self, token: str) -> int | None:
        """Number of a piece, None where the model has no such piece."""
        number = self._model.piece_to_id(token)
        return number if self._model.id_to_piece(number) == token else None

    def token(self, number: int) -> str:
        """Piece of a number."""
        return self._model.id_to_piece(number)

    def encode(self, text: Text, oov: str = "error") -> Encoded:
        """Numbers of all pieces and line ends; see ``WordTokenizer.encode``."""
        replace = _Replacer(text, self.specials.unknown, oov)
        lines = text.lines()
        joined = [" ".join(words) for words, _ in lines]
        encoded = self._model.encode(joined)
        decoded = self._model.decode(encoded)
        oov_piece = self._model.unk_id()
        tokens: list[int] = []
        starts: list[int] = []
        sizes: list[int] = []
        for line, (pieces, (words, ended)) in enumerate(zip(encoded, lines, strict=True), 1):
            if oov_piece in pieces:
                replaced = [
                    replace(self._lost(joined[line - 1], decoded[line - 1]), line, "character") if p == oov_piece else p
                    for p in pieces
                ]
            elif decoded[line - 1] != joined[line - 1]:
                raise TextError(
                    f"{text.name}: line {line}: the checkpoint's SentencePiece model changes the line when it encodes "
                    "it (it normalises); a perplexity of the changed text would not be one of this text"
                )
            else:
                replaced = pieces
            tokens.extend(replaced)
            if pieces:
                surfaces = [self._model.id_to_piece(p) for p in pieces]
                starts.extend(_settled([s.count(_BLANK) for s in surfaces], len(words)))
                lengths = [1 if self._model.is_byte(p) else len(s.replace(_BLANK, " ").encode())
                           for p, s in zip(pieces, surfaces, strict=True)]  # fmt: skip
                sizes.extend(_settled(lengths, _line_bytes(words)))
            if ended:
                tokens.append(self.specials.end_of_line)  # type: ignore[arg-type]
                starts.append(1)
                sizes.append(1)
        return _encoded(tokens, starts, sizes, replace.replaced)

    @staticmethod
    def _lost(line: str, decoded: str) -> str:
        """A character of the line that the model cannot express."""
        return next((character for character in line if character not in decoded), line[:1])


def _settled(values: list[int], total: int) -> list[int]:
    """``values`` with the difference to their known sum put on the first: blanks that the model adds in front."""
    return [values[0] + total - sum(values), *values[1:]]


class CharacterTokenizer:
    """One number for each Unicode code point; a line end is the character U+000A."""

    needs_end_of_line = False

    def __init__(self, content: str, path: str) -> None:
        self._characters = content
        self._numbers = _unique(content, path, "character")
        self.size = len(content)
        self.specials = Specials(None, None, None)

    def number(self, token: str) -> int | None:
        """Number of a character, None where the vocabulary has no such character."""
        return self._numbers.get(token)

    def token(self, number: int) -> str:
        """Character of a number."""
        return self._characters[number]

    def encode(self, text: Text, oov: str = "error") -> Encoded:
        """Numbers of all characters; see ``WordTokenizer.encode``."""
        replace = _Replacer(text, self.specials.unknown, oov)
        tokens = self._each(text, replace)
        blanks = " \t\r\f\v\n"
        before = "\n" + text.content[:-1]
        starts = [
            int(c == "\n" or (c not in blanks and previous in blanks))
            for previous, c in zip(before, text.content, strict=True)
        ]
        return _encoded(tokens, starts, [len(c.encode()) for c in text.content], replace.replaced)

    def _each(self, text: Text, replace: _Replacer) -> Iterator[int]:
        line = 1
        for character in text.content:
            number = self._numbers.get(character)
            yield replace(character, line, "character") if number is None else number
            line += character == "\n"
