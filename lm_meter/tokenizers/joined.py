"""A text as WikiText has it: the words of a line, joined by one blank, and the ends of lines.

What is between two words is one blank in this form, whatever stands in the text; blanks at either end of a line are
nothing. Tokenizers of words and of SentencePiece read this form. Here each of its bytes has its place in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..text import Text
from .cover import byte_places

ASCII, UNICODE = "ascii", "unicode"
BLANKS = (ASCII, UNICODE)  # what separates words: see ``parts_of``
_LINE_END = 0x0A
_BLANK = 0x20
_ASCII_BLANKS = b" \t\r\f\v"
# Words as Python's ``str.split()`` finds them, and the ends of lines of a text file that Python reads.
_UNICODE_BLANKS = "".join(
    chr(code) for code in range(0x10000) if chr(code).isspace()
)  # none is beyond the basic multilingual plane
_UNIT = re.compile(rf"\r\n?|\n|[^{re.escape(_UNICODE_BLANKS)}]+")


@dataclass(frozen=True, eq=False)
class JoinedPart:
    """Some whole lines of a text: their units, which are words and ends of lines, in order.

    Attributes
    ----------
    start : int
        Byte of the text at which they begin.
    raw : (bytes,) uint8
        The lines in UTF-8.
    begins, ends : (units,) int64
        The byte of ``raw`` that each unit begins with, and the one after it. The end of a last line that is not in the
        file is a unit of no bytes.
    is_end : (units,) bool
        Whether a unit is the end of a line.
    """

    start: int
    raw: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    is_end: np.ndarray

    @cached_property
    def is_joined(self) -> np.ndarray:
        """Whether one blank stands before each unit in the joined form: (units,) bool."""
        return ~self.is_end & ~np.append(True, self.is_end[:-1])[: self.is_end.size]

    @cached_property
    def sizes(self) -> np.ndarray:
        """Bytes of each unit in the joined form, with the blank before it: (units,) int64."""
        return np.where(self.is_end, np.minimum(1, self.ends - self.begins), self.ends - self.begins) + self.is_joined

    @cached_property
    def content(self) -> bytes:
        """The lines as they are in the text."""
        return self.raw.tobytes()

    def words(self) -> list[bytes]:
        """Each unit in UTF-8; that of a line end as it stands in the text."""
        content = self.content
        return [content[first:last] for first, last in zip(self.begins.tolist(), self.ends.tolist(), strict=True)]

    def lines(self) -> list[bytes]:
        """Words of each line, joined by one blank, without the line's end; a line that is cut is the last one."""
        found: list[bytes] = []
        words, first = self.words(), 0
        for end in np.flatnonzero(self.is_end).tolist():
            found.append(b" ".join(words[first:end]))
            first = end + 1
        return found if first == len(words) else [*found, b" ".join(words[first:])]

    @cached_property
    def _otherwise(self) -> np.ndarray:
        """Whether what stands before a unit is no blank (U+0020), although the joined form has one: (units,) bool."""
        before = np.append(0, self.ends[:-1])[: self.ends.size]
        blanks = np.append(0, np.cumsum(self.raw == _BLANK))
        return self.is_joined & (blanks[self.begins] == blanks[before])

    def other_blanks(self) -> np.ndarray:
        """Bytes before each unit, and in a line's end, that are no blanks in ASCII: (units,) int64."""
        is_other = ~np.isin(self.raw, np.frombuffer(_ASCII_BLANKS, np.uint8))
        sums = np.append(0, np.cumsum(is_other))
        before = np.append(0, self.ends[:-1])[: self.ends.size]
        return sums[self.begins] - sums[before]

    def placed(self, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where tokens of the joined form end in the text, and what of the text they do not say.

        Parameters
        ----------
        ends : (tokens,) int64
            Byte of the joined form after each token, from the first of this part.

        Returns
        -------
        places : (tokens,) int64
            The same in the text. A token that ends with the blank between two words ends where the second one begins.
        unscored : (tokens,) int64
            Bytes of the text up to there, from the end of the token before, that are not in the joined form.
        """
        last = np.cumsum(self.sizes)
        units = np.searchsorted(last, ends, side="left")
        left = last[units] - ends  # bytes of the unit after the token's end
        places = np.maximum(self.ends[units] - left, self.begins[units])
        unscored = np.diff(places, prepend=0) - np.diff(ends, prepend=0)
        others = np.flatnonzero(self._otherwise)
        if others.size:
            blanks = (last - self.sizes)[others]
            np.add.at(unscored, np.searchsorted(ends, blanks, side="right"), 1)
        return self.start + places, unscored

    def words_in(self, ends: np.ndarray, firsts: np.ndarray) -> np.ndarray:
        """Words and ends of lines that begin in each token, a word with the blank before it: (tokens,) int64.

        Parameters
        ----------
        ends : (tokens,) int64
            Byte of the joined form after each token, from the first of this part.
        firsts : (lines,) int64
            The first token of each line, with which its first word begins.
        """
        starts = np.cumsum(self.sizes) - self.sizes
        tokens = np.searchsorted(ends, starts, side="right")
        is_first = ~self.is_end & ~self.is_joined
        lines = np.cumsum(self.is_end) - self.is_end
        tokens[is_first] = firsts[lines[is_first]]
        tokens[self.is_end & (self.sizes == 0)] = ends.size - 1  # the end of the last line, which is not in the file
        return np.bincount(tokens, minlength=ends.size)


def parts_of(text: Text, blanks: str = ASCII) -> Iterator[JoinedPart]:
    """A text in parts of whole lines.

    ``blanks``: what separates words. ``ascii``: blanks, tabs, carriage returns, form feeds and vertical tabs; a line
    ends in U+000A. ``unicode``: whatever Python's ``str.split()`` takes for a blank; lines end as in a file that Python
    opens as text, also in U+000D.
    """
    units_of = _ascii_units(text) if blanks == ASCII else _unicode_units(text)
    start = 0
    held: JoinedPart | None = None
    for raw, begins, ends, is_end in units_of:
        if held is not None:
            yield held
        held = JoinedPart(start, raw, begins, ends, is_end)
        start += raw.size
    if held is not None:
        yield _with_last_end(held, text.cut)


_Units = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


def _ascii_units(text: Text) -> _Units:
    for raw, begins, ends in text.word_spans():
        yield raw, begins, ends, raw[begins] == _LINE_END


def _unicode_units(text: Text) -> _Units:
    for content in text.parts():
        spans = np.array([found.span() for found in _UNIT.finditer(content)], np.int64).reshape(-1, 2)
        places = byte_places(content)
        begins, ends = places[spans[:, 0]], places[spans[:, 1]]
        raw = np.frombuffer(content.encode(), np.uint8)
        yield raw, begins, ends, np.isin(raw[begins], (_LINE_END, 0x0D))


def _with_last_end(part: JoinedPart, cut: bool) -> JoinedPart:
    """The last part with the end of its last line, which need not be in the file; none where the text was cut."""
    closed = int(part.ends[-1]) if part.is_end.any() and part.is_end[-1] else None
    if cut or closed == part.raw.size:
        return part
    size = part.raw.size
    begins, ends = np.append(part.begins, size), np.append(part.ends, size)
    return JoinedPart(part.start, part.raw, begins, ends, np.append(part.is_end, True))
