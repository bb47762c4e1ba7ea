"""Texts: lines of words, as WikiText writes them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from .errors import ConfigError, TextError

# WikiText separates words by spaces. The other ASCII blanks are accepted; Unicode's are part of a word, as in WikiText.
_WORD = re.compile(r"[^ \t\r\f\v\n]+")


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
        lines = self.content.split("\n")
        if lines and lines[-1] == "":
            lines.pop()
        words = [_WORD.findall(line) for line in lines]
        return [(w, not (self.cut and i == len(words) - 1)) for i, w in enumerate(words)]

    def is_whole(self) -> bool:
        """Whether all of the file is here, its last end of line too."""
        return not self.cut and hashlib.sha256(self.content.encode()).hexdigest() == self.sha256

    @property
    def word_tokens(self) -> int:
        """Words, plus one end of line for each line."""
        return sum(len(words) + ended for words, ended in self.lines())


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
    for line in _lines_with_ends(text.content):
        words = list(_WORD.finditer(line))
        if left <= len(words):
            return replace(text, content=text.content[: at + words[left - 1].end()], cut=True)
        left -= len(words) + 1
        at += len(line)
        if left == 0:
            return replace(text, content=text.content[:at])
    return text


def _lines_with_ends(content: str) -> list[str]:
    lines = content.split("\n")
    ended = [line + "\n" for line in lines[:-1]]
    return [*ended, lines[-1]] if lines[-1] else ended
