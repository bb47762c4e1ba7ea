"""Texts: lines of words, as WikiText writes them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from .errors import ConfigError, TextError

# WikiText separates words by spaces. The other ASCII blanks are accepted; Unicode's are part of a word, as in WikiText.
_WORD = re.compile(r"[^ \t\r\f\v\n]+")
_SLAB = 1 << 16  # characters that are hashed at a time


@dataclass(frozen=True)
class Text:
    """A text to be scored.

    Attributes
    ----------
    name : str
        What a report calls it.
    sha256 : str
        Of the whole file, whatever the limit.
    content : str
        The text, cut behind the last word that is to be scored.
    cut : bool
        True where a limit ended the text inside a line: that line has no end then.
    path : Path, optional
        The file that it was read from.
    """

    name: str
    sha256: str
    content: str
    cut: bool = False
    path: Path | None = field(default=None, compare=False)

    def lines(self) -> list[tuple[list[str], bool]]:
        """Words of each line, and whether the line's end belongs to the text."""
        return list(self.each_line())

    def each_line(self) -> Iterator[tuple[list[str], bool]]:
        """What ``lines`` gives, one after the other: the words of a long text are many."""
        start, size = 0, len(self.content)
        while start < size:
            found = self.content.find("\n", start)
            end = size if found < 0 else found
            yield _WORD.findall(self.content, start, end), not (self.cut and end + 1 >= size)
            start = end + 1

    def is_whole(self) -> bool:
        """Whether all of the file is here, its last end of line too."""
        if self.cut:
            return False
        digest = hashlib.sha256()
        for start in range(0, len(self.content), _SLAB):
            digest.update(self.content[start : start + _SLAB].encode())
        return digest.hexdigest() == self.sha256

    @property
    def word_tokens(self) -> int:
        """Words, plus one end of line for each line."""
        return sum(len(words) + ended for words, ended in self.each_line())


def read_text(path: str | Path, name: str | None = None) -> Text:
    """Read a UTF-8 file, one line of words a line."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TextError(f"{path}: cannot be read ({error.strerror}); expected a UTF-8 text file") from None
    # The name of a file need not be UTF-8; what a report calls it must be.
    return text_from_bytes(raw, name or str(path).encode("utf-8", "replace").decode(), path)


def text_from_bytes(raw: bytes, name: str, path: Path | None = None) -> Text:
    """The text in ``raw``, which must be UTF-8 and not empty."""
    try:
        content = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise TextError(
            f"{name}: line {line}: byte {error.start} is not UTF-8 (0x{raw[error.start]:02x}); "
            "convert the text to UTF-8"
        ) from None
    if not content:
        raise TextError(f"{name}: the text is empty; expected at least one line")
    return Text(name, hashlib.sha256(raw).hexdigest(), content, path=path)


def first_words(text: Text, limit: int) -> Text:
    """The first ``limit`` word tokens of a text; line ends count as tokens."""
    if limit < 1:
        raise ConfigError(f"limit is {limit}; expected 1 or more word tokens")
    left = limit
    at = 0
    while at < len(text.content):
        found = text.content.find("\n", at)
        end = len(text.content) if found < 0 else found
        words = list(_WORD.finditer(text.content, at, end))
        if left <= len(words):
            return replace(text, content=text.content[: words[left - 1].end()], cut=True)
        left -= len(words) + 1
        at = min(end + 1, len(text.content))
        if left == 0:
            return replace(text, content=text.content[:at])
    return text
