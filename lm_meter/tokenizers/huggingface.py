"""A ``tokenizer.json`` of the Hugging Face ``tokenizers`` package, an extra, which runs it in a process of its own."""

from __future__ import annotations

from array import array

import numpy as np

from ..errors import CheckpointError, TextError
from ..text import Text
from .encoding import Encoded, Replacer, Specials
from .guarded import GuardedTokenizer
from .huggingface_cuts import may_be_cut, parts
from .spans import encoded_spans

_PART = 1 << 16  # characters, or more, that are encoded together where a text may be cut


class HuggingFaceTokenizer:
    """Tokens of a ``tokenizer.json``; the text is encoded as it is, line ends included, without special tokens."""

    needs_end_of_line = False

    def __init__(self, raw: bytes, path: str) -> None:
        self._model = GuardedTokenizer(raw, path)
        self.size = len(self._model.tokens)
        largest = max(self._model.numbers.values(), default=0)
        if largest >= self.size:  # a model has no row for it
            raise CheckpointError(
                f"{path}: tokenizer.json numbers a token {largest}; expected numbers below {self.size}, which is how "
                "many tokens it has"
            )
        self.specials = Specials(None, None, None)

    def number(self, token: str) -> int | None:
        """Number of a token, None where there is no such token."""
        return self._model.numbers.get(token)

    def token(self, number: int) -> str:
        """Token of a number."""
        return self._model.tokens[number] or ""

    def encode(self, text: Text, oov: str = "error") -> Encoded:
        """Numbers of all tokens; see ``WordTokenizer.encode``."""
        Replacer(text, self.specials.unknown, oov)
        tokens, ends, begun = array("i"), array("q"), 0
        content = text.content
        is_cut = len(content) > _PART and may_be_cut(self._model.settings())
        for part in parts(content, _PART) if is_cut else [content]:
            found = self._model.encode(part)
            if self._model.decode(found.ids) != part:
                raise TextError(
                    f"{text.name}: the checkpoint's tokenizer changes the text when it encodes it; a perplexity of the "
                    "changed text would not be one of this text"
                )
            places = begun + _places(part)
            tokens.frombytes(found.ids.astype(np.int32).tobytes())
            # Offsets count characters; a character may be several tokens, of which the first one stands for it.
            ends.frombytes(places[found.ends].tobytes())
            begun = int(places[-1])
        behind = np.maximum.accumulate(np.frombuffer(ends, np.int64))
        behind[-1:] = begun
        return encoded_spans(text.raw, np.frombuffer(tokens, np.int32), behind)


def _places(content: str) -> np.ndarray:
    """Byte at which each character begins, and the one behind the last: (characters + 1,) int64."""
    codes = np.frombuffer(content.encode("utf-32-le"), np.uint32)
    places = np.zeros(codes.size + 1, np.int64)
    np.cumsum(1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000), out=places[1:])
    return places
