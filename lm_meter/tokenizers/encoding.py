"""What all tokenizers share: the form of an encoded text, special tokens, and what happens to unknown words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..errors import CheckpointError, ConfigError, TextError
from ..spool import in_parts, spooled
from ..text import Text


@dataclass(frozen=True)
class Encoded:
    """A tokenized text, with what each token stands for and what it leaves out. ``Cover`` makes it.

    The bytes from the end of one token to the end of the next belong to the latter, and those after the last token to
    that one: the sizes add up to the text.

    Attributes
    ----------
    tokens : (tokens,) int32
    words : (tokens,) int32
        Word tokens (words and line ends) that begin in each token. Their sum is the text's, but for a last line end
        that is not in the file and that some tokenizers therefore do not predict.
    sizes : (tokens,) int32
        Bytes of the text that belong to each token.
    unscored : (tokens,) int32
        Those of them, blanks all of them, that no token says: another number of blanks has the same tokens.
    lost : (tokens,) int32
        Characters for which another text has the same tokens: "T" where a tokenizer writes small letters, all of a word
        that becomes ``<unk>``.
    replaced : (tokens,) int32
        1 where the unknown token stands for something that is not in the vocabulary.
    replaced_words : (tokens,) int32
        Word tokens that such a token takes a part of, each counted once.

    The arrays live as long as the pass, and grow with the text: they are spooled.
    """

    tokens: np.ndarray
    words: np.ndarray
    sizes: np.ndarray
    unscored: np.ndarray
    lost: np.ndarray
    replaced: np.ndarray
    replaced_words: np.ndarray

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, spooled(getattr(self, field.name), np.int32))

    def sha256(self) -> str:
        """SHA-256 of the tokens as little-endian int32, in hexadecimal: part of a run's identity."""
        digest = hashlib.sha256()
        for part in in_parts(self.tokens):
            digest.update(np.ascontiguousarray(part, "<i4").data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Specials:
    """Tokens with a meaning: the context before the text, the end of a line, and the unknown word; None if absent."""

    start: int | None
    end_of_line: int | None
    unknown: int | None


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
