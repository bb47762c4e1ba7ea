"""Regions of a model: what the rows of a tally stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .weight_format import WeightFormat

ROLES = ("lookup", "matrix_vector", "elementwise", "normalisation")


@dataclass(frozen=True)
class Region:
    """A part of a model that is metered on its own.

    ``role`` is one of ``ROLES``. ``moves`` lists what the region does that
    is no operation under the rules, with the reason: nothing is silently free.
    """

    name: str
    role: str
    moves: tuple[str, ...] = ()


_WIDENING = "a 16-bit weight or bias on its way into its multiply or add: that operation, at both widths"
_UNPACKING = "an integer weight on its way into its multiply: that operation, at both widths"
_BOOK = "an entry of the code book at a weight's index: a move"
_SPREADING = "a kept weight of a pruned matrix to the lane of its column: a move"
_SECTIONS = "numbers of a section to whole lanes, and back from them: a move"
_MOVES = {"float16": _WIDENING, "bfloat16": _WIDENING, "int8": _UNPACKING, "int4": _UNPACKING, "codebook4": _BOOK}


def weights_region(
    name: str, declared: Sequence[WeightFormat], role: str = "matrix_vector", is_grouped: bool = False
) -> Region:
    """The region of a product, or of another use of weights, in the formats of its weights and biases."""
    moves = [_MOVES[each.format] for each in declared if each.format in _MOVES]
    moves += [_SPREADING for each in declared if each.block]
    moves += [_SECTIONS] if is_grouped else []
    return Region(name, role, moves=tuple(dict.fromkeys(moves)))


def lookup_region(name: str, width: int, declared: WeightFormat) -> Region:
    """The region of looking up a row of ``width`` numbers."""
    moves = [f"copy of one row of {width} numbers: a move, not an operation"]
    if declared.format == "codebook4":
        moves.append(_BOOK)
    if declared.block:
        moves.append("the zeros that fill up a pruned row: a move")
    return Region(name, "lookup", moves=tuple(moves))


SOFTMAX_REGION = Region("softmax", "normalisation", moves=("the target's logit: a move",))
