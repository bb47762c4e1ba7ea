"""What each kind of step reads and writes: one description of ``kernels/steps.py`` for all who reason about a plan.

A step that writes all that it touches anew only writes; one that changes numbers in place reads and writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..kernels.network import (
    ADD_TO,
    ATTEND,
    CELL,
    COPY,
    EMBED,
    EXPERTS,
    FREEZE,
    GATE,
    GRU,
    KEEP,
    MIX,
    NORMALISE,
    POSITION,
    PRODUCT,
    ROUTE,
    SINUSOID,
    SPREAD,
    Step,
)

# Memory besides the buffers: keys and values; sines and cosines of rotary positions; vectors of distances; prepared
# inputs of a product; a router's choice, its weights, and which items they are; each expert's items; frozen outputs.
CACHE, ANGLES, DISTANCES, NARROW = "cache", "angles", "distances", "narrow"
CHOSEN, MIXTURE, ITEMS, SHARES = "chosen", "mixture", "items", "shares"
FROZEN = "frozen"


class Access(NamedTuple):
    """A step's access to a buffer (its number) or to other memory (its name)."""

    memory: int | str
    columns: range | None  # of a buffer; None: all
    reads: bool
    writes: bool
    every: bool = False  # of all tokens, where the step else works on the last one alone


def reads(memory: int | str, columns: range | None = None) -> Access:
    """A step needs what was there."""
    return Access(memory, columns, True, False)


def writes(memory: int | str, columns: range | None = None) -> Access:
    """A step writes all of it, whatever was there."""
    return Access(memory, columns, False, True)


def changes(memory: int | str, columns: range | None = None) -> Access:
    """A step makes something new of what was there."""
    return Access(memory, columns, True, True)


def _of_product(step: Step) -> list[Access]:
    found = [reads(step.source), changes(NARROW), writes(step.target)]
    if step.kind == EXPERTS:
        found.append(reads(SHARES))
    if step.action == ADD_TO:
        found.append(changes(step.other))
    if step.action == GATE:
        found.append(reads(step.other))
    return found


def _of_keep(step: Step, attention: Step) -> list[Access]:
    """Keys of all tokens come, though queries be of the last one alone.

    ``attention``: the step behind it reads the queries that meet distances.
    """
    keys, values, far = step.other, step.other + 1, attention.other
    found = [access._replace(every=True) for access in (reads(ANGLES), changes(keys), reads(values), writes(CACHE))]
    found.append(changes(step.source))
    return found if far == step.source else [*found, writes(far)]


def _of_cell(step: Step) -> list[Access]:
    if step.function == GRU:
        return [reads(step.source), reads(step.other), changes(step.target)]
    return [reads(step.source), changes(step.other), writes(step.target)]


def accesses(steps: Sequence[Step], number: int, embedding: int) -> list[Access]:
    """What a step reads and writes, scratch of its own aside.

    Parameters
    ----------
    steps : sequence of Step
        Of a plan: those of each chunk, or those that are done once.
    number : int
        Which one.
    embedding : int
        Width of a token's vector.
    """
    step = steps[number]
    if step.kind in (PRODUCT, EXPERTS):
        return _of_product(step)
    if step.kind == KEEP:
        return _of_keep(step, steps[number + 1])
    if step.kind == CELL:
        return _of_cell(step)
    if step.kind == COPY:
        source, target = (range(at, at + step.width) for at in (step.from_column, step.to_column))
        return [reads(step.source, source), writes(step.target, target)]
    if step.kind == SINUSOID:
        return [changes(step.target) if step.action == ADD_TO else writes(step.target)]
    return {
        EMBED: lambda: [writes(step.target, range(step.to_column, step.to_column + embedding))],
        POSITION: lambda: [writes(ANGLES)],
        NORMALISE: lambda: [reads(step.source), writes(step.target)],
        ATTEND: lambda: [reads(step.source), reads(step.other), reads(CACHE), reads(DISTANCES), writes(step.target)],
        ROUTE: lambda: [
            reads(step.source), reads(step.other), writes(CHOSEN), writes(MIXTURE), writes(ITEMS), writes(SHARES),
            writes(step.target),
        ],
        MIX: lambda: [reads(step.source), reads(MIXTURE), reads(ITEMS), changes(step.target)],
        FREEZE: lambda: [reads(step.source), writes(FROZEN)],
        SPREAD: lambda: [reads(step.source), writes(DISTANCES)],
    }[step.kind]()  # fmt: skip
