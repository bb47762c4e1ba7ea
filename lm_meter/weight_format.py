"""How a weight array is declared: the format of its numbers, and what belongs to them in arrays of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .errors import CheckpointError
from .kernels.formats import CODEBOOK4, INT8, NAMES, STORED_BITS, is_integer
from .kernels.matrix import FLOAT_BITS, HALF_BITS, INTEGER_BITS, Scheme

CODES = {name: code for code, name in enumerate(NAMES)}
FLOATS = tuple(name for name, code in CODES.items() if not is_integer(code))
_FLOAT_DTYPES = (np.dtype("<f4"), np.dtype("<f2"), np.dtype("<u2"))  # bfloat16 has no NumPy type: its bit patterns
_HALF = np.dtype("<f2")
# A group is a whole number of the units in which 4-bit weights are executed.
GROUP_MULTIPLE = 8


@dataclass(frozen=True)
class Stored:
    """An array of a checkpoint: its shape (None: any length), its type, and what it is to the weights."""

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    role: str


@dataclass(frozen=True)
class WeightFormat:
    """A weight array's declaration: an entry of ``formats`` in ``config.json``.

    Parameters
    ----------
    format : str
        One of ``NAMES``.
    group : int, optional
        Columns of a row that share a scale: integer formats. None: all of them.
    offsets : bool
        Whether each group has an offset too.
    activations : 8, 16 or 32
        Bits of the inputs in the matrix's product: quantised, rounded to float16, or float32.
    accumulator : int
        Bits of the accumulator of a product with 8-bit inputs: enough for every sum.
    """

    format: str
    group: int | None = None
    offsets: bool = False
    activations: int = FLOAT_BITS
    accumulator: int = FLOAT_BITS

    @property
    def code(self) -> int:
        """Number of the format in the kernels."""
        return CODES[self.format]

    @property
    def scheme(self) -> Scheme:
        """How the kernels store and multiply such weights."""
        return Scheme(self.code, self.group, self.offsets, self.activations, self.accumulator)

    @property
    def bits(self) -> int:
        """Declared width of a weight."""
        return STORED_BITS[self.code]

    @property
    def is_plain(self) -> bool:
        """Whether format version 1 can say it: a floating-point format and nothing else."""
        return not is_integer(self.code) and self == WeightFormat(self.format)

    def to_json(self) -> str | dict[str, Any]:
        """The entry of ``config.json``: the name alone, or an object with what differs from the default."""
        if self == WeightFormat(self.format):
            return self.format
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def stored(self, name: str, shape: tuple[int, ...]) -> dict[str, Stored]:
        """Arrays in which weights of a shape are stored."""
        if not is_integer(self.code):
            return {name: Stored(shape, _FLOAT_DTYPES[self.code], "values")}
        rows, columns = shape
        groups = (rows, columns // (self.group or columns))
        if self.code == INT8:
            arrays = {name: Stored(shape, np.dtype("i1"), "values")}
        else:
            arrays = {name: Stored((rows, -(-columns // 2)), np.dtype("u1"), "values")}
        arrays[f"{name}.scale"] = Stored(groups, _HALF, "scales")
        if self.offsets:
            arrays[f"{name}.offset"] = Stored(groups, _HALF, "offsets")
        if self.code == CODEBOOK4:
            arrays[f"{name}.codebook"] = Stored((None,), np.dtype("i1"), "codebook")
        return arrays


def parse_weight_format(entry: Any, name: str, shape: tuple[int, ...], path: str) -> WeightFormat:
    """Check the ``formats`` entry of the weight array ``name`` of the checkpoint at ``path``."""
    where = f"{path}: array {name}"
    if isinstance(entry, str):
        entry = {"format": entry}
    kind = entry.get("format") if isinstance(entry, Mapping) else entry
    if not isinstance(kind, str) or kind not in NAMES:
        raise CheckpointError(
            f"{where}: config.json declares format {kind!r:.40}; expected one of {', '.join(NAMES)}, or an object with "
            "one of them as its format"
        )
    known = {f.name: f.default for f in fields(WeightFormat)}
    for key, value in entry.items():
        if key not in known:
            raise CheckpointError(f"{where}: its format has {key!r:.40}; expected {', '.join(known)}")
        if key not in ("format", "group") and type(value) is not type(known[key]):
            raise CheckpointError(f"{where}: {key} is {value!r:.40}; expected a {type(known[key]).__name__}")
    found = WeightFormat(**entry)
    _check(found, where, shape)
    return found


def _check(found: WeightFormat, where: str, shape: tuple[int, ...]) -> None:
    integer = is_integer(found.code)
    if integer and len(shape) != 2:
        raise CheckpointError(f"{where}: is declared {found.format}, but is no matrix; expected {' or '.join(FLOATS)}")
    group = found.group
    if not integer and (group is not None or found.offsets):
        raise CheckpointError(f"{where}: {found.format} has no scales; expected neither group nor offsets")
    if group is not None and (type(group) is not int or group < 1 or group % GROUP_MULTIPLE or shape[-1] % group):
        raise CheckpointError(
            f"{where}: group is {group!r:.40}; expected a multiple of {GROUP_MULTIPLE} that divides its {shape[-1]} "
            "columns"
        )
    allowed = (INTEGER_BITS, HALF_BITS, FLOAT_BITS) if integer else (HALF_BITS, FLOAT_BITS)
    if found.activations not in allowed:
        raise CheckpointError(
            f"{where}: activations is {found.activations} for {found.format} weights; expected one of "
            f"{', '.join(map(str, allowed))}"
        )
    _check_accumulator(found, where, shape)


def _check_accumulator(found: WeightFormat, where: str, shape: tuple[int, ...]) -> None:
    if found.activations != INTEGER_BITS:
        if found.accumulator != FLOAT_BITS:
            raise CheckpointError(
                f"{where}: accumulator is {found.accumulator}; expected one only with 8-bit activations, whose sums "
                "are integers"
            )
        return
    needed = needed_accumulator(found, shape[-1])
    if not needed <= found.accumulator <= FLOAT_BITS:
        raise CheckpointError(
            f"{where}: accumulator is {found.accumulator}; expected {needed} bits, which hold every sum, to "
            f"{FLOAT_BITS}"
        )


def needed_accumulator(found: WeightFormat, columns: int) -> int:
    """Bits of a signed accumulator that holds every sum over a group of ``columns`` columns or less."""
    largest_weight = 8 if found.format == "int4" else 128
    largest = (found.group or columns) * largest_weight * 127
    return largest.bit_length() + 1
