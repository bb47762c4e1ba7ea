"""Logits and log-probabilities of one bin of the vocabulary, for the predictions that need it.

Segments of the bin go to whichever thread is free: its logits are made and reduced there and then, so those of a block
are never all in memory. The clusters' logits, which stand for the other bins, are one more segment of the first bin.
"""

from __future__ import annotations

import numpy as np

from .barrier import next_item
from .bins import NO_MATRIX, bin_of
from .charge import ADD, CHARGED_BY_CALLER, Meter, charge
from .clock import lap
from .inputs import Vectors
from .jit import kernel
from .lanes import LANES, blocks_of, load, store
from .log_softmax import (
    SEGMENT_BLOCKS,
    SEGMENT_ROWS,
    SUM_BITS,
    Logits,
    combine_cost,
    combine_segments,
    difference_cost,
    reduce_segment,
    segment_cost,
    segments_of,
)
from .matrix import Load, matrix_at, whole_load
from .product import READS_ON, Place, Span, count_overflows, load_of, product, product_cost
from .target_rank import Larger, counts_larger, rank_counted

_LONGEST_RUN = 8  # segments
_RUNS = 8  # for each thread, at least, before runs are longer than a segment


@kernel
def bin_segments(part):
    """Segments of a bin, that of its clusters included."""
    return segments_of(part.size) + (1 if part.clusters != NO_MATRIX else 0)


@kernel
def bin_cost(meter, matrices, part, count, hits):
    """Cost law of a bin, its projection not included.

    ``count`` predictions need its normaliser, ``hits`` of them a log-probability from it: the difference, and in every
    bin but the first one an add to that of the bin itself.
    """
    matrix = matrix_at(matrices, part.matrix)
    product_cost(Meter(meter.tally, part.region), matrix, whole_load(matrix), count)
    segment_cost(meter, part.size, segments_of(part.size), count)
    if part.clusters != NO_MATRIX:
        clusters = matrix_at(matrices, part.clusters)
        product_cost(Meter(meter.tally, part.clusters_region), clusters, whole_load(clusters), count)
        segment_cost(meter, clusters.rows, 1, count)
    combine_cost(meter, bin_segments(part), count)
    _hit_cost(meter, part, hits)


@kernel
def _hit_cost(meter, part, hits):
    difference_cost(meter, hits)
    if part.first > 0:
        charge(meter, ADD, SUM_BITS, SUM_BITS, hits)


@kernel
def _take_logits(buffers, row, segment, chosen, predictions):
    """Keep what is wanted of a segment's logits before they are overwritten: moves, not operations."""
    start, rows = segment
    for n in range(chosen.size):
        target = predictions.targets[chosen[n]] - start
        if 0 <= target < rows:
            buffers.targets[n] = buffers.logits[row + n, target]
    if predictions.logits.shape[0] > 0:
        for n in range(chosen.size):
            kept, whole = predictions.logits[chosen[n], start : start + rows], rows // LANES * LANES
            for at in range(0, whole, LANES):
                store(kept, at, load(buffers.logits[row + n], at))
            for at in range(whole, rows):
                kept[at] = buffers.logits[row + n, at]


