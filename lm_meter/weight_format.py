"""How a weight array is declared: the format of its numbers, and what belongs to them in arrays of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .kernels.formats import CODEBOOK4, INT8, NAMES, STORED_BITS, is_integer
from .kernels.matrix import DENSE, EXACT, FLOAT_BITS, INTEGER_BITS, SATURATE, WRAP, Scheme

CODES = {name: code for code, name in enumerate(NAMES)}
FLOATS = tuple(name for name, code in CODES.items() if not is_integer(code))
OVERFLOWS = {"wrap": WRAP, "saturate": SATURATE}
# The scale group of a grid that the whole array shares.
WHOLE = "tensor"
_FLOAT_DTYPES = (np.dtype("<f4"), np.dtype("<f2"), np.dtype("<u2"))  # bfloat16 has no NumPy type: its bit patterns
_HALF = np.dtype("<f2")


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
    group : int or "tensor", optional
        Columns of a row that share a scale, or the values of a grid. None: all of a row; "tensor": all of the array.
    offsets : bool
        Whether each group has an offset too: integer formats.
    activations : 8, 16 or 32
        Bits of the inputs in the matrix's product: quantised, rounded to float16, or float32.
    accumulator : int
        Bits of the accumulator of a product with 8-bit inputs.
    overflow : "wrap" or "saturate", optional
        What an accumulator does that is too narrow for some sums. None: it holds every sum.
    block : (int, int), optional
        Rows and columns of the blocks that were pruned, each kept or left out as a whole. None: nothing was.
    grid : int, optional
        Bits of floating-point weights that take few values: at most 2**grid different ones in a group.
    """

    format: str
    group: int | str | None = None
    offsets: bool = False
    activations: int = FLOAT_BITS
    accumulator: int = FLOAT_BITS
    overflow: str | None = None
    block: tuple[int, int] | None = None
    grid: int | None = None

    @property
    def code(self) -> int:
        """Number of the format in the kernels."""
        return CODES[self.format]

    def scheme(self, columns: int) -> Scheme:
        """How the kernels store and multiply such weights, in a matrix of some columns."""
        group = self.group if is_integer(self.code) and isinstance(self.group, int) else None
        too_narrow = self.activations == INTEGER_BITS and self.accumulator < needed_accumulator(self, columns)
        overflow = OVERFLOWS[self.overflow] if self.overflow and too_narrow else EXACT
        pruned = self.block[1] if self.block else DENSE
        return Scheme(self.code, group, self.offsets, self.activations, self.accumulator, overflow, pruned)

    @property
    def stored_bits(self) -> int:
        """Width of a weight in the file."""
        return STORED_BITS[self.code]

    @property
    def bits(self) -> int:
        """Declared width of a weight."""
        return self.grid or self.stored_bits

    @property
    def is_plain(self) -> bool:
        """Whether format version 1 can say it: a floating-point format and nothing else."""
        return not is_integer(self.code) and self == WeightFormat(self.format)

    def to_json(self) -> str | dict[str, Any]:
        """The entry of ``config.json``: the name alone, or an object with what differs from the default."""
        if self == WeightFormat(self.format):
            return self.format
        entry = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in entry.items()}

    def words(self) -> list[str]:
        """The declaration as it is written on a command line: the format, then what differs from the default."""
        entry = self.to_json()
        options = {} if isinstance(entry, str) else entry
        if self.block:
            options = options | {"block": f"{self.block[0]}x{self.block[1]}"}
        return [self.format, *(k if v is True else f"{k}={v}" for k, v in options.items() if k != "format")]

    def blocks(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """How many blocks lie below and beside each other in a matrix of ``shape``, all of them counted."""
        rows, columns = self.block or (1, 1)
        return shape[0] // rows, shape[1] // columns

    def groups(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Scale groups of an array of ``shape``: of its rows, and in each."""
        if self.group == WHOLE:
            return 1, 1
        return (shape[0] if len(shape) == 2 else 1), shape[-1] // int(self.group or shape[-1])

    def stored(self, name: str, shape: tuple[int, ...]) -> dict[str, Stored]:
        """Arrays in which weights of a shape are stored."""
        arrays = {name: self._values(shape)}
        if is_integer(self.code):
            arrays[f"{name}.scale"] = Stored(self.groups(shape), _HALF, "scales")
            if self.offsets:
                arrays[f"{name}.offset"] = Stored(self.groups(shape), _HALF, "offsets")
            if self.code == CODEBOOK4:
                arrays[f"{name}.codebook"] = Stored((None,), np.dtype("i1"), "codebook")
        if self.block:
            down, across = self.blocks(shape)
            arrays[f"{name}.mask"] = Stored((-(-down * across // 8),), np.dtype("u1"), "mask")
        return arrays

    def _values(self, shape: tuple[int, ...]) -> Stored:
        dtype: np.dtype[Any] = np.dtype("i1") if self.code == INT8 else np.dtype("u1")
        if not is_integer(self.code):
            dtype = _FLOAT_DTYPES[self.code]
        if self.block:
            return Stored((None,), dtype, "values")
        packed = (shape[0], -(-shape[1] // 2)) if self.stored_bits == 4 else shape
        return Stored(packed, dtype, "values")


def needed_accumulator(found: WeightFormat, columns: int) -> int:
    """Bits of a signed accumulator that holds every sum over a group of ``columns`` columns or less."""
    largest_weight = 8 if found.format == "int4" else 128
    group = found.group if isinstance(found.group, int) else columns
    return (group * largest_weight * 127).bit_length() + 1


def known_entries() -> dict[str, Any]:
    """Keys of an entry of ``formats``, with their defaults."""
    return {f.name: f.default for f in fields(WeightFormat)}


def entry_format(entry: Any) -> Any:
    """The format that an entry of ``formats`` names, whatever else is wrong with it."""
    return entry.get("format") if isinstance(entry, Mapping) else entry
