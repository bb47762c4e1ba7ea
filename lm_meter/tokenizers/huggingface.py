"""A ``tokenizer.json`` of the Hugging Face ``tokenizers`` package, which runs it: an extra."""

from __future__ import annotations

from array import array

import numpy as np

from ..errors import CheckpointError, ConfigError, TextError
from ..text import Text
from .encoding import Encoded, Replacer, Specials
from .huggingface_cuts import may_be_cut, parts
from .spans import encoded_spans

_PART = 1 << 16  # characters, or more, that are encoded together where a text may be cut


class HuggingFaceTokenizer:
    """Tokens of a ``tokenizer.json``; the text is encoded as it is, line ends included, without special tokens.

    ``rows``: of the model's softmax. Where it has fewer than there are tokens, texts that use another are refused.
    """

    needs_end_of_line = False

    def __init__(self, raw: bytes, path: str) -> None:
        try:
            import tokenizers
        except ImportError:
            raise ConfigError(
                f"{path}: its tokenizer needs the package tokenizers, which is not installed; pip install tokenizers"
            ) from None
        try:
            self._model = tokenizers.Tokenizer.from_buffer(raw)
        except Exception as error:  # the package raises nothing more special
            raise CheckpointError(f"{path}: tokenizer.json cannot be read ({str(error)[:80]})") from None
        # Of how its batches are made; the library asks for neither where it encodes a text.
        self._model.no_truncation()
        self._model.no_padding()
        self.size = self._model.get_vocab_size(with_added_tokens=True)
        largest = max(self._model.get_vocab(with_added_tokens=True).values(), default=0)
        if largest >= self.size:  # a model has no row for it
            raise CheckpointError(
                f"{path}: tokenizer.json numbers a token {largest}; expected numbers below {self.size}, which is how "
                "many tokens it has"
            )
        self.rows = self.size
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
        tokens, ends, begun = array("i"), array("q"), 0
        content = text.content
        is_cut = len(content) > _PART and may_be_cut(self._model.to_str())
        for part in parts(content, _PART) if is_cut else [content]:
            found = self._model.encode(part, add_special_tokens=False)
            if self._model.decode(found.ids, skip_special_tokens=False) != part:
                raise TextError(
                    f"{text.name}: the checkpoint's tokenizer changes the text when it encodes it; a perplexity of the "
                    "changed text would not be one of this text"
                )
            self._check_rows(text, found.ids)
            places = begun + _places(part)
            tokens.extend(found.ids)
            # Offsets count characters; a character may be several tokens, of which the first one stands for it.
            ends.frombytes(places[np.fromiter((end for _, end in found.offsets), np.int64)].tobytes())
            begun = int(places[-1])
        behind = np.maximum.accumulate(np.frombuffer(ends, np.int64))
        behind[-1:] = begun
        return encoded_spans(text.raw, np.frombuffer(tokens, np.int32), behind)

    def _check_rows(self, text: Text, ids: list[int]) -> None:
        """Refuse a token that the model has no row for."""
        largest = max(ids, default=0) if self.rows < self.size else 0
        if largest >= self.rows:
            raise TextError(
                f"{text.name}: has the token {self.token(largest)!r:.60}, number {largest}; the model has rows for "
                f"{self.rows} tokens only; choose a text without it"
            )


def _places(content: str) -> np.ndarray:
    """Byte at which each character begins, and the one behind the last: (characters + 1,) int64."""
    codes = np.frombuffer(content.encode("utf-32-le"), np.uint32)
    places = np.zeros(codes.size + 1, np.int64)
    np.cumsum(1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000), out=places[1:])
    return places
