"""What the numbers of a weight array must be: finite, with usable scales, inside their code book, on their grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from .checkpoint import Checkpoint
from .errors import CheckpointError
from .kernels.formats import CODEBOOK4, CODEBOOK_ENTRIES, STORED_BITS, is_integer
from .kernels.packing import exponent_mask

_SLAB = 4 << 20  # bytes that are looked at together: some times as many are in use meanwhile


def check_values(checkpoint: Checkpoint, name: str) -> None:
    """Refuse a weight array whose numbers no model can have; CheckpointError names the array and the row."""
    declared = checkpoint.formats[name]
    if declared.block:
        checkpoint.kept(name)
    if is_integer(declared.code):
        _check_integers(checkpoint, name)
        return
    bits = checkpoint.weight_bits(checkpoint.verified(name))
    mask = exponent_mask(declared.code)
    for first, slab in _slabs(bits):
        bad = (slab & mask) == mask
        if bad.any():
            raise_not_finite(checkpoint, name, _row_of(checkpoint, name, first, bad))
    check_declared_grid(checkpoint, name)


def check_declared_grid(checkpoint: Checkpoint, name: str) -> None:
    """Refuse more different values than a declared grid has; an array without one is as it should be."""
    if checkpoint.formats[name].grid is not None:
        checkpoint.evenness(name)


def _check_integers(checkpoint: Checkpoint, name: str) -> None:
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
            bad = ~np.isfinite(array)
            if bad.any():
                raise_not_finite(checkpoint, part, int(np.argmax(bad.any(axis=1))))
    if STORED_BITS[checkpoint.formats[name].code] == 4:
        _check_halves(checkpoint, name)


def _check_halves(checkpoint: Checkpoint, name: str) -> None:
    """4-bit numbers: indices inside their code book, and nothing behind the last one of a row, or of all."""
    entries, where = CODEBOOK_ENTRIES, f"{checkpoint.path}: array {name}"
    if checkpoint.formats[name].code == CODEBOOK4:
        entries = checkpoint.stored_shape(f"{name}.codebook")[0]
        if not 1 <= entries <= CODEBOOK_ENTRIES:
            raise CheckpointError(f"{where}.codebook has {entries} entries; expected 1 to {CODEBOOK_ENTRIES}")
    pruned = checkpoint.formats[name].block is not None
    numbers = checkpoint.values(name) if pruned else checkpoint.shape(name)[1]
    packed = checkpoint.view(checkpoint.verified(name))
    if entries == CODEBOOK_ENTRIES and numbers % 2 == 0:
        return  # every half byte is a number, and one of those there are
    for first, slab in _slabs(packed):
        low = (slab & 15) >= entries
        high = slab >> 4
        is_last = first + len(slab) == len(packed)
        if numbers % 2 and (is_last or not pruned):
            last = high[-1:] if pruned else high[:, -1]
            if last.any():
                place = "the last row" if pruned else f"row {first + int(np.argmax(last != 0))}"
                count = f"{numbers} kept weights" if pruned else f"{numbers} columns"
                raise CheckpointError(
                    f"{where}: {place} has a number behind its {count}; expected 0 in the last half byte"
                )
            high = high.copy()
            (high[-1:] if pruned else high[:, -1])[...] = 0
        bad = np.stack([low, high >= entries], axis=-1).reshape(*slab.shape[:-1], -1)
        if bad.any():
            row = _row_of(checkpoint, name, 2 * first if pruned else first, bad)
            raise CheckpointError(f"{where}: row {row} has an index outside its code book of {entries} entries")


def _row_of(checkpoint: Checkpoint, name: str, first: int, bad: np.ndarray) -> int:
    """Row of the first bad number of a slab that begins at row ``first``, or at number ``first`` of a pruned array."""
    at = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
    if checkpoint.formats[name].block is None:
        return first + at
    return checkpoint.kept(name).row_of(first + at)


def _slabs(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Runs of rows of a limited size, with the number of the first."""
    rows = max(1, _SLAB // max(1, array[:1].nbytes))
    for first in range(0, len(array), rows):
        yield first, array[first : first + rows]


def raise_not_finite(checkpoint: Checkpoint, name: str, row: int) -> NoReturn:
    """Refuse the array because of a row."""
    raise CheckpointError(
        f"{checkpoint.path}: array {name} has a NaN or infinite weight in row {row}; all must be finite"
    )
