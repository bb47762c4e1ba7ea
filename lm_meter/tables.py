"""Where the rows of an embedding, or of learned positions, are looked up."""

from __future__ import annotations

import numpy as np

from .arena import MatrixSource, describe_matrix, pack_weights, row_major
from .checkpoint import Checkpoint
from .kernels.formats import is_integer
from .kernels.lookup import Table
from .kernels.matrix import DENSE
from .threads import ThreadTeam


def lookup_table(checkpoint: Checkpoint, name: str, team: ThreadTeam) -> tuple[np.ndarray, Table]:
    """An array of its own, mapped from the file where its format allows that, else packed: bytes, and their place."""
    source = MatrixSource(name, None)
    matrix = describe_matrix(checkpoint, source)
    if not is_integer(matrix.code) and matrix.pruned == DENSE:
        return row_major(checkpoint, name), Table(matrix, 0)
    rows, [matrix], _ = pack_weights(checkpoint, [source], team)
    return rows, Table(matrix, 1)


def described_table(checkpoint: Checkpoint, name: str) -> Table:
    """The same as the cost laws want it: it lies nowhere."""
    return Table(describe_matrix(checkpoint, MatrixSource(name, None)), 1)
