"""Texts: lines of words, as WikiText writes them."""

from __future__ import annotations

import codecs
import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .errors import ConfigError, TextError
from .regular_file import open_stream
from .spool import Spool, forget, in_parts

# WikiText separates words by spaces. The other ASCII blanks are accepted; Unicode's are part of a word, as in WikiText.
_WORD = re.compile(r"[^ \t\r\f\v\n]+")
_SLAB = 1 << 16  # bytes that are looked at together, or one line that has more
_LINE_END = 0x0A
_IS_OF_A_WORD = np.array([chr(byte) not in " \t\r\f\v\n" for byte in range(256)])


@dataclass(frozen=True, eq=False)
class Text:
    """A text to be scored.

    Attributes
    ----------
    name : str
        What a report calls it.
    sha256 : str
        Of the whole file, whatever the limit.
    raw : (bytes,) uint8
        The text in UTF-8, cut behind the last word that is to be scored.
    cut : bool
        True where a limit ended the text inside a line: that line has no end then.
    path : Path, optional
        The file that it was read from.
    """

    name: str
    sha256: str
    raw: np.ndarray
    cut: bool = False
    path: Path | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Text):
            return NotImplemented
        ours, theirs = ((text.name, text.sha256, text.cut) for text in (self, other))
        return ours == theirs and np.array_equal(self.raw, other.raw)

    def __hash__(self) -> int:
        return hash((self.name, self.sha256, self.cut))

    @property
    def content(self) -> str:
        """The whole text."""
        return "".join(self.parts())

    def parts(self) -> Iterator[str]:
        """The text, some whole lines at a time: a long text never is in memory."""
        for raw in self._raw_parts():
            yield raw.tobytes().decode()

    def _raw_parts(self) -> Iterator[np.ndarray]:
        size, first = self.raw.size, 0
        while first < size:
            last = min(first + _SLAB, size)
            while last < size and not (found := np.flatnonzero(self.raw[first:last] == _LINE_END)).size:
                last = min(first + 2 * (last - first), size)  # a longer line
            if last < size:
                last = first + int(found[-1]) + 1
            yield self.raw[first:last]
            forget(self.raw)
            first = last

    def word_spans(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Word tokens, words and ends of lines, of some whole lines at a time.

        Yields
        ------
        raw : (bytes,) uint8
            The lines in UTF-8.
        begins, ends : (tokens,) int64
            The byte that each token begins with, and the one behind it. The end of a last line that is not in the file
            is not among them.
        """
        for raw in self._raw_parts():
            is_end = raw == _LINE_END
            edges = np.diff(_IS_OF_A_WORD[raw].view(np.int8), prepend=0, append=0)
            begins, ends = edges == 1, edges == -1
            begins[:-1] |= is_end
            ends[1:] |= is_end
            yield raw, np.flatnonzero(begins), np.flatnonzero(ends)

    def raw_lines(self) -> Iterator[tuple[str, bool]]:
        """Each line as it stands there, and whether the line's end belongs to the text."""
        for part in self.parts():
            *lines, rest = part.split("\n")
            yield from ((line, True) for line in lines)
            if rest:
                yield rest, not self.cut

    def lines(self) -> list[tuple[list[str], bool]]:
        """Words of each line, and whether the line's end belongs to the text."""
        return list(self.each_line())

    def each_line(self) -> Iterator[tuple[list[str], bool]]:
        """What ``lines`` gives, one after the other: the words of a long text are many."""
        for line, ended in self.raw_lines():
            yield _WORD.findall(line), ended

    def is_whole(self) -> bool:
        """Whether all of the file is here, its last end of line too."""
        if self.cut:
            return False
        digest = hashlib.sha256()
        for part in in_parts(self.raw):
            digest.update(part.data)
        return digest.hexdigest() == self.sha256

    @property
    def word_tokens(self) -> int:
        """Words, plus one end of line for each line."""
        return sum(len(words) + ended for words, ended in self.each_line())


def read_text(path: str | Path, name: str | None = None) -> Text:
    """Read a UTF-8 file, one line of words a line. One that begins with a byte-order mark is refused."""
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"text is {path!r:.60}; expected the name of a file, or what lm_meter.read_text returns")
    path = Path(path)
    # The name of a file need not be UTF-8; what a report calls it must be.
    name = name or str(path).encode("utf-8", "replace").decode()
    try:
        with open_stream(path) as file:
            return _text(iter(lambda: file.read(_SLAB), b""), name, path)
    except OSError as error:
        raise TextError(f"{path}: cannot be read ({error.strerror}); expected a UTF-8 text file") from None


def text_from_bytes(raw: bytes, name: str, path: Path | None = None) -> Text:
    """The text in ``raw``, which must be UTF-8 and not empty."""
    return _text((raw[first : first + _SLAB] for first in range(0, len(raw), _SLAB)), name, path)


def as_text(value: Text | str) -> Text:
    """A text as it is, or what a string has in it as one; ConfigError where ``value`` is neither."""
    if isinstance(value, Text):
        return value
    if not isinstance(value, str):
        raise ConfigError(f"text is {value!r:.60}; expected a string, or what lm_meter.read_text returns")
    return text_from_bytes(value.encode("utf-8", "surrogatepass"), "the string")


def _text(parts: Iterable[bytes], name: str, path: Path | None) -> Text:
    raw, digest, decoder = Spool(np.uint8), hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    size = lines = 0
    for part in itertools.chain(parts, [b""]):
        begun = len(decoder.getstate()[0])  # bytes of a character that the part before has begun
        try:
            decoder.decode(part, final=not part)
        except UnicodeDecodeError as error:
            line = lines + error.object.count(b"\n", 0, error.start) + 1
            raise TextError(
                f"{name}: line {line}: byte {size - begun + error.start} is not UTF-8 "
                f"(0x{error.object[error.start]:02x}); convert the text to UTF-8"
            ) from None
        if not size and part.startswith(codecs.BOM_UTF8):
            raise TextError(
                f"{name}: begins with a byte-order mark (U+FEFF, 3 bytes), which would be scored as part of its first "
                "word; remove it, as tail -c +4 does"
            )
        digest.update(part)
        raw.add(np.frombuffer(part, np.uint8))
        size, lines = size + len(part), lines + part.count(b"\n")
    if not size:
        raise TextError(f"{name}: the text is empty; expected at least one line")
    return Text(name, digest.hexdigest(), raw.array(), path=path)


def first_words(text: Text, limit: int) -> Text:
    """The first ``limit`` word tokens of a text; line ends count as tokens."""
    if limit < 1:
        raise ConfigError(f"limit is {limit}; expected 1 or more word tokens")
    left, at = limit, 0
    for line, _ in text.raw_lines():
        words = list(_WORD.finditer(line))
        if left <= len(words):
            return replace(text, raw=text.raw[: at + len(line[: words[left - 1].end()].encode())], cut=True)
        left -= len(words) + 1
        at = min(at + len(line.encode()) + 1, text.raw.size)
        if left == 0:
            return replace(text, raw=text.raw[:at])
    return text
