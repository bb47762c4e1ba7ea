"""Unicode code points, line ends included."""

from __future__ import annotations

import numpy as np

from ..text import Text, as_text
from .cover import Cover, Tokens, byte_places
from .encoding import Encoded, Replacer, Specials, unique
from .tables import Tables

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

    def tables(self) -> Tables:
        """What is stored of the tokenizer: the characters in UTF-8, which needs no byte between them."""
        sizes = [len(character.encode()) for character in self._characters]
        return Tables(vocabulary_bits=8 * sum(sizes), longest_token=max(sizes, default=0))

    def encode(self, text: Text | str, oov: str = "error") -> Encoded:
        """Numbers of all characters; see ``WordTokenizer.encode``."""
        text = as_text(text)
        replace, found = Replacer(text, self.specials.unknown, oov), Cover(text)
        numbers = np.full(_CODE_POINTS, -1, np.int32)
        numbers[_code_points(self._characters)] = np.arange(self.size)
        start, line = 0, 1
        for part in text.parts():
            tokens = numbers[_code_points(part)]
            is_unknown = tokens < 0
            if is_unknown.any():
                at = int(np.argmax(is_unknown))
                tokens[is_unknown] = replace(part[at], line + part.count("\n", 0, at), "character")
            places = start + byte_places(part)
            found.add(Tokens(tokens, places[1:], 0, is_unknown, is_unknown))
            start, line = int(places[-1]), line + part.count("\n")
        return found.encoded()


def _code_points(characters: str) -> np.ndarray:
    """(characters,) uint32."""
    return np.frombuffer(characters.encode("utf-32-le"), np.uint32)
