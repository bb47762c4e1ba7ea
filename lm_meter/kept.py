"""Which weights of a pruned matrix are kept: its mask, compared with the number of values that the file holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import CheckpointError
from .kernels.sparse import Mask, count_kept

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


@dataclass(frozen=True)
class Kept:
    """The kept weights of a pruned matrix: its mask, and how many each row keeps, (R,) int64."""

    mask: Mask
    counts: np.ndarray

    @property
    def total(self) -> int:
        """Weights that are kept."""
        return int(self.counts.sum())

    @property
    def starts(self) -> np.ndarray:
        """Weights kept before each row, (R,) int64."""
        return np.cumsum(self.counts) - self.counts

    def row_of(self, number: int) -> int:
        """Row of a kept weight."""
        return int(np.searchsorted(np.cumsum(self.counts), number, side="right"))


def read_kept(checkpoint: Checkpoint, name: str) -> Kept:
    """The kept weights of an array that is declared with blocks; CheckpointError where mask and values disagree."""
    declared, shape = checkpoint.formats[name], checkpoint.shape(name)
    down, across = declared.blocks(shape)
    bits = checkpoint.view(checkpoint.verified(f"{name}.mask"))
    where = f"{checkpoint.path}: array {name}.mask"
    surplus = down * across % 8
    if surplus and bits[-1] >> surplus:
        raise CheckpointError(f"{where} has bits behind its {down * across} blocks; expected 0 there")
    block_rows, block_columns = shape[0] // down, shape[1] // across
    mask = Mask(bits, block_rows, block_columns)
    counts = np.zeros(shape[0], np.int64)
    count_kept(mask, *shape, counts)
    kept = Kept(mask, counts)
    (held,) = checkpoint.stored_shape(name)
    expected = -(-kept.total * declared.stored_bits // (8 * checkpoint.parts[name][name].dtype.itemsize))
    if held != expected:
        unit = "bytes of 4-bit weights" if declared.stored_bits == 4 else "weights"
        raise CheckpointError(f"{where} keeps {expected} {unit}, but array {name} holds {held}; the two must agree")
    return kept
