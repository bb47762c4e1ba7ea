"""Positions of a context that are alive in the key/value cache: those that a query of this chunk or a later one sees.

A sparse pattern lets go of positions that a window still spans: of blocks that ended, or of those that no stride meets.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ..kernels.attention_pattern import DENSE, FIXED, STRIDED, Pattern

ENDLESS = 1 << 62  # of a context that is never forgotten


class Held(NamedTuple):
    """Positions alive in a layer's cache, and how many of them live from token to token: int, or int64 arrays."""

    before: Any  # the chunk's keys are there
    arriving: Any  # when they come
    attending: Any
    behind: Any  # the queries have seen them
    kept_arriving: Any  # of ``arriving``: from an earlier token, or for a later one
    kept_attending: Any
    seen: Any  # by the query that sees most


def is_seen(pattern: Pattern, positions: np.ndarray, query: int, window: int) -> np.ndarray:
    """Which positions, (n,) int64, a query sees: (n,) bool, from the words of ``kernels/attention_pattern.py``."""
    away = query - positions
    near, at = (away >= 0) & (away <= window), positions % max(1, pattern.stride)
    if pattern.kind == DENSE:
        return near
    if pattern.kind == STRIDED:
        return near & ((away <= pattern.local) | (away % pattern.stride == 0))
    if pattern.kind == FIXED:
        is_summary = at >= pattern.stride - pattern.extra
        return near & ((positions // pattern.stride == query // pattern.stride) | is_summary)
    return (near & (away <= pattern.local)) | ((away >= 0) & (positions < pattern.extra))


def is_held(pattern: Pattern, positions: np.ndarray, span: tuple[int, int], window: int) -> np.ndarray:
    """Which positions, (n,) int64, some query in a span sees, behind its first and up to its last: (n,) bool."""
    last, end = span
    if last >= end:
        return np.zeros(positions.shape, bool)
    held = is_seen(pattern, positions, last + 1, window) & (positions <= last)
    if pattern.kind == STRIDED:  # else: what a query sees of the past the one before it sees too
        away = -(-(last + 1 - positions) // pattern.stride) * pattern.stride
        held |= (positions <= last) & (away <= window) & (positions + away <= end)
    return held


@functools.lru_cache(maxsize=1 << 16)
def _seen_by(pattern: Pattern, query: int, window: int) -> int:
    return int(is_seen(pattern, np.arange(query + 1), query, window).sum())


def held_positions(pattern: Pattern, window: int, chunk: tuple[int, int, int], only_last: bool) -> Held:
    """What is alive in a layer.

    Parameters
    ----------
    pattern : Pattern
    window : int
        Past tokens that a query sees besides its own.
    chunk : (int, int, int)
        Position of its first token, tokens, and the last position before the context is forgotten.
    only_last : bool
        Whether the last token's query alone is asked.
    """
    first, tokens, end = chunk
    last = first + tokens - 1
    oldest = 0 if pattern.kind not in (DENSE, STRIDED, FIXED) else max(0, first - window - 1)
    positions = np.arange(oldest, last + 1)
    is_own = positions >= first
    came = ~is_own & is_held(pattern, positions, (first - 1, end), window)
    stays = is_held(pattern, positions, (last, end), window)
    if only_last or tokens == 1:
        seen, most = is_seen(pattern, positions, last, window), _seen_by(pattern, last, window)
    else:  # each query sees its own position; and what came before was kept for one of them, or for a later one
        seen = is_own | (came & ~stays)
        most = max(_seen_by(pattern, query, window) for query in range(first, last + 1))
    attending, kept = seen | stays, came | stays
    counts = (came, came | is_own, attending, stays, kept, attending & kept)
    return Held._make([int(which.sum()) for which in counts] + [most])
