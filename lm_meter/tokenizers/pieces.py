"""Pieces of a SentencePiece model."""

from __future__ import annotations

import numpy as np

from ..errors import CheckpointError, TextError
from ..text import Text
from .encoding import Encoded, Replacer, Specials

_BLANK = "\u2581"  # how SentencePiece writes a blank
_ONE = np.ones(1, np.int64)


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
            surfaces = [self._model.id_to_piece(piece) for piece in range(self._model.get_piece_size())]
        except (RuntimeError, UnicodeDecodeError) as error:  # the latter: a piece, or the message, is not UTF-8
            reason = str(error).strip().splitlines()[-1][:80]
            raise CheckpointError(f"{path}: tokenizer.model is not a SentencePiece model ({reason})") from None
        self.size = len(surfaces)
        self.specials = Specials(None, None, None)
        self._blanks = np.array([surface.count(_BLANK) for surface in surfaces])
        self._lengths = np.array(
            [
                1 if self._model.is_byte(piece) else len(surface.replace(_BLANK, " ").encode())
                for piece, surface in enumerate(surfaces)
            ]
        )

    def number(self, token: str) -> int | None:
        """Number of a piece, None where the model has no such piece."""
        number = self._model.piece_to_id(token)
        return number if self._model.id_to_piece(number) == token else None

    def token(self, number: int) -> str:
        """Piece of a number."""
        return self._model.id_to_piece(number)

    def encode(self, text: Text, oov: str = "error") -> Encoded:
        """Numbers of all pieces and line ends; see ``WordTokenizer.encode``."""
        replace = Replacer(text, self.specials.unknown, oov)
        lines = text.lines()
        joined = [" ".join(words) for words, _ in lines]
        encoded = self._model.encode(joined)
        decoded = self._model.decode(encoded)
        tokens: list[np.ndarray] = []
        starts: list[np.ndarray] = []
        sizes: list[np.ndarray] = []
        for i, (words, ended) in enumerate(lines):
            pieces = np.array(encoded[i], np.int64)
            missing = pieces == self._model.unk_id()
            # Known pieces have their length from the table; what an unknown one stands for is the rest of the line.
            starts.append(_settled(self._blanks[pieces], len(words)))
            sizes.append(_settled(self._lengths[pieces], len(joined[i].encode())))
            if missing.any():
                lost = next((character for character in joined[i] if character not in decoded[i]), joined[i][:1])
                pieces[missing] = [replace(lost, i + 1, "character") for _ in range(missing.sum())]
            elif decoded[i] != joined[i]:
                raise TextError(
                    f"{text.name}: line {i + 1}: the checkpoint's SentencePiece model changes the line when it encodes "
                    "it (it normalises); a perplexity of the changed text would not be one of this text"
                )
            tokens.append(pieces)
            if ended:
                tokens.append(np.array([self.specials.end_of_line], np.int64))
                starts.append(_ONE)
                sizes.append(_ONE)
        return Encoded(np.concatenate(tokens), np.concatenate(starts), np.concatenate(sizes), replace.replaced)


def _settled(values: np.ndarray, total: int) -> np.ndarray:
    """``values`` with the difference to their known sum put on the first: the blank that the model adds in front."""
    settled = values.copy()
    if settled.size:
        settled[0] += total - settled.sum()
    return settled
