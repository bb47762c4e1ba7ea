"""A ``tokenizer.json`` of the Hugging Face ``tokenizers`` package, which runs it: an extra."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import CheckpointError, ConfigError
from ..text import Text
from .cover import Cover, Tokens, byte_places
from .encoding import Encoded, Replacer, Specials
from .huggingface_cuts import may_be_cut, parts
from .huggingface_said import TokenJson
from .said import Placed, held_against, spelled
from .tables import Tables

_PART = 1 << 16  # characters, or more, that are encoded together where a text may be cut
_PROBED = 64  # characters after a blank that are encoded with and without it


class HuggingFaceTokenizer:
    """Tokens of a ``tokenizer.json``; the text is encoded as it is, line ends included.

    Special tokens that a post-processor adds, truncation and padding play no part: a text is neither longer nor shorter
    than it is. Characters for which another text has the same tokens are counted as lost.
    """

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
        self._model.no_truncation()
        self._model.no_padding()
        self._json = TokenJson(self._model.to_str())
        if chance := self._json.chance():
            raise CheckpointError(
                f"{path}: tokenizer.json leaves its tokens to chance ({chance}), so that no run could be made again; "
                "expected it without"
            )
        numbers = self._model.get_vocab(with_added_tokens=True)
        self.size = self._model.get_vocab_size(with_added_tokens=True)
        largest = max(numbers.values(), default=0)
        if largest >= self.size:  # a model has no row for it
            raise CheckpointError(
                f"{path}: tokenizer.json numbers a token {largest}; expected numbers below {self.size}, which is how "
                "many tokens it has"
            )
        self._said = self._json.said(numbers)
        self._unknown = self._json.unknown(numbers)
        self.specials = Specials(None, None, None)

    def number(self, token: str) -> int | None:
        """Number of a token, None where there is no such token."""
        found = self._model.token_to_id(token)
        return None if found is None else int(found)

    def token(self, number: int) -> str:
        """Token of a number."""
        return self._model.id_to_token(number) or ""

    def tables(self) -> Tables:
        """What is stored of the tokenizer."""
        return self._json.tables(self._said)

    def encode(self, text: Text, oov: str = "error") -> Encoded:
        """Numbers of all tokens; see ``WordTokenizer.encode``."""
        unknown = self._unknown if self.specials.unknown is None else self.specials.unknown
        replace, cover, begun = Replacer(text, unknown, oov), Cover(text), 0
        content = text.content
        is_cut = len(content) > _PART and may_be_cut(self._model.to_str())
        for part in parts(content, _PART) if is_cut else [content] if content else []:
            found = self._part(text, part, begun)
            self._say_unknown(text, found, replace, begun)
            cover.add(found)
            begun += len(part.encode())
        return cover.encoded()

    def _part(self, text: Text, part: str, start: int) -> Tokens:
        """Tokens of a part of a text, which begins at byte ``start``."""
        found = self._encoded(part)
        tokens = np.array(found.ids, np.int32)
        known = [self._said[number] for number in found.ids]
        places = None if self._unknown in found.ids else spelled(part.encode(), known, is_front=start == 0)
        fronts = self._fronts(part, found) if start == 0 else {}
        if places is not None:
            made = Tokens(tokens, start + places)
        else:
            said = [None if number == self._unknown else one for number, one in zip(found.ids, known, strict=True)]
            # Offsets count characters. Where tokens stand for the same ones, they end where the last of them does.
            offsets = start + byte_places(part)[np.array(found.offsets, np.int64).reshape(-1, 2)]
            ends = np.maximum.accumulate(offsets[:, 1])
            placed = Placed(tokens, offsets[:, 0], ends, said, start, start + len(part.encode()))
            name = None if self._unknown is None else self._said[self._unknown]
            made = held_against(text.raw, placed, fronts, name)
        return _with_doubtful(made, [at for at, is_doubtful in fronts.items() if is_doubtful])

    def _fronts(self, part: str, found: Any) -> dict[int, bool]:
        """Bytes at which the tokenizer may put a blank in front: the first, and those after added tokens.

        And whether the text has one blank there, with and without which it would have the same tokens.
        """
        places, fronts = byte_places(part), {}
        for at, first in [
            (0, 0),
            *(
                (end, begin)
                for number, (begin, end) in zip(found.ids, found.offsets, strict=True)
                if number in self._json.added
            ),
        ]:
            is_doubtful = False
            if part.startswith(" ", at):
                before, after = part[first:at], part[at + 1 : at + _PROBED]
                is_doubtful = self._encoded(f"{before} {after}").ids == self._encoded(before + after).ids
            fronts[int(places[at])] = is_doubtful
        return fronts

    def _encoded(self, part: str) -> Any:
        return self._model.encode(part, add_special_tokens=False)

    @staticmethod
    def _say_unknown(text: Text, found: Tokens, replace: Replacer, start: int) -> None:
        """Refuse unknown tokens where they are an error; the tokenizer has put them in already."""
        for at in np.flatnonzero(found.replaced).tolist():
            first = int(found.ends[at - 1]) if at else start
            span = text.raw[first : int(found.ends[at])].tobytes().decode("utf-8", "replace")
            line = 1 + int(np.count_nonzero(text.raw[:first] == 0x0A)) + (len(span) - len(span.lstrip("\n")))
            replace(span.strip(), line, "word")


def _with_doubtful(found: Tokens, places: list[int]) -> Tokens:
    """The same, where blanks at these bytes are not scored."""
    if not places:
        return found
    unscored = np.array(np.broadcast_to(found.unscored, found.tokens.size))
    np.add.at(unscored, np.searchsorted(found.ends, places, side="right"), 1)
    return Tokens(found.tokens, found.ends, unscored, found.lost, found.replaced)
