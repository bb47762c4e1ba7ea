"""The word tokens of a text one after the other, for records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .text import Text

_LINE_END = "\n"
# Words as ``text.py`` finds them, and the ends of lines.
_WORD_TOKEN = re.compile(r"[^ \t\r\f\v\n]+|\n")


@dataclass(frozen=True)
class WordTexts:
    """Each word token of a text, one after the other: a word, or a line feed for the end of a line."""

    text: Text

    def __iter__(self) -> Iterator[str]:
        part = ""
        for part in self.text.parts():
            yield from _WORD_TOKEN.findall(part)
        if self._lacks_end(part[-1:]):
            yield _LINE_END

    def in_bytes(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Some at a time, in UTF-8: (bytes,) uint8, one behind the other, and the size of each, (tokens,) int64."""
        raw = np.zeros(0, np.uint8)
        for raw, begins, ends in self.text.word_spans():
            depth = np.zeros(raw.size + 1, np.int8)
            depth[begins] += 1
            depth[ends] -= 1
            yield raw[np.cumsum(depth[:-1], dtype=np.int8) > 0], ends - begins
        if self._lacks_end(raw[-1:].tobytes().decode(errors="replace")):
            yield np.frombuffer(_LINE_END.encode(), np.uint8), np.ones(1, np.int64)

    def _lacks_end(self, last: str) -> bool:
        return not self.text.cut and last != _LINE_END
