"""Memory that a readout works in."""

from __future__ import annotations

import numpy as np

from ..kernels.bins import NO_MATRIX
from ..kernels.lanes import LANES
from ..kernels.log_softmax import SEGMENT_ROWS, Partials
from ..kernels.matrix import Matrix
from ..kernels.readout import Buffers
from ..kernels.tile import TILE_TOKENS
from .plan import Plan
from .runtime import most_groups, narrow_inputs, padded, zeros


def readout_rows(block: int) -> int:
    """Rows of the buffers of a readout of ``block`` predictions: whole tiles."""
    return 1 if block == 1 else padded(block, TILE_TOKENS)


def readout_buffers(plan: Plan, matrices: list[Matrix], block: int, threads: int) -> Buffers:
    """Memory for reading out up to ``block`` predictions; ``matrices``: all of the plan's."""
    rows, bins, used = readout_rows(block), plan.softmax_bins, matrices[plan.readout : plan.readout_end]
    projected = matrices[plan.projection].rows if plan.projection != NO_MATRIX else 1
    output = projected if plan.projection != NO_MATRIX else plan.widths[plan.output]
    reduced = max([1, *(matrices[part.projection].rows for part in bins if part.projection != NO_MATRIX)])
    segments = padded(max(-(-part.size // SEGMENT_ROWS) for part in bins) + 1)
    widest, groups = padded(max(matrix.columns for matrix in used)), most_groups(used)
    return Buffers(
        projected=zeros(rows, padded(projected)),
        gathered=zeros(rows if plan.is_needed else 0, padded(output)),
        reduced=zeros(rows, padded(reduced)),
        narrow=narrow_inputs(rows, widest, groups),
        clusters_narrow=narrow_inputs(rows if len(bins) > 1 else 0, widest, groups),
        logits=zeros(threads * rows, SEGMENT_ROWS),
        lanes=zeros(threads, LANES),
        partials=Partials(zeros(rows, segments), zeros(rows, segments)),
        targets=zeros(rows),
        clusters=zeros(rows, len(bins)),
        chosen=np.zeros((threads, rows), np.int64),
    )
