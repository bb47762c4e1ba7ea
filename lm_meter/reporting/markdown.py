"""A report as Markdown, GitHub's kind: no drawing, and all numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .blocks import Block, Code, Figure, Section, Table, Text, visible

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#+!|~&$@])")
_AT_START = re.compile(r"^(\s*\d*)([-=.)])")
_DEEPEST = 6


def markdown(report: Section) -> str:
    """The document."""
    return "\n\n".join(_section(report, 1)) + "\n"


def _section(section: Section, level: int) -> Iterator[str]:
    yield f"{'#' * min(level, _DEEPEST)} {plain_text(section.title)}"
    for block in section.blocks:
        if isinstance(block, Section):
            yield from _section(block, level + 1)
        else:
            yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield _line(block.text)
    elif isinstance(block, Code):
        yield f"    {visible(block.text)}"
    elif isinstance(block, Table):
        yield f"**{plain_text(block.caption)}**"
        yield _table(block)
    elif isinstance(block, Figure) and not block.is_told:
        yield from _block(block.table)


def plain_text(text: str) -> str:
    """Text in which nothing means anything to Markdown or to HTML; no address becomes a link."""
    return _SPECIAL.sub(r"\\\1", visible(text)).replace("://", ":\\//")


def _line(text: str) -> str:
    """The same as a line of its own, which no first character makes a list or a rule."""
    return _AT_START.sub(r"\1\\\2", plain_text(text))


def _code(text: str) -> str:
    """Text as it is spelt, in a cell: a fence longer than any run of backticks in it; a bar would end the cell."""
    text = visible(text).replace("|", "\\|")
    if not text.strip():
        return ""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    edge = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{edge}{text}{edge}{fence}"


def _table(table: Table) -> str:
    rule = ["---:" if column >= table.numbers else "---" for column in range(len(table.header))]
    lines = [[plain_text(cell) for cell in table.header], rule]
    lines += [
        [_code(cell) if column in table.code else plain_text(cell) for column, cell in enumerate(row)]
        for row in table.rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
