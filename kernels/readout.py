"""The readout of frozen outputs: optional projection, then the softmax of each bin; one token or a block of them.

Each thread projects its share of the rows. A plain softmax is one bin; of an adaptive one each bin follows the other,
with a projection of its own to its own width, either for all predictions or for those whose target is in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .barrier import meet, share
from .bin_softmax import bin_cost, combine, reduce_segments
from .bins import NO_MATRIX, bin_at, bin_of
from .charge import Meter
from .clock import lap
from .inputs import Narrow, Vectors, must_prepare, prepare, prepare_cost
from .jit import kernel
from .lanes import LANES, blocks_of
from .matrix import matrix_at, whole_load
from .product import READS_ON, Place, Span, product, product_cost, real_rows
from .target_rank import counts_larger, find_targets


class Buffers(NamedTuple):
    """Memory without a meaning between calls, for B tokens: the block rounded up to whole tiles."""

    projected: Any  # (B, padded P) float32
    gathered: Any  # (B, padded width of the outputs) float32, those that a bin needs
    reduced: Any  # (B, padded widest bin) float32, projected to a bin's width
    narrow: Narrow  # (B, padded widest input)
    clusters_narrow: Narrow  # the same for the inputs of the clusters' matrix
    logits: Any  # (threads * B, SEGMENT_ROWS) float32
    lanes: Any  # (threads, 16) float32
    partials: Any  # Partials of log_softmax.py, for B tokens
    targets: Any  # (B,) float32, the targets' logits
    larger: Any  # (threads * B, 16) float32, how many are larger: see ``target_rank.py``
    clusters: Any  # (B, bins) float32, the clusters' logits
    chosen: Any  # (threads, B) int64, numbers of the predictions that a bin is for


class Readout(NamedTuple):
    """What turns frozen outputs into log-probabilities."""

    weights: Any  # (bytes,) uint8, packed
    matrices: Any  # (matrices, fields of Matrix) int64
    bins: Any  # (bins, fields of Bin) int64
    projection: int  # number of a matrix before all of them, or NO_MATRIX
    region: int  # its region
    softmax_region: int
    needed: int  # 1: bins behind the first one only where the target is in them
    buffers: Buffers


class Predictions(NamedTuple):
    """Tokens to predict, and the results."""

    targets: Any  # (m,) int64
    log_probs: Any  # (m,) float64, written, in nats
    normalisers: Any  # (m, bins, 3) float64, written: M, log Z of log_softmax.py, and the logit of the bin's cluster
    logits: Any  # (B or more, V) float32, written, of one block; (0, 0): not kept
    ranks: Any  # (m,) int64, written; (0,): not wanted


@kernel
def _prepare(matrix, outputs, team, meter):
    """Make this thread's share of the vectors what the matrix wants; returns whether the threads must meet then."""
    if not must_prepare(matrix):
        return False
    tokens = share(outputs.tokens, team)
    prepare(matrix, outputs, tokens[0], tokens[1])
    prepare_cost(meter, matrix, tokens[1] - tokens[0])
    lap(team.clock, meter.region)
    return True


@kernel
def _project(readout, number, outputs, target, team, meter):
    """Multiply all vectors with a matrix, this thread its rows; all threads meet before and behind."""
    matrix = matrix_at(readout.matrices, number)
    if _prepare(matrix, outputs, team, meter):
        meet(team)
    first, last = share(blocks_of(matrix.rows), team)
    span = Span(first, last, real_rows(first, last, matrix.rows), READS_ON)
    product(readout.weights, matrix, span, outputs, Place(target, 0, first * LANES), meter)
    lap(team.clock, meter.region)
    meet(team)
    return Vectors(target, outputs.narrow, 0, outputs.tokens)


@kernel
def part_of(predictions, first, last):
    """Predictions ``first`` to ``last`` - 1."""
    return Predictions(
        predictions.targets[first:last],
        predictions.log_probs[first:last],
        predictions.normalisers[first:last],
        predictions.logits,
        predictions.ranks[first:last],
    )


