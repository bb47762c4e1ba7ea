"""A ``tokenizer.json`` of the Hugging Face ``tokenizers`` package, an extra, which runs it in a process of its own."""

from __future__ import annotations

import numpy as np

from ..errors import CheckpointError, TextError
from ..text import Text, as_text
from .cover import Cover, Tokens, byte_places
from .encoding import Encoded, Replacer, Specials
from .guarded import EncodedText, GuardedTokenizer
from .huggingface_cuts import may_be_cut, parts
from .huggingface_said import TokenJson
from .said import Placed, held_against
from .tables import Tables

_PART = 1 << 16  # characters, or more, that are encoded together where a text may be cut
_PROBED = 64  # characters after a blank that are encoded with and without it


class HuggingFaceTokenizer:
    """Tokens of a ``tokenizer.json``; the text is encoded as it is, line ends included.

    Special tokens that a post-processor adds, truncation and padding play no part: a text is neither longer nor shorter
    than it is. Characters for which another text has the same tokens are counted as lost. ``rows``: of the model's
    softmax. Where it has fewer than there are tokens, texts that use another are refused.
    """

    needs_end_of_line = False

    def __init__(self, raw: bytes, path: str) -> None:
        self._model = GuardedTokenizer(raw, path)
        self._json = TokenJson(self._model.settings())
        if chance := self._json.chance():
            raise CheckpointError(
                f"{path}: tokenizer.json leaves its tokens to chance ({chance}), so that no run could be made again; "
                "expected it without"
            )
        numbers = self._model.numbers
        self.size = len(self._model.tokens)
        self._said = self._json.said(numbers)
        self._unknown = self._json.unknown(numbers)
        self.rows = self.size
        self.specials = Specials(None, None, None)

    def number(self, token: str) -> int | None:
        """Number of a token, None where there is no such token."""
        return self._model.numbers.get(token)

    def token(self, number: int) -> str:
        """Token of a number."""
        return self._model.tokens[number] or ""

    def tables(self) -> Tables:
        """What is stored of the tokenizer."""
        return self._json.tables(self._said)

    def encode(self, text: Text | str, oov: str = "error") -> Encoded:
        """Numbers of all tokens; see ``WordTokenizer.encode``."""
        text = as_text(text)
        unknown = self._unknown if self.specials.unknown is None else self.specials.unknown
        replace, cover, begun = Replacer(text, unknown, oov), Cover(text), 0
        content = text.content
        is_cut = len(content) > _PART and may_be_cut(self._json.document)
        for part in parts(content, _PART) if is_cut else [content] if content else []:
            found = self._part(text, part, begun)
            self._check_rows(text, found.tokens)
            self._say_unknown(text, found, replace, begun)
            cover.add(found)
            begun += len(part.encode())
        return cover.encoded()

    def _part(self, text: Text, part: str, start: int) -> Tokens:
        """Tokens of a part of a text, which begins at byte ``start``."""
        found = self._model.encode(part)
        numbers = found.ids.tolist()
        said = [None if number == self._unknown else self._said[number] for number in numbers]
        # Offsets count characters.
        bytes_of = start + byte_places(part)
        begins, ends = bytes_of[found.begins], np.maximum.accumulate(bytes_of[found.ends])
        placed = Placed(found.ids, begins, ends, said, start, int(bytes_of[-1]))
        name = None if self._unknown is None else self._said[self._unknown]
        return held_against(text.raw, placed, self._fronts(part, found) if start == 0 else {}, name)

    def _fronts(self, part: str, found: EncodedText) -> dict[int, bool]:
        """Bytes at which the tokenizer may put a blank in front: the first, and those after added tokens.

        And whether the text has one blank there, with and without which it would have the same tokens.
        """
        starts = [(0, 0)]
        if self._json.puts_blanks:
            added = np.flatnonzero(np.isin(found.ids, list(self._json.added)))
            starts += zip(found.begins[added].tolist(), found.ends[added].tolist(), strict=True)
        places, fronts = byte_places(part), {}
        for first, at in starts:
            is_doubtful = False
            if part.startswith(" ", at):
                before, after = part[first:at], part[at + 1 : at + _PROBED]
                one, other = (self._model.encode(f"{before}{blank}{after}").ids for blank in (" ", ""))
                is_doubtful = bool(one.size) and np.array_equal(one, other)
            fronts[int(places[at])] = is_doubtful
        return fronts

    def _check_rows(self, text: Text, tokens: np.ndarray) -> None:
        """Refuse a token that the model has no row for."""
        largest = int(tokens.max(initial=0))
        if largest >= self.rows:
            raise TextError(
                f"{text.name}: has the token {self.token(largest)!r:.60}, number {largest}; the model has rows for "
                f"{self.rows} tokens only; choose a text without it"
            )

    @staticmethod
    def _say_unknown(text: Text, found: Tokens, replace: Replacer, start: int) -> None:
        """Refuse the first unknown token where one is an error; the tokenizer has put them in already."""
        for at in np.flatnonzero(found.replaced)[:1].tolist():
            first = int(found.ends[at - 1]) if at else start
            span = text.raw[first : int(found.ends[at])].tobytes().decode("utf-8", "replace")
            line = 1 + int(np.count_nonzero(text.raw[:first] == 0x0A)) + (len(span) - len(span.lstrip("\n")))
            replace(span.strip(), line, "word")
