"""Unicode code points, line ends included."""

from __future__ import annotations

import numpy as np

from ..text import Text
from .encoding import Encoded, Replacer, Specials, unique

_BLANKS = np.frombuffer(" \t\r\f\v\n".encode("utf-32-le"), np.uint32)
_LINE_END = 0x0A
_PART = 1 << 16  # characters that are encoded together
_CODE_POINTS = 0x110000


class CharacterTokenizer:
    """One number for each Unicode code point; a line end is the character U+000A."""

    needs_end_of_line = False

    def __init__(self, content: str, path: str) -> None:
        self._characters = content
        self._numbers = unique(content, path, "character")
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
        replace = Replacer(text, self.specials.unknown, oov)
        numbers = np.full(_CODE_POINTS, -1, np.int32)
        numbers[_code_points(self._characters)] = np.arange(self.size)
        size = len(text.content)
        tokens = np.empty(size, np.int32)
        words, sizes, replaced = (np.empty(size, np.uint8) for _ in range(3))
        before = True  # whether a blank, or nothing, stands before the part
        for first in range(0, size, _PART):
            part = slice(first, first + _PART)
            codes = _code_points(text.content[part])
            blank = np.isin(codes, _BLANKS)
            words[part] = (codes == _LINE_END) | (~blank & np.append(before, blank[:-1]))
            before = bool(blank[-1])
            sizes[part] = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)  # bytes of UTF-8
            tokens[part] = numbers[codes]
            replaced[part] = tokens[part] < 0
            unknown = np.flatnonzero(replaced[part])
            if unknown.size:
                at = first + int(unknown[0])
                line = text.content.count("\n", 0, at) + 1
                tokens[first + unknown] = replace(text.content[at], line, "character")
        return Encoded(tokens, words, sizes, replaced)


def _code_points(characters: str) -> np.ndarray:
    """(characters,) uint32."""
    return np.frombuffer(characters.encode("utf-32-le"), np.uint32)
