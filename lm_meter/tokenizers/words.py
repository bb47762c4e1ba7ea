"""Words of a fixed vocabulary, as WikiText writes them."""

from __future__ import annotations

import hashlib

import numpy as np

from ..text import Text, as_text
from .cover import Cover, Tokens
from .encoding import Encoded, Replacer, Specials, unique
from .joined import ASCII, parts_of
from .tables import Tables, table_bits

_RETURN = 0x0D
# The words of WikiText-103's training text, <unk> and <eos> among them: how many there are, and the SHA-256 of them,
# sorted by their bytes, with a line feed between two.
WIKITEXT_103_WORDS = 267_735
WIKITEXT_103_WORDS_SHA256 = "53e2fa3dc1d637b65b7e2c60328cbb8adb94c3e7cba914470250545d494ce8a0"


class WordTokenizer:
    """One number for each word of a fixed vocabulary, and one for the end of each line.

    ``blanks`` : what separates words, see ``parts_of``.
    """

    needs_end_of_line = True

    def __init__(self, content: str, path: str, blanks: str = ASCII) -> None:
        self._words = content.split("\n")
        if self._words[-1] == "":
            self._words.pop()
        numbers = unique(self._words, path, "word")
        # The bytes of a text are looked up. A lone surrogate, which JSON can hold, is in no text.
        self._numbers = {word.encode("utf-8", "surrogatepass"): number for word, number in numbers.items()}
        self._blanks = blanks
        self.size = len(self._words)
        self.specials = Specials(None, None, None)

    def number(self, token: str) -> int | None:
        """Number of a word, None where the vocabulary has no such word."""
        return self._numbers.get(token.encode("utf-8", "surrogatepass"))

    def token(self, number: int) -> str:
        """Word of a number."""
        return self._words[number]

    def tables(self) -> Tables:
        """What is stored of the tokenizer."""
        longest = max(map(len, self._numbers), default=0)
        return Tables(table_bits(self._numbers), longest_token=longest, is_given=self._is_given())

    def _is_given(self) -> bool:
        if self.size != WIKITEXT_103_WORDS:
            return False
        return hashlib.sha256(b"\n".join(sorted(self._numbers))).hexdigest() == WIKITEXT_103_WORDS_SHA256

    def encode(self, text: Text | str, oov: str = "error") -> Encoded:
        """Numbers of all words and line ends; an unknown word is an error unless ``oov`` is "unk"."""
        text = as_text(text)
        replace, found, line = Replacer(text, self.specials.unknown, oov), Cover(text), 1
        end = self.specials.end_of_line
        assert end is not None  # load_tokenizer refuses a checkpoint without it
        for part in parts_of(text, self._blanks):
            words = part.words()
            tokens = np.fromiter((self._numbers.get(word, -1) for word in words), np.int64, len(words))
            tokens[part.is_end] = end
            is_unknown, lines = tokens < 0, line + np.cumsum(part.is_end)
            # A word that is the end of a line, or an end that is another one's, says two texts.
            lost = (part.is_end & (part.raw[np.minimum(part.begins, part.raw.size - 1)] == _RETURN)).astype(np.int64)
            for at in np.flatnonzero(is_unknown | (~part.is_end & (tokens == end))).tolist():
                word = words[at].decode()
                if is_unknown[at]:
                    tokens[at] = replace(word, int(lines[at]), "word")
                lost[at] = len(word)
            ends, unscored = part.placed(np.cumsum(part.sizes))
            found.add(Tokens(tokens, ends, unscored, lost, is_unknown, part.other_blanks()))
            line += int(part.is_end.sum())
        return found.encoded()
