"""Static sparse attention: which positions a query sees, from its own position alone.

Of the positions j from ``oldest`` = max(0, i - window) to i a query at position i sees

    STRIDED       i - j <= local, or i - j a multiple of the stride
    FIXED         j in the block of ``stride`` positions that i is in, or among the last ``extra`` of an earlier block
    LOCAL_GLOBAL  i - j <= local; and, however far away, the first ``extra`` positions of the context

STRIDED and FIXED are those of Child et al., Generating long sequences with sparse transformers (2019), section 4.2,
each with both of its parts in one head (section 4.3; STRIDED with ``local`` = stride, FIXED with ``extra`` = c).
LOCAL_GLOBAL: a sliding window and global positions (Beltagy, Peters and Cohan, Longformer, 2020), which a cache that
slides keeps (Xiao et al., Efficient streaming language models with attention sinks, 2023).

The positions are some far ones and a run that ends with i.
"""

from __future__ import annotations

from typing import NamedTuple

from .jit import inlined, kernel

DENSE, STRIDED, FIXED, LOCAL_GLOBAL = range(4)


class Pattern(NamedTuple):
    """A pattern: all int64."""

    kind: int
    local: int
    stride: int
    extra: int


@inlined
def pattern_at(table, layer):
    """Row ``layer`` of a table of patterns."""
    r = table[layer]
    return Pattern(r[0], r[1], r[2], r[3])


@kernel
def _run_start(pattern, position, oldest):
    """First position of the run that ends with the query's own."""
    if pattern.kind == DENSE:
        return oldest
    if pattern.kind == FIXED:
        return max(oldest, position // pattern.stride * pattern.stride)
    return max(oldest, position - pattern.local)


@kernel
def _ends_before(pattern, position):
    """Positions before ``position`` that are among the last ``extra`` of their blocks."""
    within = position % pattern.stride - (pattern.stride - pattern.extra)
    return position // pattern.stride * pattern.extra + max(0, within)


@kernel
def seen_positions(pattern, position, window):
    """How many positions a query sees."""
    oldest = max(0, position - window)
    start = _run_start(pattern, position, oldest)
    far = 0
    if pattern.kind == STRIDED:
        far = (position - oldest) // pattern.stride - (position - start) // pattern.stride
    elif pattern.kind == FIXED:
        far = _ends_before(pattern, start) - _ends_before(pattern, oldest)
    elif pattern.kind == LOCAL_GLOBAL:
        far = min(pattern.extra, start)
    return far + position - start + 1


@kernel
def list_places(pattern, position, window, moved, places):
    """Where in the cache the positions lie that a query sees.

    Parameters
    ----------
    pattern : Pattern
        Not DENSE.
    position, window : int
    moved : (int, int)
        Positions at the front that stay where they are, and by how much all others have moved towards it.
    places : (capacity,) int64
        Written, oldest first.

    Returns
    -------
    int
        How many.
    """
    pinned, shift = moved
    oldest = max(0, position - window)
    start = _run_start(pattern, position, oldest)
    n = 0
    if pattern.kind == STRIDED:
        for distance in range(
            (position - oldest) // pattern.stride * pattern.stride, position - start, -pattern.stride
        ):
            places[n] = position - distance
            n += 1
    elif pattern.kind == FIXED:
        for block in range(oldest // pattern.stride * pattern.stride, start, pattern.stride):
            for j in range(max(oldest, block + pattern.stride - pattern.extra), min(block + pattern.stride, start)):
                places[n] = j
                n += 1
    else:
        for j in range(min(pattern.extra, start)):
            places[n] = j
            n += 1
    for j in range(start, position + 1):
        places[n] = j
        n += 1
    for m in range(n):
        if places[m] >= pinned:
            places[m] -= shift
    return n
