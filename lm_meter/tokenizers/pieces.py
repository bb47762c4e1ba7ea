"""Pieces of a SentencePiece model."""

from __future__ import annotations

import itertools

import numpy as np

from ..errors import TextError
from ..text import Text
from .encoding import Encoded, Gathered, Replacer, Specials, unique
from .guarded import GuardedPieces

_BLANK = "\u2581"  # how SentencePiece writes a blank
_LINES = 256  # that are encoded together


class PieceTokenizer:
    """Pieces of a SentencePiece model, and its end-of-line piece behind each line.

    A line is encoded as its words joined by one space. The model must be lossless: decoding gives back that line, so
    that normalisation cannot make a text easier than it is.
    """

    needs_end_of_line = True

    def __init__(self, raw: bytes, path: str) -> None:
        self._model = GuardedPieces(raw, path)
        surfaces, single = self._model.pieces, set(self._model.bytes)
        self._numbers = unique(surfaces, path, "piece")
        self.size = len(surfaces)
        self.specials = Specials(None, None, None)
        self._blanks = np.array([surface.count(_BLANK) for surface in surfaces])
        self._lengths = np.array(
            [
                1 if piece in single else len(surface.replace(_BLANK, " ").encode())
                for piece, surface in enumerate(surfaces)
            ]
        )

    def number(self, token: str) -> int | None:
        """Number of a piece, None where the model has no such piece."""
        return self._numbers.get(token)

    def token(self, number: int) -> str:
        """Piece of a number."""
        return self._model.pieces[number]

    def encode(self, text: Text, oov: str = "error") -> Encoded:
        """Numbers of all pieces and line ends; see ``WordTokenizer.encode``."""
        replace = Replacer(text, self.specials.unknown, oov)
        end = np.array([[self.specials.end_of_line], [1], [1], [0]])
        found, lines, number = Gathered(), text.each_line(), 0
        while several := list(itertools.islice(lines, _LINES)):
            joined = [" ".join(words) for words, _ in several]
            encoded = self._model.encode(joined)
            decoded = self._model.decode(encoded)
            for i, (words, ended) in enumerate(several):
                number += 1
                pieces = np.array(encoded[i], np.int64)
                if (pieces == self._model.unknown).any():
                    found.add(self._with_unknown(joined[i], number, replace))
                elif decoded[i] == joined[i]:
                    starts = _settled(self._blanks[pieces], len(words))
                    sizes = _settled(self._lengths[pieces], len(joined[i].encode()))
                    found.add(np.stack([pieces, starts, sizes, np.zeros_like(pieces)]))
                else:
                    raise self._changed(text, number)
                if ended:
                    found.add(end)
        return found.encoded()

    def _with_unknown(self, line: str, number: int, replace: Replacer) -> np.ndarray:
        """The columns of ``encode`` for a line with pieces that the model does not know: (4, pieces)."""
        # As text a piece the model does not know is what stands in the line, not the name of the unknown piece.
        written = [piece.replace(_BLANK, " ") for piece in self._model.written([line])[0]]
        written[0] = written[0].removeprefix(" ")  # the blank that the model adds in front
        if "".join(written) != line:
            raise self._changed(replace.text, number)
        rows: list[list[int]] = []
        for piece, part in zip(self._model.encode([line])[0], written, strict=True):
            known = piece != self._model.unknown
            token = piece if known else replace(part, number, "character")
            rows.append([token, part.count(" ") + (not rows), len(part.encode()), int(not known)])
        return np.array(rows, np.int64).T

    @staticmethod
    def _changed(text: Text, number: int) -> TextError:
        return TextError(
            f"{text.name}: line {number}: the checkpoint's SentencePiece model changes the line when it encodes "
            "it (it normalises); a perplexity of the changed text would not be one of this text"
        )


def _settled(values: np.ndarray, total: int) -> np.ndarray:
    """``values`` with the difference to their known sum put on the first: the blank that the model adds in front."""
    settled = values.copy()
    if settled.size:
        settled[0] += total - settled.sum()
    return settled
