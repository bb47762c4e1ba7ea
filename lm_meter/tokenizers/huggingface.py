"""A ``tokenizer.json`` of the Hugging Face ``tokenizers`` package, which runs it: an extra."""

from __future__ import annotations

import itertools

import numpy as np

from ..errors import CheckpointError, ConfigError, TextError
from ..text import Text
from .encoding import Encoded, Replacer, Specials
from .spans import encoded_spans


class HuggingFaceTokenizer:
    """Tokens of a ``tokenizer.json``; the text is encoded as it is, line ends included, without special tokens."""

    needs_end_of_line = False

    def __init__(self, raw: bytes, path: str) -> None:
        try:
            import tokenizers
        except ImportError:
            raise ConfigError(
                f"{path}: its tokenizer needs the package tokenizers, which is not installed; pip install "
                "'lm-meter[huggingface]'"
            ) from None
        try:
            self._model = tokenizers.Tokenizer.from_buffer(raw)
        except Exception as error:  # the package raises nothing more special
            raise CheckpointError(f"{path}: tokenizer.json cannot be read ({str(error)[:80]})") from None
        self.size = self._model.get_vocab_size(with_added_tokens=True)
        largest = max(self._model.get_vocab(with_added_tokens=True).values(), default=0)
        if largest >= self.size:  # a model has no row for it
            raise CheckpointError(
                f"{path}: tokenizer.json numbers a token {largest}; expected numbers below {self.size}, which is how "
                "many tokens it has"
            )
        self.specials = Specials(None, None, None)

    def number(self, token: str) -> int | None:
        """Number of a token, None where there is no such token."""
        found = self._model.token_to_id(token)
        return None if found is None else int(found)

    def token(self, number: int) -> str:
        """Token of a number."""
        return self._model.id_to_token(number) or ""

    def encode(self, text: Text, oov: str = "error") -> Encoded:
        """Numbers of all tokens; see ``WordTokenizer.encode``."""
        Replacer(text, self.specials.unknown, oov)
        found = self._model.encode(text.content, add_special_tokens=False)
        if self._model.decode(found.ids, skip_special_tokens=False) != text.content:
            raise TextError(
                f"{text.name}: the checkpoint's tokenizer changes the text when it encodes it; a perplexity of the "
                "changed text would not be one of this text"
            )
        # Offsets count characters; a character may be several tokens, of which the first one stands for it.
        places = np.array([0, *itertools.accumulate(len(c.encode()) for c in text.content)])
        ends = np.maximum.accumulate(places[[end for _, end in found.offsets]])
        ends[-1:] = places[-1]
        return encoded_spans(text.content.encode(), np.array(found.ids), ends)
