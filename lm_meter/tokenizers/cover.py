"""The tokens of a text beside the bytes that each stands for: nothing but blanks may be left out.

A tokenizer says, for each token, where it ends in the text and what of the bytes up to there it does not say. What it
claims is held against the text that is run, and not against a decoder, which belongs to whoever wrote the tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..errors import TextError
from ..spool import Spool, forget
from ..text import Text
from .encoding import Encoded

_BLANKS = np.frombuffer(b" \t\r\f\v\n", np.uint8)
_LINE_END = 0x0A
_PART = 1 << 14  # tokens that are looked at together: what else is needed does not grow with the text
_MOST_SHOWN = 40  # characters of a text in a message


@dataclass(frozen=True)
class Tokens:
    """Some tokens, one after the other.

    Attributes
    ----------
    tokens : (n,) integers
    ends : (n,) int64
        Byte of the text after each token; it may be that of the token before.
    unscored : (n,) integers, or 0
        Bytes, of those since the end of the token before, that the token does not say.
    lost : (n,) integers, or 0
        Characters of them for which another text has the same token.
    replaced : (n,) booleans or integers, or 0
        Whether the token is the unknown one, in place of something else.
    blanks : (n,) integers, or 0
        Bytes of blanks (other than ASCII's) that the tokenizer's own program takes for such: they may be left out too.
    words : (n,) integers, optional
        Word tokens that begin in each token, where that is not decided by their first bytes: a blank that stands before
        a word may be a token of its own, with which the word begins.
    """

    tokens: np.ndarray
    ends: np.ndarray
    unscored: np.ndarray | int = 0
    lost: np.ndarray | int = 0
    replaced: np.ndarray | int = 0
    blanks: np.ndarray | int = 0
    words: np.ndarray | None = None

    def part(self, first: int, last: int) -> Tokens:
        """Tokens ``first`` to ``last`` - 1, with an array for each attribute that has one value for all."""

        def of(column: np.ndarray | int) -> np.ndarray:
            if isinstance(column, int):
                return np.broadcast_to(column, last - first)
            return np.asarray(column)[first:last]

        return Tokens(
            of(self.tokens),
            of(self.ends),
            of(self.unscored),
            of(self.lost),
            of(self.replaced),
            of(self.blanks),
            None if self.words is None else of(self.words),
        )


class Cover:
    """Gathers the tokens of a text and makes its ``Encoded``."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._columns = [Spool(np.int32) for _ in fields(Encoded)]
        self._end = 0  # of the last token
        self._last: list[int] | None = None  # columns of the last token, which takes what follows it
        self._is_replaced_word = False  # whether the word token that has begun last was replaced, in part at least

    def add(self, found: Tokens) -> None:
        """Append tokens; TextError where one leaves out what is no blank."""
        for first in range(0, len(found.tokens), _PART):
            self._add(found.part(first, min(first + _PART, len(found.tokens))))

    def _add(self, found: Tokens) -> None:
        raw, start, unscored = self._text.raw, self._end, np.asarray(found.unscored)
        own = found.ends - start
        here = raw[start : start + int(own[-1])]
        is_blank = np.isin(here, _BLANKS)
        is_end = here == _LINE_END
        before = np.append(start == 0 or raw[start - 1] in _BLANKS, is_blank[:-1])[: here.size]
        begun = np.diff(_sums(is_end | (~is_blank & before))[own], prepend=0)
        sizes = np.diff(own, prepend=0)
        may_miss = np.diff(_sums(is_blank & ~is_end)[own], prepend=0) + found.blanks
        bad = np.flatnonzero((unscored > may_miss) | (sizes < 0))
        if bad.size:
            at = int(bad[0])
            self._refuse(start + int(own[at] - sizes[at]), start + int(own[at]))
        continued = np.append(~is_blank & ~before, False)[np.append(0, own[:-1])] & (sizes > 0)
        words, replaced = begun if found.words is None else found.words, np.asarray(found.replaced)
        gone = self._replaced_words(words, begun + continued, replaced)
        columns = [found.tokens, words, sizes, unscored, np.asarray(found.lost), replaced, gone]
        if self._last is not None:
            self._write([[value] for value in self._last])
        self._write([column[:-1] for column in columns])
        self._last = [int(column[-1]) for column in columns]
        self._end = int(found.ends[-1])
        forget(raw)

    def _replaced_words(self, words: np.ndarray, touched: np.ndarray, replaced: np.ndarray) -> np.ndarray:
        """Word tokens that each replaced token takes a part of and that none before it did.

        ``touched``: those that each token has bytes of; one more than begin in it where it goes on with a word.
        """
        counts = np.zeros(words.size, np.int32)
        if not self._is_replaced_word and not np.any(replaced):
            return counts
        for at in np.flatnonzero((words > 0) | (replaced > 0)).tolist():
            if replaced[at]:
                counts[at] = touched[at] - (touched[at] > words[at] and self._is_replaced_word)
            self._is_replaced_word = bool(replaced[at])
        return counts

    def _write(self, columns: list[np.ndarray] | list[list[int]]) -> None:
        for column, values in zip(self._columns, columns, strict=True):
            column.add(np.asarray(values, np.int32))

    def encoded(self) -> Encoded:
        """All of them; TextError where what stands after the last token is not of blanks."""
        rest = self._text.raw[self._end :]
        if not np.isin(rest, _BLANKS[:-1]).all():
            self._refuse(self._end, self._text.raw.size)
        if self._last is not None:
            _, _, sizes, unscored, *_ = range(len(self._columns))
            self._last[sizes] += rest.size
            self._last[unscored] += rest.size
            self._write([[value] for value in self._last])
            self._last = None
        return Encoded(*(column.array() for column in self._columns))

    def _refuse(self, first: int, last: int) -> None:
        raw = self._text.raw
        line = 1 + int(np.count_nonzero(raw[:first] == _LINE_END))
        left_out = raw[first : max(last, first + 1)].tobytes().decode("utf-8", "replace")
        shown = left_out if len(left_out) <= _MOST_SHOWN else left_out[: _MOST_SHOWN - 3] + "..."
        raise TextError(
            f"{self._text.name}: line {line}: the tokenizer leaves out all or a part of {shown!r}; expected tokens "
            "that cover every word and line end, as what is not predicted is not paid for"
        )


def _sums(flags: np.ndarray) -> np.ndarray:
    """Cumulative sums that begin with 0: (n + 1,) int64."""
    sums = np.zeros(flags.size + 1, np.int64)
    np.cumsum(flags, out=sums[1:])
    return sums


def byte_places(content: str) -> np.ndarray:
    """Byte at which each character begins in UTF-8, and the one after the last: (characters + 1,) int64."""
    codes = np.frombuffer(content.encode("utf-32-le"), np.uint32)
    places = np.zeros(codes.size + 1, np.int64)
    np.cumsum(1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000), out=places[1:])
    return places
