"""The rank of a target: 1 and how many tokens of the vocabulary have a larger log-probability.

A rank is no part of the model's work, so that nothing of this is charged; where no rank is wanted nothing of it runs.

Of one softmax over the whole vocabulary the order is that of the logits. The targets' are made first, by the same
product with the row blocks that hold them, and so with the same bits; those of each segment are then compared with
them while they are in the cache. Counts are whole numbers, which neither threads nor blocks change.

Where log-probabilities are put together from several bins, or mixed with a cache, a logit alone says nothing. The
logits of a block are then kept, and compared when its predictions are made.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .bins import bin_at, bin_of
from .charge import CHARGED_BY_CALLER
from .inputs import Vectors, own_row
from .jit import kernel
from .lanes import LANES, broadcast, load, store, where_less
from .matrix import matrix_at
from .product import READS_ON, Place, Span, product, real_rows

# Relative: farther than this from it no float32 is the one that a log-probability's rounding chooses.
_FAR = 1e-6


class Larger(NamedTuple):
    """Where larger logits than the targets' are counted."""

    targets: Any  # (B,) float32, their logits
    counts: Any  # (threads * B, 16) float32
    is_wanted: bool


@kernel
def counts_larger(predictions):
    """Whether ranks are wanted, and those of one softmax: logits are not kept then."""
    return predictions.ranks.size > 0 and predictions.logits.shape[0] == 0


@kernel
def ranks_kept_logits(predictions):
    """Whether ranks are wanted, and found from logits that are kept."""
    return predictions.ranks.size > 0 and predictions.logits.shape[0] > 0


@kernel
def find_targets(readout, part, outputs, predictions, team):
    """Logits of the targets of this thread's predictions, and zeros where it counts larger ones.

    Parameters
    ----------
    readout : Readout
        The targets and larger ones in its buffers are written.
    part : Bin
        The only one.
    outputs : Vectors
        Prepared for its matrix.
    predictions : Predictions
    team : Team
        All must meet behind.
    """
    buffers, matrix = readout.buffers, matrix_at(readout.matrices, part.matrix)
    row = team.thread * (buffers.logits.shape[0] // team.threads)
    for n in range(team.thread, predictions.targets.size, team.threads):
        target = predictions.targets[n]
        block = target // LANES
        span = Span(block, block + 1, real_rows(block, block + 1, matrix.rows), READS_ON)
        vector = Vectors(outputs.data, own_row(outputs.narrow, n), outputs.row + n, 1)
        product(readout.weights, matrix, span, vector, Place(buffers.logits, row, 0), CHARGED_BY_CALLER)
        buffers.targets[n] = buffers.logits[row, target % LANES]
    for n in range(predictions.targets.size):
        for lane in range(LANES):
            buffers.larger[row + n, lane] = np.float32(0)


@kernel
def add_larger(larger, row, token, logits):
    """Count the logits of one segment that are larger than a token's target's, 16 lanes apart.

    Parameters
    ----------
    larger : Larger
        Row ``row`` of its counts is modified in place; exact up to 2**24 in each lane.
    row, token : int
    logits : (whole lanes,) float32
        What lies behind the segment's entries is minus infinity.
    """
    one, nothing = broadcast(np.float32(1)), broadcast(np.float32(0))
    counts, bound = larger.counts[row], broadcast(larger.targets[token])
    found = load(counts, 0)
    for at in range(0, logits.size, LANES):
        found = found + where_less(bound, load(logits, at), one, nothing)
    store(counts, 0, found)


@kernel
def rank_counted(larger, n, team):
    """The rank of a prediction from what all threads of the team have counted."""
    rank, rows = np.int64(1), larger.shape[0] // team.threads
    for thread in range(team.threads):
        for lane in range(LANES):
            rank += np.int64(larger[thread * rows + n, lane])
    return rank


@kernel
def kept_log_prob(bins, predictions, n, token):
    """The model's log-probability of a token from a prediction's kept logits."""
    number = bin_of(bins, token)
    normaliser, first = predictions.normalisers[n, number], predictions.normalisers[n, 0]
    own = (np.float64(predictions.logits[n, token]) - normaliser[0]) - normaliser[1]
    return own if number == 0 else own + ((normaliser[2] - first[0]) - first[1])


@kernel
def _highest_logit(top, log_total, cluster, bound):
    """The highest float32 logit whose log-probability, as it is rounded, is not above a bound.

    A log-probability never falls where its logit rises, so that this is found by halving.
    """
    near = ((bound - cluster) + log_total) + top
    far = _FAR * (1.0 + abs(bound) + abs(cluster) + abs(log_total) + abs(top))
    low, high = np.float32(near - far), np.float32(near + far)
    middle = np.float32(0.5 * (np.float64(low) + np.float64(high)))
    while low < middle < high:
        if ((np.float64(middle) - top) - log_total) + cluster > bound:
            high = middle
        else:
            low = middle
        middle = np.float32(0.5 * (np.float64(low) + np.float64(high)))
    return low


@kernel
def count_above(bins, predictions, n, bound):
    """How many tokens have a log-probability by the model, from a prediction's kept logits, above a bound."""
    count, first = 0, predictions.normalisers[n, 0]
    for number in range(bins.shape[0]):
        part, normaliser = bin_at(bins, number), predictions.normalisers[n, number]
        cluster = 0.0 if number == 0 else (normaliser[2] - first[0]) - first[1]
        # One float32 compare for each of many thousand logits.
        highest = _highest_logit(normaliser[0], normaliser[1], cluster, bound)
        for logit in predictions.logits[n, part.first : part.first + part.size]:
            if logit > highest:
                count += 1
    return count


@kernel
def rank_kept(bins, predictions, team):
    """Ranks of this thread's predictions from kept logits, of a model without a continuous cache."""
    for n in range(team.thread, predictions.targets.size, team.threads):
        predictions.ranks[n] = 1 + count_above(bins, predictions, n, predictions.log_probs[n])
