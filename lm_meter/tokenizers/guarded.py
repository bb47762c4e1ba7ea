"""The libraries of tokenizers as the rest of lm-meter calls them: safe whatever a tokenizer and a text hold.

``GuardedTokenizer`` is a ``tokenizer.json``, ``GuardedPieces`` a SentencePiece model. Both run in a process of their
own with limits of memory and time for each call, which grow with what is given to it; see ``limited_child.py``. Each is
opened, asked for its tokens and run over a short text when it is made, so that one that explodes is refused at once;
since every later call is limited too, one that explodes on certain texts alone is refused there.

Whatever goes wrong is an error of one line: CheckpointError where the library ends, takes too much or cannot open the
model; TextError where it refuses a text (a word that is not in the vocabulary, and no unknown token).

Padding and truncation of a ``tokenizer.json`` are left out, as special tokens are: padding adds to the text, and
truncation cuts it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import CheckpointError, TextError
from .limited_child import LimitedChild, Limits, lists_of

# Bytes of a model. The largest that are published have 33 MB (262,144 tokens, 514,906 merges).
MOST_BYTES = 1 << 27
_MEGABYTE = 1 << 20
# Letters, digits, signs, blanks, and characters of two, three and four bytes of UTF-8.
_PROBE = " = The cat's 12,345 words = \n\n\tÜber naïve — 東京 \U0001f600 <unk> ABC\n"
# Tokens that a text may become, for each of its bytes: more are not of the text.
_MOST_TOKENS = 8
_NUMBER_BYTES = 8


def _opening(raw: bytes) -> Limits:
    """For opening a model of so many bytes, and naming all its tokens."""
    return Limits(512 * _MEGABYTE + 128 * len(raw), 10 + len(raw) // _MEGABYTE, _MEGABYTE + 64 * len(raw))


def _running(raw: bytes, answer: int) -> Limits:
    """For running it over so many bytes."""
    return Limits(512 * _MEGABYTE + 512 * len(raw), 10 + len(raw) // 10_000, _MEGABYTE + answer)


@dataclass(frozen=True)
class EncodedText:
    """A text as tokens.

    Attributes
    ----------
    ids : (n,) int64
        Number of each token.
    begins, ends : (n,) int64
        Its first character in the text, and the one after its last.
    """

    ids: np.ndarray
    begins: np.ndarray
    ends: np.ndarray


class GuardedTokenizer:
    """A ``tokenizer.json``.

    Parameters
    ----------
    raw : bytes
        Its content.
    path : str
        The file that it comes from, for messages.

    Attributes
    ----------
    tokens : list of str or None
        Token of each number below its size; None where a number has none.
    numbers : dict of str to int
        Number of each token, added ones included.

    Raises
    ------
    CheckpointError, ConfigError
        CheckpointError also where a token has a number that is not below their number.
    """

    def __init__(self, raw: bytes, path: str) -> None:
        self._what = what = f"{path}: tokenizer.json"
        _refuse_large(raw, what)
        self._child = LimitedChild("tokenizers", raw, what, "cannot be read", _opening(raw))
        self._opening = _opening(raw)
        found, _ = self._child.ask("described", b"", self._opening)
        self.tokens: list[str | None] = found["tokens"]
        self.numbers: dict[str, int] = found["numbers"]
        size, largest = len(self.tokens), max(self.numbers.values(), default=0)
        if largest >= size:  # a model has no row for it
            raise CheckpointError(
                f"{what} numbers a token {largest}; expected numbers below {size}, which is how many tokens it has"
            )
        with contextlib.suppress(TextError):
            self.decode(self.encode(_PROBE).ids)

    def settings(self) -> str:
        """The whole tokenizer as the library writes it, as JSON, without padding and truncation."""
        return str(self._child.ask("settings", b"", self._opening)[1], "utf-8")

    def encode(self, content: str) -> EncodedText:
        """Tokens of a text, without special tokens."""
        raw = content.encode()
        limits = _running(raw, 3 * _NUMBER_BYTES * _MOST_TOKENS * len(raw))
        count, columns = self._child.ask("encoded", raw, limits, TextError)
        ids, begins, ends = np.frombuffer(columns, np.int64).reshape(3, count)
        placed = (begins >= 0) & (begins <= ends) & (ends <= len(content))
        if not (placed & (ids >= 0) & (ids < len(self.tokens))).all():
            raise CheckpointError(
                f"{self._what}: makes a token that it does not have, or that lies outside of the text"
            )
        return EncodedText(ids, begins, ends)

    def decode(self, ids: np.ndarray) -> str:
        """Text of tokens, special ones included."""
        raw = np.ascontiguousarray(ids, np.int64).tobytes()
        return str(
            self._child.ask("decoded", raw, _running(raw, 64 * _MEGABYTE + 32 * len(raw)), TextError)[1], "utf-8"
        )


class GuardedPieces:
    """A SentencePiece model.

    Parameters
    ----------
    raw : bytes
        The serialised model.
    path : str
        The file that it comes from, for messages.

    Attributes
    ----------
    pieces : list of str
        Each piece, as the model writes it.
    bytes : list of int
        Numbers of the pieces that stand for a single byte.
    controls : list of int
        Numbers of the pieces that stand for nothing in a text.
    unknown : int
        Number of the unknown piece.

    Raises
    ------
    CheckpointError
    """

    def __init__(self, raw: bytes, path: str) -> None:
        what = f"{path}: tokenizer.model"
        _refuse_large(raw, what)
        self._child = LimitedChild("sentencepiece", raw, what, "is not a SentencePiece model", _opening(raw))
        found, _ = self._child.ask("described", b"", _opening(raw))
        self.pieces: list[str] = found["pieces"]
        self.bytes: list[int] = found["bytes"]
        self.controls: list[int] = found["controls"]
        self.unknown: int = found["unknown"]
        with contextlib.suppress(TextError):
            self.decode(self.encode(_PROBE.split("\n")))

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Numbers of the pieces of each line."""
        raw = _json(lines)
        limits = _running(raw, 2 * _NUMBER_BYTES * _MOST_TOKENS * len(raw))
        return lists_of(*self._child.ask("encoded", raw, limits, TextError))

    def written(self, lines: Sequence[str]) -> list[list[str]]:
        """Pieces of each line as text; what is unknown as it stands in the line."""
        raw = _json(lines)
        return self._child.ask("written", raw, _running(raw, 64 * len(raw)), TextError)[0]

    def normalised(self, line: str) -> tuple[str, list[int]]:
        """A line as the model normalises it, and for each character of that the place in the line that it comes from.

        The places are one more than the characters: the last is of the end.
        """
        raw = line.encode()
        normal, places = self._child.ask("normalised", raw, _running(raw, 64 * len(raw)), TextError)[0]
        return normal, places

    def decode(self, lines: Sequence[Sequence[int]]) -> list[str]:
        """Text of each line of pieces."""
        raw = _json(lines)
        return self._child.ask("decoded", raw, _running(raw, 64 * _MEGABYTE + 32 * len(raw)), TextError)[0]


def _refuse_large(raw: bytes, what: str) -> None:
    if len(raw) > MOST_BYTES:
        raise CheckpointError(f"{what} has {len(raw)} bytes; expected at most {MOST_BYTES}")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
