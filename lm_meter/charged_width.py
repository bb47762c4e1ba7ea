"""The one rule of widths: what a weight is charged as where it meets an input.

It is charged at the declared width of the number that enters the operation: of integers their bits, of floating-point
numbers those of their format, of a code book those of its entries, which meet the input where their indices do not. A
grid of b bits is one or the other. Where its values are whole numbers of b bits times a step for each group
(``even_grid.py``), it is b, and the steps are numbers of the stored width that are multiplied by, as scales are. Other
values are a table of numbers of the stored width.
"""

from __future__ import annotations

from typing import NamedTuple

from .checkpoint import Checkpoint
from .even_grid import Evenness
from .kernels.formats import OPERAND_BITS, SCALE_BITS, is_integer
from .kernels.width import NO_STEP, Width
from .weight_format import WHOLE


class Charged(NamedTuple):
    """Widths of the weights of an array, and how many steps a row has; ``shared``: all rows have one step."""

    width: Width
    steps: int
    shared: bool = False


def charged_width(checkpoint: Checkpoint, name: str) -> Charged:
    """How the weights of an array are charged; of a grid its values are looked at."""
    declared, shape = checkpoint.formats[name], checkpoint.shape(name)
    if is_integer(declared.code):
        return Charged(Width(OPERAND_BITS[declared.code], SCALE_BITS), declared.groups(shape)[1])
    kind = Evenness.TABLE if declared.grid is None else checkpoint.evenness(name)
    if kind == Evenness.TABLE:
        return Charged(Width(declared.stored_bits, NO_STEP), 0)
    if kind == Evenness.WHOLE:
        return Charged(Width(declared.bits, NO_STEP), 0)
    return Charged(Width(declared.bits, declared.stored_bits), declared.groups(shape)[1], declared.group == WHOLE)


def charged_crosswise(checkpoint: Checkpoint, name: str) -> Charged:
    """The same where sums go over what lies in one place of each group, so that steps of groups stand inside the sums.

    What meets the input is then a weight with its step in it, of the stored width.
    """
    found = charged_width(checkpoint, name)
    if found.steps == 0 or found.shared:
        return found
    return Charged(Width(checkpoint.formats[name].stored_bits, NO_STEP), 0)