@kernel
def _choose(readout, number, predictions, chosen):
    """Numbers of the predictions that a bin is evaluated for: written, and how many."""
    count, wants_all = 0, number == 0 or readout.needed == 0 or predictions.logits.shape[0] > 0
    for n in range(predictions.targets.size):
        if wants_all or bin_of(readout.bins, predictions.targets[n]) == number:
            chosen[count] = n
            count += 1
    return count


@kernel
def _gather(outputs, chosen, gathered, team):
    """The chosen vectors one behind the other: moves; all threads meet behind."""
    own = share(chosen.size, team)
    for n in range(own[0], own[1]):
        for j in range(gathered.shape[1]):
            gathered[n, j] = outputs.data[outputs.row + chosen[n], j]
    meet(team)
    return Vectors(gathered, outputs.narrow, 0, chosen.size)


@kernel
def _read_bin(readout, number, outputs, predictions, team, tally):
    """One thread's part of a bin's share in the predictions; all threads meet behind."""
    part, buffers = bin_at(readout.bins, number), readout.buffers
    meter = Meter(tally, readout.softmax_region)
    count = _choose(readout, number, predictions, buffers.chosen[team.thread])
    if count == 0:
        return
    chosen = buffers.chosen[team.thread, :count]
    if count < outputs.tokens:
        outputs = _gather(outputs, chosen, buffers.gathered, team)
    if part.projection != NO_MATRIX:
        place = Meter(tally, part.projection_region)
        outputs = _project(readout, part.projection, outputs, buffers.reduced, team, place)
    must_meet = _prepare(matrix_at(readout.matrices, part.matrix), outputs, team, Meter(tally, part.region))
    if part.clusters != NO_MATRIX:
        inputs = Vectors(outputs.data, buffers.clusters_narrow, outputs.row, outputs.tokens)
        clusters = matrix_at(readout.matrices, part.clusters)
        must_meet |= _prepare(clusters, inputs, team, Meter(tally, part.clusters_region))
    if must_meet:
        meet(team)
    if counts_larger(predictions):
        find_targets(readout, part, outputs, predictions, team)
        meet(team)
    reduce_segments(readout, part, outputs, (chosen, predictions), team, meter)
    meet(team)
    combine(readout, number, part, (chosen, predictions), team, meter)
    meet(team)


@kernel
def read_out(readout, frozen, predictions, team, tally):
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
    tally : (regions, kinds, 65, 65) int64 or None
    """
    outputs = Vectors(frozen, readout.buffers.narrow, 0, predictions.targets.size)
    if readout.projection != NO_MATRIX:
        place = Meter(tally, readout.region)
        outputs = _project(readout, readout.projection, outputs, readout.buffers.projected, team, place)
    for number in range(readout.bins.shape[0]):
        _read_bin(readout, number, outputs, predictions, team, tally)


@kernel
def _matrix_cost(meter, matrix):
    prepare_cost(meter, matrix, 1)
    product_cost(meter, matrix, whole_load(matrix), 1)


@kernel
def readout_cost(readout, target, tally):
    """Cost law of ``read_out`` for one prediction, all threads together; ``target`` decides which bins are needed."""
    home, meter = bin_of(readout.bins, target), Meter(tally, readout.softmax_region)
    if readout.projection != NO_MATRIX:
        _matrix_cost(Meter(tally, readout.region), matrix_at(readout.matrices, readout.projection))
    for number in range(readout.bins.shape[0]):
        if number > 0 and readout.needed and number != home:
            continue
        part = bin_at(readout.bins, number)
        if part.projection != NO_MATRIX:
            _matrix_cost(Meter(tally, part.projection_region), matrix_at(readout.matrices, part.projection))
        prepare_cost(Meter(tally, part.region), matrix_at(readout.matrices, part.matrix), 1)
        if part.clusters != NO_MATRIX:
            prepare_cost(Meter(tally, part.clusters_region), matrix_at(readout.matrices, part.clusters), 1)
        bin_cost(meter, readout.matrices, part, 1, 1 if number == 0 or number == home else 0)
