"""Memory that a readout works in."""

from __future__ import annotations

import numpy as np

from ..continuous_cache import ContinuousCache
from ..kernels.attention import FRONT, Cache
from ..kernels.bins import NO_MATRIX
from ..kernels.continuous_cache import Continuous
from ..kernels.lanes import LANES
from ..kernels.log_softmax import SEGMENT_ROWS, Partials
from ..kernels.matrix import Matrix
from ..kernels.readout import Buffers
from ..kernels.tile_shape import TILE_TOKENS
from .plan import Plan, no_relative
from .runtime import most_groups, narrow_inputs, padded, zeros

# Positions beyond those that are seen: how often they are moved to the front.
_SLACK = 256


def readout_rows(block: int) -> int:
    """Rows of the buffers of a readout of ``block`` predictions: whole tiles."""
    return 1 if block == 1 else padded(block, TILE_TOKENS)


def continuous_memory(settings: ContinuousCache, width: int, block: int, threads: int) -> Continuous:
    """Memory of a continuous cache of outputs (width,), from which blocks of predictions are mixed."""
    capacity = padded(settings.size + block + LANES + _SLACK) if settings.size else 0
    return Continuous(
        outputs=Cache(zeros(capacity * width), zeros(0), 1, width, capacity),
        relative=no_relative(1),
        tokens=zeros(capacity, dtype=np.int64),
        last=zeros(width),
        known=np.zeros(block, np.int64),
        state=np.zeros(3, np.int64),
        scores=zeros(threads, FRONT + capacity + LANES if capacity else 0),
        totals=zeros(threads, 1),
        masses=zeros(threads, 0),
        queries=zeros(threads, width),
        lanes=zeros(threads, LANES),
        size=settings.size,
        theta=np.float32(settings.theta),
        share=np.float64(settings.share),
    )


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
        larger=zeros(threads * rows, LANES),
        clusters=zeros(rows, len(bins)),
        chosen=np.zeros((threads, rows), np.int64),
    )
