"""Text for a terminal: what a name holds is shown there, never obeyed."""

from __future__ import annotations

from collections.abc import Iterable


def printable(text: str) -> str:
    """Text on one line: line ends, tabs, escape sequences, and bytes that are not UTF-8 stand as escapes of Python."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, what: str) -> str:
    """How many there are of something: 1 thread, 2 threads."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def page(lines: Iterable[str]) -> str:
    """Lines, each ended, in which only their own ends end a line."""
    return "".join(f"{printable(line)}\n" for line in lines)
