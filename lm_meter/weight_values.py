"""What the numbers of a weight array must be: finite, with usable scales, inside their code book."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from .checkpoint import Checkpoint
from .errors import CheckpointError
from .kernels.formats import CODEBOOK4, CODEBOOK_ENTRIES, STORED_BITS, is_integer
from .kernels.packing import exponent_mask

_SLAB = 16 << 20  # bytes that are looked at together


def check_values(checkpoint: Checkpoint, name: str) -> None:
    """Refuse a weight array whose numbers no model can have; CheckpointError names the array and the row."""
    code = checkpoint.formats[name].code
    if not is_integer(code):
        bits = checkpoint.weight_bits(checkpoint.verified(name))
        mask = exponent_mask(code)
        for first, slab in _slabs(bits):
            _check_finite(checkpoint, name, (slab & mask) == mask, first)
        return
    for part, stored in checkpoint.parts[name].items():
        array = checkpoint.view(checkpoint.verified(part))
        if stored.role == "scales":
            bad = ~(np.isfinite(array) & (array > 0))
            if bad.any():
                row, group = (int(n) for n in np.argwhere(bad)[0])
                raise CheckpointError(
                    f"{checkpoint.path}: array {part}: the scale of row {row}, group {group} is {array[row, group]}; "
                    "expected a finite number above 0"
                )
        elif stored.role == "offsets":
            _check_finite(checkpoint, part, ~np.isfinite(array), 0)
    if STORED_BITS[code] == 4:
        _check_halves(checkpoint, name)


def _check_halves(checkpoint: Checkpoint, name: str) -> None:
    """4-bit numbers: indices inside their code book, and nothing behind the last column."""
    entries = CODEBOOK_ENTRIES
    if checkpoint.formats[name].code == CODEBOOK4:
        entries = checkpoint.stored_shape(f"{name}.codebook")[0]
        if not 1 <= entries <= CODEBOOK_ENTRIES:
            raise CheckpointError(
                f"{checkpoint.path}: array {name}.codebook has {entries} entries; expected 1 to {CODEBOOK_ENTRIES}"
            )
    columns = checkpoint.shape(name)[1]
    for first, slab in _slabs(checkpoint.view(checkpoint.verified(name))):
        bad = ((slab & 15) >= entries) | ((slab >> 4) >= entries)
        if columns % 2:
            if (slab[:, -1] >> 4).any():
                row = first + int(np.argmax(slab[:, -1] >> 4 != 0))
                raise CheckpointError(
                    f"{checkpoint.path}: array {name}: row {row} has a number behind its {columns} columns; expected 0 "
                    "in the last half byte"
                )
            bad[:, -1] = (slab[:, -1] & 15) >= entries
        if bad.any():
            row = first + int(np.argmax(bad.any(axis=1)))
            raise CheckpointError(
                f"{checkpoint.path}: array {name}: row {row} has an index outside its code book of {entries} entries"
            )


def _slabs(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Runs of rows of a limited size, with the number of the first."""
    rows = max(1, _SLAB // max(1, array[:1].nbytes))
    for first in range(0, len(array), rows):
        yield first, array[first : first + rows]


def _check_finite(checkpoint: Checkpoint, name: str, bad: np.ndarray, first: int) -> None:
    if bad.any():
        raise_not_finite(checkpoint, name, first + int(np.argmax(bad.reshape(len(bad), -1).any(axis=1))))


def raise_not_finite(checkpoint: Checkpoint, name: str, row: int) -> NoReturn:
    """Refuse the array because of a row."""
    raise CheckpointError(
        f"{checkpoint.path}: array {name} has a NaN or infinite weight in row {row}; all must be finite"
    )
