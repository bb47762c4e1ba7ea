"""Pieces with scores, as llama2.c stores and applies them.

The file is an int32, the length of the longest piece, and for each piece a float32 score, an int32 length and its
bytes. A text is a blank and then its characters, each the piece of that name or else one piece for each of its bytes;
as long as two neighbours together are a piece, those whose piece has the highest score are joined, the first of them
where several have it.
"""

from __future__ import annotations

import heapq
import itertools
import re
import struct
from array import array

import numpy as np

from ..errors import CheckpointError
from ..text import Text, as_text
from .cover import Cover
from .encoding import Encoded, Replacer, Specials
from .said import Placed, held_against
from .tables import SCORE_BITS, Tables, table_bits

_FIRST_BYTE = 3  # piece of byte 0: behind the unknown piece and the two that begin and end a text
_BYTE = re.compile(rb"<0x([0-9A-F]{2})>")
_NONE = -1
_PART = 1 << 14  # symbols after which a text is cut where it may be


class Llama2cTokenizer:
    """Scored pieces of a llama2.c tokenizer file."""

    needs_end_of_line = False

    def __init__(self, raw: bytes, path: str) -> None:
        self._pieces, self._scores = _read(raw, path)
        self.size = len(self._pieces)
        self._numbers: dict[bytes, int] = {}
        for number, piece in enumerate(self._pieces):
            self._numbers.setdefault(piece, number)
        if self.size < _FIRST_BYTE + 256 or b" " not in self._numbers:
            raise CheckpointError(
                f"{path}: tokenizer.llama2c has {self.size} pieces; expected 3 specials, the 256 bytes and others, a "
                "blank among them"
            )
        self.specials = Specials(None, None, None)
        self._said = [self.content(number) for number in range(self.size)]
        self._apart: dict[tuple[int, int], bool] = {}

    def number(self, token: str) -> int | None:
        """Number of a piece, None where there is no such piece."""
        return self._numbers.get(token.encode())

    def token(self, number: int) -> str:
        """Piece of a number."""
        return self._pieces[number].decode("utf-8", "replace")

    def content(self, number: int, *, first: bool = False) -> bytes:
        """What a piece writes; the first one of a text without the blank that is put in front."""
        piece = self._pieces[number]
        found = _BYTE.fullmatch(piece)
        if found:
            return bytes([int(found[1], 16)])
        return piece[1:] if first and piece.startswith(b" ") else piece

    def encode(self, text: Text | str, oov: str = "error") -> Encoded:
        """Numbers of all pieces; see ``WordTokenizer.encode``. Nothing is unknown: there are all bytes."""
        text = as_text(text)
        Replacer(text, self.specials.unknown, oov)
        tokens, sizes = array("i"), array("i")
        symbols, own = [self._numbers[b" "]], [0]  # the blank in front stands for nothing of the text
        for character in itertools.chain.from_iterable(text.parts()):
            raw = character.encode()
            known = self._numbers.get(raw)
            added = [known] if known is not None else [_FIRST_BYTE + byte for byte in raw]
            if len(symbols) >= _PART and self._are_never_joined(symbols[-1], added[0]):
                self._add_joined(symbols, own, tokens, sizes)
                symbols, own = [], []
            symbols += added
            own += [len(raw)] if known is not None else [1] * len(raw)
        self._add_joined(symbols, own, tokens, sizes)
        cover, numbers = Cover(text), np.frombuffer(tokens, np.int32)
        ends = np.cumsum(np.frombuffer(sizes, np.int32), dtype=np.int64)
        for first in range(0, numbers.size, _PART):
            part = slice(first, first + _PART)
            said = [self._said[number] for number in numbers[part].tolist()]
            begins = np.append(ends[first - 1] if first else 0, ends[part][:-1])
            placed = Placed(numbers[part], begins, ends[part], said, int(begins[0]), int(ends[part][-1]))
            cover.add(held_against(text.raw, placed, {0: False}))
        return cover.encoded()

    def tables(self) -> Tables:
        """What is stored of the tokenizer: pieces, and a score of each."""
        longest = max(map(len, self._said))
        return Tables(table_bits(self._pieces), 0, SCORE_BITS * self.size, longest_token=longest)

    def _are_never_joined(self, first: int, second: int) -> bool:
        """Whether a text may be cut between two neighbours, and each side encoded by itself.

        Whatever is joined is the piece of all its symbols, one behind the other: where no piece has these two so, no
        join reaches across. Then neither side's joins, nor their order, depend on the other.
        """
        pair = first, second
        if pair not in self._apart:
            both = self._pieces[first] + self._pieces[second]
            self._apart[pair] = not any(both in piece for piece in self._pieces)
        return self._apart[pair]

    def _add_joined(self, symbols: list[int], sizes: list[int], *to: array[int]) -> None:
        """Append the symbols after all joins, and their sizes."""
        for column, values in zip(to, self._joined(symbols, sizes), strict=True):
            column.extend(values)

    def _joined(self, symbols: list[int], sizes: list[int]) -> tuple[list[int], list[int]]:
        """The symbols after all joins, and the bytes of the text that each stands for."""
        count = len(symbols)
        left, right = list(range(-1, count - 1)), [*range(1, count), _NONE]
        heap: list[tuple[float, int, int, int, int]] = []

        def offer(at: int) -> None:
            behind = right[at] if at != _NONE else _NONE
            if behind == _NONE:
                return
            joined = self._numbers.get(self._pieces[symbols[at]] + self._pieces[symbols[behind]])
            if joined is not None:
                heapq.heappush(heap, (-self._scores[joined], at, symbols[at], symbols[behind], joined))

        for at in range(count - 1):
            offer(at)
        while heap:
            _, at, first, second, joined = heapq.heappop(heap)
            behind = right[at]
            if symbols[at] != first or behind == _NONE or symbols[behind] != second:
                continue  # one of the two has been joined with another meanwhile
            symbols[at], symbols[behind] = joined, _NONE
            sizes[at] += sizes[behind]
            right[at] = right[behind]
            if right[at] != _NONE:
                left[right[at]] = at
            right[behind] = _NONE
            offer(left[at])
            offer(at)
        kept = [at for at in range(count) if symbols[at] != _NONE]
        return [symbols[at] for at in kept], [sizes[at] for at in kept]


def _read(raw: bytes, path: str) -> tuple[list[bytes], list[float]]:
    pieces, scores, at = [], [], 4
    while at < len(raw):
        if at + 8 > len(raw):
            break
        score, length = struct.unpack_from("<fi", raw, at)
        if length < 0 or at + 8 + length > len(raw) or score != score:
            break
        pieces.append(raw[at + 8 : at + 8 + length])
        scores.append(score)
        at += 8 + length
    if at != len(raw) or not pieces:
        raise CheckpointError(
            f"{path}: tokenizer.llama2c ends inside piece {len(pieces)}; expected a tokenizer file of llama2.c"
        )
    return pieces, scores
