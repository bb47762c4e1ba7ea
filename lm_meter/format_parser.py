"""Checking the declaration of a weight array: an entry of ``formats`` in ``config.json``."""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import CheckpointError
from .kernels.formats import NAMES, is_integer
from .kernels.lanes import LANES
from .kernels.matrix import FLOAT_BITS, HALF_BITS, INTEGER_BITS
from .kernels.sparse_tile import MAX_SEGMENTS
from .weight_format import (
    FLOATS,
    OVERFLOWS,
    WHOLE,
    WeightFormat,
    entry_format,
    known_entries,
    needed_accumulator,
)

# A group is a whole number of the units in which 4-bit weights are executed.
GROUP_MULTIPLE = 8
# Columns of a block that is narrower than the lanes of a register.
NARROW_BLOCKS = (1, 2, 4, 8)
_MAX_COLUMNS = LANES * MAX_SEGMENTS
# Bits of an accumulator that overflows: one product more must fit the 32 bits in which that is found out.
_OVERFLOWING = range(2, FLOAT_BITS)
_TYPES = {bool: "true or false", int: "a whole number"}


def parse_weight_format(entry: Any, name: str, shape: tuple[int, ...], path: str) -> WeightFormat:
    """Check the ``formats`` entry of the weight array ``name`` of the checkpoint at ``path``."""
    return _Parser(f"{path}: array {name}", shape).parse(entry)


class _Parser:
    """What is known of an array while its declaration is checked."""

    def __init__(self, where: str, shape: tuple[int, ...]) -> None:
        self._where, self._shape = where, shape

    def _refuse(self, message: str) -> NoReturn:
        raise CheckpointError(f"{self._where}: {message}")

    def parse(self, entry: Any) -> WeightFormat:
        """The declaration, if everything about it is right."""
        kind = entry_format(entry)
        if not isinstance(kind, str) or kind not in NAMES:
            self._refuse(
                f"config.json declares format {kind!r:.40}; expected one of {', '.join(NAMES)}, or an object with one "
                "of them as its format"
            )
        if isinstance(entry, str):
            return self._checked(WeightFormat(entry))
        known = known_entries()
        for key, value in entry.items():
            if key not in known:
                self._refuse(f"its format has {key!r:.40}; expected {', '.join(known)}")
            if key in ("offsets", "activations", "accumulator") and type(value) is not type(known[key]):
                self._refuse(f"{key} is {value!r:.40}; expected {_TYPES[type(known[key])]}")
        return self._checked(WeightFormat(**{**entry, "block": self._block(entry.get("block"))}))

    def _block(self, block: Any) -> tuple[int, int] | None:
        if block is None:
            return None
        if len(self._shape) != 2:
            self._refuse("has a block, but is no matrix; expected none")
        rows, columns = self._shape
        right = isinstance(block, list) and len(block) == 2 and all(type(n) is int and n > 0 for n in block)
        if not right or rows % block[0] or columns % block[1]:
            self._refuse(
                f"block is {block!r:.40}; expected [rows, columns] that divide its {rows} rows and {columns} columns"
            )
        if block[1] not in NARROW_BLOCKS and block[1] % LANES:
            self._refuse(
                f"block has {block[1]} columns; expected {', '.join(map(str, NARROW_BLOCKS))} or a multiple of {LANES}"
            )
        if columns > _MAX_COLUMNS:
            self._refuse(f"is pruned and has {columns} columns; expected at most {_MAX_COLUMNS}")
        return block[0], block[1]

    def _checked(self, found: WeightFormat) -> WeightFormat:
        integer = is_integer(found.code)
        if len(self._shape) != 2:
            self._check_vector(found, integer)
        if found.block and found.offsets:
            self._refuse("is pruned and has offsets; expected scales alone")
        self._check_grid(found, integer)
        if not integer and not found.grid and (found.group is not None or found.offsets):
            self._refuse(f"{found.format} has no scales; expected neither group nor offsets")
        self._check_group(found, integer)
        allowed = (INTEGER_BITS, HALF_BITS, FLOAT_BITS) if integer else (HALF_BITS, FLOAT_BITS)
        if found.activations not in allowed:
            self._refuse(
                f"activations is {found.activations} for {found.format} weights; expected one of "
                f"{', '.join(map(str, allowed))}"
            )
        self._check_accumulator(found)
        return found

    def _check_vector(self, found: WeightFormat, integer: bool) -> None:
        """A bias or the like enters no product."""
        if integer:
            self._refuse(f"is declared {found.format}, but is no matrix; expected {' or '.join(FLOATS)}")
        if found.activations != FLOAT_BITS or found.accumulator != FLOAT_BITS:
            self._refuse("has activations or an accumulator, but is no matrix; expected neither")

    def _check_grid(self, found: WeightFormat, integer: bool) -> None:
        if found.grid is None:
            return
        if integer:
            self._refuse(f"has a grid, but {found.format} is one already; expected none")
        if type(found.grid) is not int or not 1 <= found.grid < found.stored_bits:
            self._refuse(
                f"grid is {found.grid!r:.40}; expected the bits of a weight, 1 to {found.stored_bits - 1} for "
                f"{found.format}"
            )
        if found.offsets:
            self._refuse("has a grid and offsets; expected a grid alone, whose values may be any")

    def _check_group(self, found: WeightFormat, integer: bool) -> None:
        group, columns = found.group, self._shape[-1]
        if group is None or (group == WHOLE and not integer):
            return
        if found.block:
            self._refuse(f"is pruned and has a group of {group!r:.40}; expected one scale a row")
        multiple = GROUP_MULTIPLE if integer else 1
        if type(group) is not int or group < 1 or group % multiple or columns % group:
            expected = f"a multiple of {multiple}" if integer else f'"{WHOLE}" or a number'
            self._refuse(f"group is {group!r:.40}; expected {expected} that divides its {columns} columns")

    def _check_accumulator(self, found: WeightFormat) -> None:
        if found.overflow is not None and not (isinstance(found.overflow, str) and found.overflow in OVERFLOWS):
            self._refuse(f"overflow is {found.overflow!r:.40}; expected {' or '.join(OVERFLOWS)}")
        if found.activations != INTEGER_BITS:
            if found.accumulator != FLOAT_BITS or found.overflow:
                self._refuse(
                    f"accumulator is {found.accumulator}; expected one only with 8-bit activations, whose sums are "
                    "integers"
                )
            return
        needed = needed_accumulator(found, self._shape[-1])
        if found.overflow and found.block:
            self._refuse("is pruned and its accumulator overflows; expected one that holds every sum")
        if found.overflow and found.accumulator not in _OVERFLOWING:
            self._refuse(
                f"accumulator is {found.accumulator}; expected {_OVERFLOWING[0]} to {_OVERFLOWING[-1]} bits where it "
                "may overflow"
            )
        if not found.overflow and needed > FLOAT_BITS:
            self._refuse(
                f"sums over {self._shape[-1]} columns need {needed} bits; expected groups of fewer columns, or an "
                "accumulator with overflow"
            )
        if not found.overflow and not needed <= found.accumulator <= FLOAT_BITS:
            self._refuse(
                f"accumulator is {found.accumulator}; expected {needed} bits, which hold every sum, to {FLOAT_BITS}, "
                'or overflow as "wrap" or "saturate"'
            )
