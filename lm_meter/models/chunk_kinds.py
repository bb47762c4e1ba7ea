"""The kinds of chunks that a run consists of, as far as it matters how much is alive when they enter."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..context import CACHE, RECOMPUTE, Context
from ..kernels.attention_pattern import DENSE, FIXED, LOCAL_GLOBAL
from ..kernels.network import Network
from ..spool import in_parts
from .distinct_rows import distinct_rows
from .held_positions import ENDLESS

_AT_ONCE = 1 << 12  # chunks that are looked at together: memory does not grow with the text or the context


@dataclass(frozen=True)
class ChunkKinds:
    """Chunks of a run, no two of them alike.

    Attributes
    ----------
    tokens, positions, ends : (n,) int64
        Of each chunk: its tokens, the position of the first one in its context, and the last position before that is
        forgotten.
    pairs : (n,) int64
        Pairs of a continuous cache that the prediction behind it sees.
    waits : bool
        Whether there is a continuous cache.
    embedding_bins, softmax_bins : frozenset of int
        Bins that are looked up, and evaluated, for any of them.
    """

    tokens: np.ndarray
    positions: np.ndarray
    ends: np.ndarray
    pairs: np.ndarray
    waits: bool
    embedding_bins: frozenset[int]
    softmax_bins: frozenset[int]

    def parts(self) -> Iterator[ChunkKinds]:
        """Some of them at a time."""
        for first in range(0, self.tokens.size, _AT_ONCE):
            here = slice(first, first + _AT_ONCE)
            yield dataclasses.replace(
                self,
                tokens=self.tokens[here],
                positions=self.positions[here],
                ends=self.ends[here],
                pairs=self.pairs[here],
            )


def bins_of(table: np.ndarray, tokens: np.ndarray) -> frozenset[int]:
    """Numbers of the bins, (bins, fields of Bin) int64, that tokens are in."""
    if not len(table):
        return frozenset()
    parts = (np.unique(np.searchsorted(table[:, 0], part, side="right") - 1) for part in in_parts(tokens))
    return frozenset(int(number) for numbers in parts for number in numbers)


def chunk_kinds(
    network: Network, context: Context | None, size: int, inputs: np.ndarray, targets: np.ndarray
) -> ChunkKinds:
    """The chunks of a run over some tokens.

    Parameters
    ----------
    network : Network
    context : Context or None
        None: a state.
    size : int
        Of the continuous cache; 0: there is none.
    inputs, targets : (n,) int64
        Tokens that enter, and those predicted.
    """
    found = [np.zeros((4, 0), np.int64)]
    for first in range(0, inputs.size, _AT_ONCE):
        number = np.arange(first, min(first + _AT_ONCE, inputs.size))
        rows = np.stack([np.ones_like(number), np.zeros_like(number), np.full_like(number, ENDLESS)])
        if context is not None:
            rows = _rows(context, number)
        found.append(_repeating(network, context, np.stack([*rows, np.minimum(number, size)])))
    return _kinds(network, context, np.concatenate(found, axis=1), (size, inputs, targets))


def full_chunk_kinds(network: Network, context: Context | None, size: int) -> ChunkKinds:
    """The chunks of a run whose context, and continuous cache, are full; tokens are the most frequent ones."""
    rows, token = np.array([[1], [0], [ENDLESS]]), np.zeros(1, np.int64)
    if context is not None:
        start = context.length
        if context.policy == CACHE:
            start, period = _saturated(network)
            number = np.arange(start, start + period)
        else:
            number = np.arange(start, start + (1 if context.policy == RECOMPUTE else start - context.overlap))
        rows = _rows(context, number)
    return _kinds(network, context, np.stack([*rows, np.full_like(rows[0], size)]), (size, token, token))


def chunk_positions(network: Network, context: Context, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of the chunks of a run, numbered from its beginning, and the position of the first one: (n,) int64 each.

    Of a sliding cache positions that see as much are the same.
    """
    tokens, positions, _ = _rows(context, number)
    return tokens, _repeated(network, positions) if context.policy == CACHE else positions


def _rows(context: Context, number: np.ndarray) -> np.ndarray:
    """Tokens, positions and ends of the chunks of a context that were numbered from the beginning of the text."""
    first = int(number[0]) if number.size else 0
    tokens = context.chunks(first, first, number.size)[:, 1]
    ends, positions = np.full_like(tokens, ENDLESS), number.copy()
    if context.policy == RECOMPUTE:
        positions[...] = 0
        ends = tokens - 1
    elif context.policy != CACHE:
        cycle = context.length - context.overlap
        again = number >= context.length
        last = np.where(again, (number - context.length) % cycle + context.overlap, number)
        positions, ends = last - tokens + 1, np.full_like(tokens, context.length - 1)
    return np.stack([tokens, positions, ends])


def _saturated(network: Network) -> tuple[int, int]:
    """From which position on a sliding cache only repeats itself, and the period."""
    patterns = network.patterns
    strides = [int(stride) for kind, _, stride, _ in patterns if kind == FIXED]
    start = network.options.window + 1 + int(patterns[:, 1:].max(initial=0))
    return start, math.lcm(1, *strides)


def _repeated(network: Network, positions: np.ndarray) -> np.ndarray:
    """Positions of a sliding cache, of those that repeat themselves the first ones."""
    start, period = _saturated(network)
    return np.where(positions < start, positions, start + (positions - start) % period)


def _kinds(
    network: Network, context: Context | None, rows: np.ndarray, text: tuple[int, np.ndarray, np.ndarray]
) -> ChunkKinds:
    size, inputs, targets = text
    rows = _repeating(network, context, rows)
    if set(network.patterns[:, 0].tolist()) <= {DENSE, LOCAL_GLOBAL}:
        rows = _largest(rows)
    evaluated = bins_of(network.softmax_bins, targets) | {0}
    if not network.options.needed:
        evaluated = frozenset(range(len(network.softmax_bins)))
    tokens, positions, ends, pairs = rows
    return ChunkKinds(tokens, positions, ends, pairs, size > 0, bins_of(network.embedding_bins, inputs), evaluated)


def _repeating(network: Network, context: Context | None, rows: np.ndarray) -> np.ndarray:
    """Each kind once; of a sliding cache the positions of its first period."""
    if context is not None and context.policy == CACHE:
        rows[1] = _repeated(network, rows[1])
    return distinct_rows(rows.T)[0].T


def _most(rows: np.ndarray) -> int:
    """The row with most tokens, of those that with the last position, and of those that with most pairs."""
    found = np.arange(rows.shape[1])
    for column in (rows[0], rows[1], rows[3]):
        found = found[column[found] == column[found].max()]
    return int(found[0])


def _largest(rows: np.ndarray) -> np.ndarray:
    """Without those beside which another one has at least as many tokens, positions and pairs.

    What is alive only grows with each of these, but where the context is forgotten: such chunks are compared with each
    other.
    """
    found = []
    forgets = rows[0] + rows[1] - 1 == rows[2]
    for left in (rows[:, forgets], rows[:, ~forgets]):
        while left.shape[1]:
            top = left[:, _most(left)]
            found.append(top)
            left = left[:, (left[[0, 1, 3]] > top[[0, 1, 3], None]).any(axis=0)]
    return np.stack(found, axis=1)
