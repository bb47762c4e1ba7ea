"""The readout of frozen outputs: optional projection, logits, softmax; one token or a block of them.

Each thread projects its share of the rows. Segments of the vocabulary go to whichever thread is free: its logits are
made and reduced there and then, so those of a block are never all in memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .barrier import meet, next_item, share
from .charge import CHARGED_BY_CALLER, Meter
from .clock import lap
from .inputs import Narrow, Vectors, must_prepare, prepare, prepare_cost
from .jit import kernel
from .lanes import LANES
from .log_softmax import (
    SEGMENT_BLOCKS,
    SEGMENT_ROWS,
    Logits,
    combine_cost,
    combine_segments,
    log_softmax_cost,
    reduce_segment,
    segment_cost,
    segments_of,
)
from .matrix import Load, matrix_at, whole_load
from .product import Place, Span, count_overflows, load_of, product, product_cost, real_rows

_LONGEST_RUN = 8  # segments
_RUNS = 8  # for each thread, at least, before runs are longer than a segment


class Buffers(NamedTuple):
    """Memory without a meaning between calls, for B tokens: the block rounded up to whole tiles."""

    projected: Any  # (B, padded P) float32
    narrow: Narrow  # (B, padded widest input)
    logits: Any  # (threads * B, SEGMENT_ROWS) float32
    lanes: Any  # (threads, 16) float32
    partials: Any  # Partials of log_softmax.py, for B tokens
    targets: Any  # (B,) float32, the targets' logits


class Readout(NamedTuple):
    """What turns frozen outputs into log-probabilities."""

    weights: Any  # (bytes,) uint8, packed
    matrices: Any  # (1 or 2, fields of Matrix) int64: the projection if there is one, then the softmax
    buffers: Buffers


class Predictions(NamedTuple):
    """Tokens to predict, and the results."""

    targets: Any  # (m,) int64
    log_probs: Any  # (m,) float64, written, in nats
    normalisers: Any  # (m, 2) float64, written: M and log Z of log_softmax.py
    logits: Any  # (V,) float32, written for the last target where V > 0; empty otherwise


@kernel
def _prepare(matrix, outputs, team, meter):
    """Make this thread's share of the vectors what the matrix wants, and wait for the others'."""
    if not must_prepare(matrix):
        return
    tokens = share(outputs.tokens, team)
    prepare(matrix, outputs, tokens[0], tokens[1])
    prepare_cost(meter, matrix, tokens[1] - tokens[0])
    lap(team.clock, meter.region)
    meet(team)


@kernel
def _project(readout, outputs, team, meter):
    """Make this thread's rows of the projection, for every token."""
    matrix = matrix_at(readout.matrices, 0)
    first, last = share((matrix.rows + LANES - 1) // LANES, team)
    span = Span(first, last, real_rows(first, last, matrix.rows))
    place = Place(readout.buffers.projected, 0, first * LANES)
    product(readout.weights, matrix, span, outputs, place, meter)
    lap(team.clock, meter.region)


@kernel
def _take_logits(buffers, row, tokens, segment, predictions):
    """Keep what is wanted of a segment's logits before they are overwritten: moves, not operations."""
    start, rows = segment
    for t in range(tokens):
        target = predictions.targets[t] - start
        if 0 <= target < rows:
            buffers.targets[t] = buffers.logits[row + t, target]
    if predictions.logits.size > 0:
        for r in range(rows):
            predictions.logits[start + r] = buffers.logits[row + tokens - 1, r]


@kernel
def _run_length(segments, threads):
    """How many neighbouring segments a thread takes at once.

    In a run the weights are read on from segment to segment, and what was asked for ahead is its own. The last runs
    must still come out even among the threads.
    """
    return max(1, min(_LONGEST_RUN, segments // (_RUNS * threads)))


@kernel
def _reduce_segments(readout, outputs, predictions, team, meter):
    """Logits of the segments that this thread gets, and their partial results; charges ``meter`` and its neighbour."""
    buffers, tokens = readout.buffers, outputs.tokens
    matrix = matrix_at(readout.matrices, readout.matrices.shape[0] - 1)
    blocks = (matrix.rows + LANES - 1) // LANES
    segments = segments_of(matrix.rows)
    row = team.thread * (buffers.logits.shape[0] // team.threads)
    own_rows, own_terms, own_filled, own_segments, overflows = 0, 0, 0, 0, 0
    run = _run_length(segments, team.threads)
    while True:
        item = next_item(team.sync)
        if item * run >= segments:
            break
        for segment in range(item * run, min((item + 1) * run, segments)):
            first, start = segment * SEGMENT_BLOCKS, segment * SEGMENT_ROWS
            rows = min(SEGMENT_ROWS, matrix.rows - start)
            span = Span(first, min(first + SEGMENT_BLOCKS, blocks), rows)
            place = Place(buffers.logits, row, 0)
            overflows += product(readout.weights, matrix, span, outputs, place, CHARGED_BY_CALLER)
            lap(team.clock, meter.region)
            _take_logits(buffers, row, tokens, (start, rows), predictions)
            logits = Logits(buffers.logits, row, tokens, rows)
            reduce_segment(logits, segment, buffers.lanes[team.thread], buffers.partials, CHARGED_BY_CALLER)
            lap(team.clock, meter.region + 1)
            load = load_of(readout.weights, matrix, span)
            own_rows += load.rows
            own_terms += load.terms
            own_filled += load.filled
            own_segments += 1
    product_cost(meter, matrix, Load(own_rows, own_terms, own_filled), tokens)
    count_overflows(meter, matrix, overflows)
    segment_cost(Meter(meter.tally, meter.region + 1), own_rows, own_segments, tokens)


@kernel
def _combine(readout, predictions, team, meter):
    """Log-probabilities of this thread's tokens from the partial results."""
    buffers = readout.buffers
    segments = segments_of(matrix_at(readout.matrices, readout.matrices.shape[0] - 1).rows)
    tokens = 0
    for t in range(team.thread, predictions.targets.size, team.threads):
        top, log_total = combine_segments(buffers.partials, t, segments, CHARGED_BY_CALLER)
        predictions.log_probs[t] = (np.float64(buffers.targets[t]) - top) - log_total
        predictions.normalisers[t, 0] = top
        predictions.normalisers[t, 1] = log_total
        tokens += 1
    combine_cost(meter, segments, tokens)
    lap(team.clock, meter.region)


@kernel
def part_of(predictions, first, last):
    """Predictions ``first`` to ``last`` - 1."""
    return Predictions(
        predictions.targets[first:last],
        predictions.log_probs[first:last],
        predictions.normalisers[first:last],
        predictions.logits,
    )


@kernel
def read_out(readout, frozen, predictions, team, meter):
    """One thread's part of the predictions from the first frozen outputs; every thread of the team calls this.

    Parameters
    ----------
    readout : Readout
        Its buffers are overwritten.
    frozen : (B, padded H) float32
        An output for each prediction; rows up to whole tiles are read.
    predictions : Predictions
        A block of them or less.
    team : Team
    meter : Meter
        Its region is that of the first matrix; that of the next one and that of the softmax follow.
    """
    narrow = readout.buffers.narrow
    outputs = Vectors(frozen, narrow, 0, predictions.targets.size)
    region = meter.region
    _prepare(matrix_at(readout.matrices, 0), outputs, team, meter)
    if readout.matrices.shape[0] == 2:
        _project(readout, outputs, team, meter)
        meet(team)
        outputs = Vectors(readout.buffers.projected, narrow, 0, outputs.tokens)
        region += 1
        _prepare(matrix_at(readout.matrices, 1), outputs, team, Meter(meter.tally, region))
    _reduce_segments(readout, outputs, predictions, team, Meter(meter.tally, region))
    meet(team)
    _combine(readout, predictions, team, Meter(meter.tally, region + 1))
    meet(team)


@kernel
def readout_cost(meter, matrices):
    """Cost law of ``read_out`` for one prediction, all threads together."""
    region = meter.region
    for index in range(matrices.shape[0]):
        matrix = matrix_at(matrices, index)
        prepare_cost(Meter(meter.tally, region), matrix, 1)
        product_cost(Meter(meter.tally, region), matrix, whole_load(matrix), 1)
        region += 1
    log_softmax_cost(Meter(meter.tally, region), matrix_at(matrices, matrices.shape[0] - 1).rows, 1)
