"""What a verification finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that differs.

    ``what``: chain, log_prob, count, figure, option, records, words or state; ``position``: the first one, where it is
    of some.
    """

    what: str
    message: str
    position: int | None = None


def more(differ: int) -> str:
    """The end of a message about the first of so many."""
    return f"; {differ - 1:,} more differ behind it" if differ > 1 else ""
