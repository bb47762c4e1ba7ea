"""Which numbers are alive when a step runs: those that were written and will be read, by it or by a later one.

Buffers are looked at in pieces: the columns that steps treat alike, of the chunk's last token and of those before it,
which the last layer does not need. What the steps of the next token read before they write it is state.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from ..kernels.network import FREEZE, Step
from .accesses import CACHE, DISTANCES, FROZEN, NARROW, SHARES, Access, accesses

# How much of these is alive depends on where the chunk stands in its context, or they are scratch of a single step.
_APART = (CACHE, DISTANCES, NARROW)
# Of these there is one, whatever the number of tokens.
_OF_ONE = (FROZEN, SHARES)


class Piece(NamedTuple):
    """Columns of a buffer (its number), or other memory (its name), of the last token or of all before it."""

    memory: int | str
    columns: tuple[int, int] | None  # first and last + 1; None: all
    is_last: bool


@dataclass(frozen=True)
class Liveness:
    """What is alive.

    Attributes
    ----------
    during : sequence of sets of Piece
        For each step: what it reads and writes, and what lies there for later ones.
    behind : set of Piece
        Behind the last step: what the readout and the next token read.
    state : set of Piece
        What the next token reads.
    """

    during: Sequence[Set[Piece]]
    behind: Set[Piece]
    state: Set[Piece]


def _cuts(found: Sequence[Sequence[Access]]) -> dict[int | str, list[int]]:
    """Where the columns of a buffer are cut, for those that are not always used as a whole."""
    cuts: dict[int | str, set[int]] = {}
    for access in itertools.chain(*found):
        if access.columns is not None:
            cuts.setdefault(access.memory, set()).update((access.columns.start, access.columns.stop))
    return {memory: sorted(at) for memory, at in cuts.items()}


def _pieces(access: Access, is_last: bool, cuts: dict[int | str, list[int]]) -> set[Piece]:
    spans: list[tuple[int, int] | None] = [None]
    if access.memory in cuts:
        spans = [
            (first, last)
            for first, last in itertools.pairwise(cuts[access.memory])
            if access.columns is None or access.columns.start <= first < access.columns.stop
        ]
    rows = (True,) if (is_last and not access.every) or access.memory in _OF_ONE else (False, True)
    return {Piece(access.memory, span, row) for span in spans for row in rows}


def liveness(steps: Sequence[Step], embedding: int, has_state: bool) -> Liveness:
    """What is alive in the steps of a plan.

    Parameters
    ----------
    steps : sequence of Step
    embedding : int
        Width of a token's vector.
    has_state : bool
        Whether the steps are done for one token after the other; not those that are done once.
    """
    found = [
        [access for access in accesses(steps, number, embedding) if access.memory not in _APART]
        for number in range(len(steps))
    ]
    cuts = _cuts(found)
    read: list[set[Piece]] = []
    written: list[set[Piece]] = []
    for step, own in zip(steps, found, strict=True):
        is_last = bool(step.last) or step.kind == FREEZE
        read.append(set().union(*(_pieces(access, is_last, cuts) for access in own if access.reads)))
        written.append(set().union(*(_pieces(access, is_last, cuts) for access in own if access.writes)))
    frozen = {Piece(FROZEN, None, True)}
    state: set[Piece] = set()
    while True:
        behind = state | frozen if has_state else set()
        live, during = set(behind), []
        for reads, writes in zip(reversed(read), reversed(written), strict=True):
            during.append(live | reads | writes)
            live = (live - writes) | reads
        if not has_state or live == state:
            return Liveness(during[::-1], behind, state)
        state = live
