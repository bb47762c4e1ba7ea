"""Unicode code points, line ends included."""

from __future__ import annotations

import numpy as np

from ..text import Text
from .encoding import Encoded, Gathered, Replacer, Specials, unique

_BLANKS = np.frombuffer(" \t\r\f\v\n".encode("utf-32-le"), np.uint32)
_LINE_END = 0x0A
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
        found, line, before = Gathered(), 1, True  # whether a blank, or nothing, stands before the part
        for part in text.parts():
            codes = _code_points(part)
            blank = np.isin(codes, _BLANKS)
            words = (codes == _LINE_END) | (~blank & np.append(before, blank[:-1]))
            before = bool(blank[-1])
            sizes = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)  # bytes of UTF-8
            tokens = numbers[codes]
            unknown = np.flatnonzero(tokens < 0)
            if unknown.size:
                at = int(unknown[0])
                tokens[unknown] = replace(part[at], line + part.count("\n", 0, at), "character")
            line += part.count("\n")
            found.add([tokens, words, sizes, numbers[codes] < 0])
        return found.encoded()


def _code_points(characters: str) -> np.ndarray:
    """(characters,) uint32."""
    return np.frombuffer(characters.encode("utf-32-le"), np.uint32)
