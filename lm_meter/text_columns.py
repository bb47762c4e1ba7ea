"""The columns of records that say where a predicted piece stands in the text, whoever predicted it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .record_table import label, row_chunks
from .spool import in_parts, taken
from .text import Text
from .text_blocks import articles_of_lines, lines_of_pieces, words_of_pieces
from .tokenizers import Encoded, Tokenizer
from .word_texts import WordTexts


@dataclass(frozen=True)
class TextColumns:
    """Rows of the first predictions of a text.

    Parameters
    ----------
    text : Text
    encoded : Encoded
        Of the whole text.
    targets : (size,) int32
        Tokens that were predicted.
    skipped : int
        Pieces before the first that was predicted.
    tokenizer : Tokenizer
    """

    text: Text
    encoded: Encoded
    targets: np.ndarray
    skipped: int
    tokenizer: Tokenizer

    @property
    def size(self) -> int:
        """Rows."""
        return self.targets.size

    @cached_property
    def token_id(self) -> np.ndarray:
        """Tokens that stand in the rows, sorted: (k,) int64."""
        seen = np.zeros(self.tokenizer.size, bool)
        for part in in_parts(self.targets):
            seen[part] = True
        return np.flatnonzero(seen)

    @cached_property
    def token_text(self) -> np.ndarray:
        """What they are: (k,) NumPy unicode."""
        return np.array([label(self.tokenizer.token(token)) for token in self.token_id.tolist()])

    @cached_property
    def _lines(self) -> np.ndarray:
        return lines_of_pieces(self.text, self.encoded)

    @cached_property
    def _articles(self) -> np.ndarray:
        return articles_of_lines(self.text)

    @cached_property
    def _words(self) -> np.ndarray:
        return words_of_pieces(self.encoded)

    def column(self, name: str, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` - 1 of a column."""
        pieces = slice(first + self.skipped, last + self.skipped)
        if name == "position":
            return np.arange(pieces.start, pieces.stop)
        if name == "line":
            return taken(self._lines, pieces)
        if name == "article":
            return (self._articles[taken(self._lines, pieces)] - 1).astype(np.int32)
        if name == "word":
            return taken(self._words, pieces)
        if name == "word_start":
            return taken(self.encoded.words, pieces) > 0
        return taken({"token": self.targets}[name], slice(first, last))

    def word_texts(self) -> WordTexts | None:
        """The text's word tokens, from its first one on; None where every one in the rows is one piece."""
        parts = (self.column("word", first, min(last + 1, self.size)) for first, last in row_chunks(self.size))
        return None if all((np.diff(part) > 0).all() for part in parts) else WordTexts(self.text)
