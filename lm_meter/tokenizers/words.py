"""Words of a fixed vocabulary, as WikiText writes them."""

from __future__ import annotations

from array import array

from ..spool import PART
from ..text import Text
from .encoding import Encoded, Gathered, Replacer, Specials, unique


class WordTokenizer:
    """One number for each word of a fixed vocabulary, and one for the end of each line."""

    needs_end_of_line = True

    def __init__(self, content: str, path: str) -> None:
        self._words = content.split("\n")
        if self._words[-1] == "":
            self._words.pop()
        self._numbers = unique(self._words, path, "word")
        self.size = len(self._words)
        self.specials = Specials(None, None, None)

    def number(self, token: str) -> int | None:
        """Number of a word, None where the vocabulary has no such word."""
        return self._numbers.get(token)

    def token(self, number: int) -> str:
        """Word of a number."""
        return self._words[number]

    def encode(self, text: Text, oov: str = "error") -> Encoded:
        """Numbers of all words and line ends; an unknown word is an error unless ``oov`` is "unk"."""
        replace, end = Replacer(text, self.specials.unknown, oov), self.specials.end_of_line
        found, tokens, sizes, replaced = Gathered(), array("i"), array("i"), array("i")

        def add() -> None:
            found.add((tokens, array("i", [1]) * len(tokens), sizes, replaced))
            for column in (tokens, sizes, replaced):
                del column[:]

        for line, (words, ended) in enumerate(text.each_line(), 1):
            for word in words:
                number = self._numbers.get(word)
                tokens.append(replace(word, line, "word") if number is None else number)
                sizes.append(len(word.encode()) + 1)
                replaced.append(int(number is None))
            if words:
                sizes[-1] -= 1  # the last word of a line has no blank behind it
            if ended:
                assert end is not None  # load_tokenizer refuses a checkpoint without it
                tokens.append(end)
                sizes.append(1)
                replaced.append(0)
            if len(tokens) >= PART:
                add()
        add()
        return found.encoded()