@kernel
def _run_length(segments, threads):
    """How many neighbouring segments a thread takes at once.

    In a run the weights are read on from segment to segment, and what was asked for ahead is its own. The last runs
    must still come out even among the threads.
    """
    return max(1, min(_LONGEST_RUN, segments // (_RUNS * threads)))


@kernel
def _reduce_clusters(readout, part, outputs, team, meter):
    """Logits of the clusters, and their partial results, as the segment behind the bin's own."""
    buffers, matrix = readout.buffers, matrix_at(readout.matrices, part.clusters)
    row = team.thread * (buffers.logits.shape[0] // team.threads)
    inputs = Vectors(outputs.data, buffers.clusters_narrow, outputs.row, outputs.tokens)
    span = Span(0, blocks_of(matrix.rows), matrix.rows, READS_ON)
    product(
        readout.weights, matrix, span, inputs, Place(buffers.logits, row, 0), Meter(meter.tally, part.clusters_region)
    )
    for t in range(outputs.tokens):
        for n in range(matrix.rows):
            buffers.clusters[t, n] = buffers.logits[row + t, n]
    logits = Logits(buffers.logits, row, outputs.tokens, matrix.rows)
    nothing = Larger(buffers.targets, buffers.larger, False)
    reduce_segment(logits, segments_of(part.size), buffers.lanes[team.thread], buffers.partials, nothing, meter)


@kernel
def reduce_segments(readout, part, outputs, choice, team, meter):
    """Logits of the segments that this thread gets, and their partial results.

    Parameters
    ----------
    readout : Readout
    part : Bin
    outputs : Vectors
        Those of the chosen predictions.
    choice : ((n,) int64, Predictions)
        Numbers of the predictions that need the bin, among all of these.
    team : Team
    meter : Meter
        Of the softmax.
    """
    chosen, predictions = choice
    buffers, tokens = readout.buffers, outputs.tokens
    matrix, logits_meter = matrix_at(readout.matrices, part.matrix), Meter(meter.tally, part.region)
    blocks = blocks_of(matrix.rows)
    segments = segments_of(matrix.rows)
    row = team.thread * (buffers.logits.shape[0] // team.threads)
    own_rows, own_terms, own_filled, own_segments, overflows = 0, 0, 0, 0, 0
    larger = Larger(buffers.targets, buffers.larger, counts_larger(predictions))
    run = _run_length(segments, team.threads)
    runs = (segments + run - 1) // run
    while True:
        item = next_item(team.sync)
        if item == runs and part.clusters != NO_MATRIX:
            _reduce_clusters(readout, part, outputs, team, meter)
        if item >= runs:
            break
        for segment in range(item * run, min((item + 1) * run, segments)):
            first, start = segment * SEGMENT_BLOCKS, segment * SEGMENT_ROWS
            rows = min(SEGMENT_ROWS, matrix.rows - start)
            span = Span(first, min(first + SEGMENT_BLOCKS, blocks), rows, READS_ON)
            place = Place(buffers.logits, row, 0)
            overflows += product(readout.weights, matrix, span, outputs, place, CHARGED_BY_CALLER)
            lap(team.clock, part.region)
            _take_logits(buffers, row, (part.first + start, rows), chosen, predictions)
            logits = Logits(buffers.logits, row, tokens, rows)
            lanes = buffers.lanes[team.thread]
            reduce_segment(logits, segment, lanes, buffers.partials, larger, CHARGED_BY_CALLER)
            lap(team.clock, meter.region)
            done = load_of(readout.weights, matrix, span)
            own_rows += done.rows
            own_terms += done.terms
            own_filled += done.filled
            own_segments += 1
    product_cost(logits_meter, matrix, Load(own_rows, own_terms, own_filled), tokens)
    count_overflows(logits_meter, matrix, overflows)
    segment_cost(meter, own_rows, own_segments, tokens)


@kernel
def combine(readout, number, part, choice, team, meter):
    """Log-probabilities, as far as they come from this bin, of this thread's predictions: see ``reduce_segments``.

    A token of another bin than the first has the log-probability of its bin's cluster, and to it is added its own in
    the bin.
    """
    chosen, predictions = choice
    buffers, segments = readout.buffers, bin_segments(part)
    count, hits = 0, 0
    for n in range(team.thread, chosen.size, team.threads):
        token = chosen[n]
        top, log_total = combine_segments(buffers.partials, n, segments, CHARGED_BY_CALLER)
        normaliser, home = predictions.normalisers[token, number], bin_of(readout.bins, predictions.targets[token])
        normaliser[0] = top
        normaliser[1] = log_total
        if number == home:
            own = (np.float64(buffers.targets[n]) - top) - log_total
            predictions.log_probs[token] = own if number == 0 else predictions.log_probs[token] + own
            hits += 1
        elif number == 0:
            predictions.log_probs[token] = (np.float64(buffers.clusters[n, home - 1]) - top) - log_total
            hits += 1
        if number == 0:
            for other in range(1, readout.bins.shape[0]):
                predictions.normalisers[token, other, 2] = buffers.clusters[n, other - 1]
        if counts_larger(predictions):
            predictions.ranks[token] = rank_counted(buffers.larger, n, team)
        count += 1
    combine_cost(meter, segments, count)
    _hit_cost(meter, part, hits)
    lap(team.clock, meter.region)
