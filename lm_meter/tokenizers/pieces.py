"""Pieces of a SentencePiece model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ..errors import CheckpointError, TextError
from ..text import Text, as_text
from .cover import Cover, Tokens, byte_places
from .encoding import Encoded, Replacer, Specials, unique
from .guarded import GuardedPieces
from .joined import JoinedPart, parts_of
from .said import BLANK_SIGN, shortfall
from .tables import SCORE_BITS, Tables, table_bits

_TYPE_BITS = 8  # normal, unknown, control, user-defined, unused or byte
_NORMALIZER = 3  # field of a model: its normalizer_spec
_VARINT, _BYTES, _GROUP = 0, 2, (3, 4)  # how a field of a protocol buffer is written
_FIXED = {1: 8, 5: 4}  # and in how many bytes


class PieceTokenizer:
    """Pieces of a SentencePiece model, and its end-of-line piece after each line.

    A line is encoded as its words joined by one blank. Where the model changes it (it normalises), the characters for
    which another line has the same pieces are counted as lost.
    """

    needs_end_of_line = True

    def __init__(self, raw: bytes, path: str) -> None:
        self._model = GuardedPieces(raw, path)
        surfaces, nothing = self._model.pieces, {self._model.unknown, *self._model.controls}
        single = set(self._model.bytes)
        self._numbers = unique(surfaces, path, "piece")
        self.size = len(surfaces)
        self.specials = Specials(None, None, None)
        # What each stands for in a text.
        self._said = [
            b"" if piece in nothing
            else bytes([int(surface[3:5], 16)]) if piece in single
            else surface.replace(BLANK_SIGN, " ").encode()
            for piece, surface in enumerate(surfaces)
        ]  # fmt: skip
        self._rules_bytes = normalizer_bytes(raw, path)

    def number(self, token: str) -> int | None:
        """Number of a piece, None where the model has no such piece."""
        return self._numbers.get(token)

    def token(self, number: int) -> str:
        """Piece of a number."""
        return self._model.pieces[number]

    def tables(self) -> Tables:
        """What is stored of the tokenizer: pieces with the type of each, their scores, and how lines are normalised."""
        vocabulary = table_bits(surface.encode() for surface in self._model.pieces) + _TYPE_BITS * self.size
        longest = max(map(len, self._said), default=0)
        return Tables(vocabulary, 0, SCORE_BITS * self.size, 8 * self._rules_bytes, longest)

    def encode(self, text: Text | str, oov: str = "error") -> Encoded:
        """Numbers of all pieces and line ends; see ``WordTokenizer.encode``."""
        text = as_text(text)
        replace, found, number = Replacer(text, self.specials.unknown, oov), Cover(text), 1
        for part in parts_of(text):
            lines = part.lines()
            encoded = self._model.encode([line.decode() for line in lines])
            several = enumerate(zip(lines, encoded, strict=True), number)
            pieces = [self._line(line, one, at, replace) for at, (line, one) in several]
            found.add(self._tokens(part, pieces))
            number += len(lines)
        return found.encoded()

    def _tokens(self, part: JoinedPart, lines: Sequence[np.ndarray]) -> Tokens:
        """The tokens of a part of a text from the columns of its lines' pieces."""
        parts, firsts, count = [np.zeros((5, 0), np.int64)], [], 0
        for line, size in itertools.zip_longest(lines, part.sizes[part.is_end].tolist()):
            line[3] += line[0] == self.specials.end_of_line  # the line's end says the same
            # The end of the last line has no bytes where it is not in the file; a line that was cut has none.
            parts += [line] if size is None else [line, np.array([[self.specials.end_of_line, size, 0, 0, 0]]).T]
            firsts.append(count)
            count += line.shape[1] + (size is not None)
        tokens, sizes, unsaid, lost, replaced = np.concatenate(parts, axis=1)
        joined_ends = np.cumsum(sizes)
        ends, unscored = part.placed(joined_ends)
        words = part.words_in(joined_ends, np.array(firsts, np.int64))
        return Tokens(tokens, ends, unscored + unsaid, lost, replaced, words=words)

    def _line(self, line: bytes, pieces: Sequence[int], number: int, replace: Replacer) -> np.ndarray:
        """Pieces of a line: token, bytes of the line, those not said, characters lost, replaced or not: (5, pieces)."""
        said = [self._said[piece] for piece in pieces]
        sizes = np.fromiter(map(len, said), np.int64, len(said))
        whole = b"".join(said)
        is_known = self._model.unknown not in pieces
        if is_known and whole == b" " + line:
            sizes[np.argmax(sizes > 0)] -= 1  # the blank that the model adds in front
        elif is_known and whole == line + b" ":
            sizes[sizes.size - 1 - np.argmax(sizes[::-1] > 0)] -= 1  # or at the end
        elif not is_known or whole != line:
            return self._changed(line, pieces, number, replace)
        nothing = np.zeros_like(sizes)
        return np.stack([np.asarray(pieces, np.int64), sizes, nothing, nothing, nothing])

    def _changed(self, line: bytes, pieces: Sequence[int], number: int, replace: Replacer) -> np.ndarray:
        """The same of a line that the model changes, or of which it does not know some characters."""
        text = line.decode()
        normal, places = self._model.normalised(text)
        normal = normal.replace(BLANK_SIGN, " ")
        unknown, [written] = self._model.unknown, self._model.written([text])
        # As text, an unknown piece is what stands in the line, not the name of the unknown piece.
        said = [
            one.replace(BLANK_SIGN, " ").encode() if piece == unknown else self._said[piece]
            for piece, one in zip(pieces, written, strict=True)
        ]
        if not said or b"".join(said) != normal.encode() or len(places) != len(normal) + 1:
            raise TextError(
                f"{replace.text.name}: line {number}: the pieces of the checkpoint's SentencePiece model are not those "
                "of the line; expected pieces that cover it"
            )
        characters = np.searchsorted(byte_places(normal), np.cumsum([len(one) for one in said]), side="right") - 1
        ends = byte_places(text)[np.asarray(places, np.int64)[characters]]
        ends[-1:] = len(line)
        columns = np.zeros((5, len(pieces)), np.int64)
        # Pieces that end where the one before does, such as bytes of one character, are looked at with the next.
        stops = (1 + np.flatnonzero(np.diff(ends, prepend=0))).tolist()
        if not ends[0] and said[0] == b" ":
            stops.insert(0, 1)  # the blank that the model adds in front, alone
        for first, stop in itertools.pairwise([0, *stops]):
            begin, end = int(ends[first - 1]) if first else 0, int(ends[stop - 1])
            spoken = b"".join(said[first:stop])
            if not begin:
                spoken = spoken.removeprefix(b" ")  # the blank that the model adds in front
            around = line[begin - 1 : begin] if begin else b"", line[end : end + 1]
            found = shortfall(line[begin:end], spoken, *around)
            columns[1:4, first] = end - begin, found.unscored, found.lost
        columns[0] = pieces
        for at in np.flatnonzero(columns[0] == unknown).tolist():
            part = line[int(ends[at - 1]) if at else 0 : int(ends[at])].decode()
            columns[0, at], columns[3:, at] = replace(part.strip() or part, number, "character"), (len(part), 1)
        return columns


def normalizer_bytes(model: bytes, path: str) -> int:
    """Bytes of the normalizer of a SentencePiece model, a protocol buffer; CheckpointError where it cannot be read."""
    at = field = found = 0
    while at < len(model):
        field = at
        key, at = _varint(model, at)
        kind = key & 7
        if kind == _BYTES:
            size, at = _varint(model, at)
            found += size * (key >> 3 == _NORMALIZER)
            at += size
        elif kind == _VARINT:
            _, at = _varint(model, at)
        elif kind not in _GROUP:
            at += _FIXED.get(kind, len(model) + 1)
    if at != len(model):
        raise CheckpointError(f"{path}: tokenizer.model is not a SentencePiece model (byte {field} begins no field)")
    return found


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number at a byte, and the byte after it; 0 beyond the end."""
    value = shift = 0
    while at < len(raw):
        value |= (raw[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if raw[at - 1] < 128:
            break
    return value, at
