"""What a report is made of, whatever it is written as: sections of text, tables, code and figures.

All text here is plain: it may come from a stranger's result, and is escaped where it is written.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_UNSEEN = (
    "Cc",
    "Cf",
    "Cs",
    "Co",
    "Cn",
    "Zl",
    "Zp",
)  # categories of characters that show nothing, or turn the text round


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Code:
    """Lines to be copied as they are."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table whose columns from ``numbers`` on are numbers. In ``code`` columns names stand as they are spelt.

    ``has_head``: False where columns need no names.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int = 1
    code: Sequence[int] = (0,)
    has_head: bool = True


@dataclass(frozen=True)
class Figure:
    """A drawing, and its numbers as a table.

    ``drawing`` is SVG made by ``svg.py``, which escapes. ``legend``: class of the drawing and name, for each colour.
    ``is_told``: whether a table elsewhere in the report has the same numbers, so that a document without drawings
    needs no other.
    """

    title: str
    drawing: str
    table: Table
    legend: Sequence[tuple[str, str]] = ()
    is_told: bool = False


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it. ``folded``: details that a reader unfolds, where the document can."""

    title: str
    blocks: list[Text | Code | Table | Figure | Section] = field(default_factory=list)
    folded: bool = False


Block = Text | Code | Table | Figure | Section


def visible(text: str) -> str:
    """Text on one line in which no character hides or turns round what follows."""
    return "".join("\ufffd" if unicodedata.category(c) in _UNSEEN else c for c in text)


def pairs(caption: str, rows: Iterable[tuple[str, str]], code: Sequence[int] = ()) -> Table:
    """A table of names and their values."""
    return Table(caption, ("", ""), [tuple(row) for row in rows], numbers=2, code=code, has_head=False)
