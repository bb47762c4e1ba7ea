"""Positions of a context that are alive in the key/value cache: those that a query of this chunk or a later one sees.

A sparse pattern lets go of positions that a window still spans: of blocks that ended, or of those that no stride meets.
They are counted and never listed, for many chunks at once, so that a long context costs no more than a short one.

Written S(q) for what a query at q sees, and H(p) for the positions up to p that some query after p sees. What is held
after a chunk and lies before it was held before it too; and H(p - 1) with p itself is what the query at p sees together
with H(p).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..kernels.attention_pattern import FIXED, LOCAL_GLOBAL, STRIDED, Pattern

ENDLESS = 1 << 62  # of a context that is never forgotten
_ALL = 1 << 62  # positions before a query: however many there are


class Held(NamedTuple):
    """Positions alive in a layer's cache, and how many of them live from token to token: int64, one for each chunk."""

    before: Any  # the chunk's keys are there
    arriving: Any  # when they come
    attending: Any
    behind: Any  # the queries have seen them
    kept_arriving: Any  # of ``arriving``: from an earlier token, or for a later one
    kept_attending: Any
    seen: Any  # by the query that sees most


def _summaries(pattern: Pattern, position: Any) -> Any:
    """Positions before some that are among the last ``extra`` of their blocks."""
    within = position % pattern.stride - (pattern.stride - pattern.extra)
    return position // pattern.stride * pattern.extra + np.maximum(0, within)


def _seen_from(pattern: Pattern, window: int, query: Any, lowest: Any) -> Any:
    """How many positions of those from ``lowest`` on a query sees; the pattern is not STRIDED."""
    oldest, start = np.maximum(0, query - window), np.maximum(0, query - window)
    if pattern.kind == FIXED:
        start = np.maximum(oldest, query // pattern.stride * pattern.stride)
    elif pattern.kind == LOCAL_GLOBAL:
        start = np.maximum(oldest, query - pattern.local)
    far: Any = 0
    if pattern.kind == FIXED:
        first = np.minimum(start, np.maximum(oldest, lowest))
        far = _summaries(pattern, start) - _summaries(pattern, first)
    elif pattern.kind == LOCAL_GLOBAL:
        far = np.maximum(0, np.minimum(pattern.extra, start) - lowest)
    return far + np.maximum(0, query - np.maximum(start, lowest) + 1)


def _seen(pattern: Pattern, window: int, query: Any) -> Any:
    """How many positions a query sees."""
    if pattern.kind != STRIDED:
        return _seen_from(pattern, window, query, 0)
    reach = np.minimum(query, window)
    near = np.minimum(reach, pattern.local)
    return near + 1 + reach // pattern.stride - near // pattern.stride


def _held(pattern: Pattern, window: int, last: Any, end: Any, newest: Any = _ALL) -> Any:
    """How many of the ``newest`` positions up to ``last`` some query sees that comes after it, up to ``end``."""
    most = np.minimum(newest, last + 1)
    if pattern.kind != STRIDED:  # what a query sees of the past the one before it sees too
        count = _seen_from(pattern, window, last + 1, last + 1 - most) - 1
        return np.where(last < end, count, 0)
    # A position at distance a of the next query is seen by that, or by one that is a multiple of the stride away.
    stride, spare = pattern.stride, np.maximum(0, np.minimum(end - last - 1, pattern.stride - 1))
    near = np.minimum(most, min(pattern.local, window))

    def met(distance: Any) -> Any:
        return distance // stride * (spare + 1) + np.maximum(0, distance % stride - (stride - spare) + 1)

    far = np.maximum(near, np.minimum(most, window // stride * stride))
    return np.where(last < end, near + met(far) - met(near), 0)


def held_positions(pattern: Pattern, window: int, chunks: tuple[Any, Any, Any], only_last: bool) -> Held:
    """What is alive in a layer, for some chunks.

    Parameters
    ----------
    pattern : Pattern
    window : int
        Past tokens that a query sees besides its own.
    chunks : three (n,) int64
        Position of each chunk's first token, its tokens, and the last position before the context is forgotten.
    only_last : bool
        Whether the last token's query alone is asked.
    """
    first, tokens, end = (np.asarray(column, np.int64) for column in chunks)
    last = first + tokens - 1
    before, behind = (_held(pattern, window, at, end) for at in (first - 1, last))
    kept = before + _held(pattern, window, last, end, tokens)
    most = _seen(pattern, window, last)
    attending, kept_attending = before + tokens, kept
    if only_last:  # what only the queries before the last one would see is not there any more
        attending = _held(pattern, window, last - 1, end) + 1
        kept_attending = kept - (before - attending + 1 + _held(pattern, window, last - 1, end, tokens - 1))
    elif pattern.kind == FIXED:  # a query sees most at the end of its block
        block_end = (last + 1) // pattern.stride * pattern.stride - 1
        most = np.maximum(most, np.where(block_end >= first, _seen(pattern, window, block_end), 0))
    return Held(before, before + tokens, attending, behind, kept, kept_attending, most)
