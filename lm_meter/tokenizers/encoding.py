"""What all tokenizers share: the form of an encoded text, special tokens, and what happens to unknown words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from ..errors import CheckpointError, ConfigError, TextError
from ..spool import Spool, spooled
from ..text import Text


@dataclass(frozen=True)
class Encoded:
    """A tokenized text.

    Attributes
    ----------
    tokens : (pieces,) int32
    words : (pieces,) int32
        Word tokens (words and line ends) that begin in each piece. Their sum is the text's, but for a last line end
        that is not in the file and that a character tokenizer therefore does not predict.
    sizes : (pieces,) int32
        UTF-8 bytes that each piece stands for, blanks between words included.
    replaced : (pieces,) int32
        1 where the unknown token stands for something that is not in the vocabulary.

    The arrays live as long as the pass, and grow with the text: they are spooled.
    """

    tokens: np.ndarray
    words: np.ndarray
    sizes: np.ndarray
    replaced: np.ndarray

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, spooled(getattr(self, field.name), np.int32))


class Gathered:
    """The pieces of a text as they are found, line by line."""

    def __init__(self) -> None:
        self._columns = [Spool(np.int32) for _ in fields(Encoded)]

    def add(self, columns: Iterable[ArrayLike]) -> None:
        """Append pieces: (4, n) integers, rows as the attributes of ``Encoded``."""
        for column, values in zip(self._columns, columns, strict=True):
            column.add(values)

    def encoded(self) -> Encoded:
        """All of them."""
        return Encoded(*(column.array() for column in self._columns))


@dataclass(frozen=True)
class Specials:
    """Tokens with a meaning: the context before the text, the end of a line, and the unknown word; None if absent."""

    start: int | None
    end_of_line: int | None
    unknown: int | None


def encoded(tokens: Iterable[int], words: Iterable[int], sizes: Iterable[int], replaced: Iterable[int]) -> Encoded:
    """An ``Encoded`` from plain numbers."""
    return Encoded(*(np.fromiter(values, np.int32) for values in (tokens, words, sizes, replaced)))


def unique(tokens: Sequence[str], path: str, what: str) -> dict[str, int]:
    """Number of each token; a token that appears twice is an error of the checkpoint."""
    numbers = {token: number for number, token in enumerate(tokens)}
    if len(numbers) != len(tokens):
        repeated = next(token for number, token in enumerate(tokens) if numbers[token] != number)
        raise CheckpointError(f"{path}: {what} {repeated!r:.60} appears twice in the vocabulary")
    return numbers


class Replacer:
    """Decides what happens to a word that is not in the vocabulary."""

    def __init__(self, text: Text, unknown: int | None, oov: str) -> None:
        self.text, self.unknown, self.oov = text, unknown, oov
        if oov == "unk" and unknown is None:
            raise ConfigError("oov is unk, but the checkpoint's vocabulary has no unknown token; leave the option away")

    def __call__(self, word: str, line: int, what: str) -> int:
        """Number that stands for an unknown ``word``, found in this line of the text."""
        if self.oov != "unk" or self.unknown is None:
            hint = "; --oov unk replaces such words by <unk>" if self.unknown is not None else ""
            raise TextError(
                f"{self.text.name}: line {line}: {what} {word!r:.60} is not in the checkpoint's vocabulary{hint}"
            )
        return self.unknown
