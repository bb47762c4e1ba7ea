"""Unicode code points, line ends included."""

from __future__ import annotations

from collections.abc import Iterator

from ..text import Text
from .encoding import Encoded, Replacer, Specials, encoded, unique

_BLANKS = " \t\r\f\v\n"


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
        tokens = self._each(text, replace)
        before = ("\n" + text.content)[:-1]
        starts = (
            int(c == "\n" or (c not in _BLANKS and previous in _BLANKS))
            for previous, c in zip(before, text.content, strict=True)
        )
        sizes = (len(c.encode()) for c in text.content)
        return encoded(tokens, starts, sizes, (int(c not in self._numbers) for c in text.content))

    def _each(self, text: Text, replace: Replacer) -> Iterator[int]:
        line = 1
        for character in text.content:
            number = self._numbers.get(character)
            yield replace(character, line, "character") if number is None else number
            line += character == "\n"
