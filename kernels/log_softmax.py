"""Log-probabilities over the vocabulary, in fixed segments and without ever holding the logits of a block.

    log p[v] = l[v] - log(sum over u of exp(l[u])) = (l[v] - M) - log Z,   M = max l,  Z = sum of exp(l - M)

The vocabulary is cut into segments of SEGMENT_ROWS rows. A segment's logits are made, reduced to their maximum m and
the sum z of exp(l - m), and forgotten. The segments are combined in their order, so neither the number of threads nor
the block changes a bit. Sums inside a segment are float32 in 16 lanes of at most 24 terms; sums over segments are
float64 (Milakov and Gimelshein, Online normalizer calculation for softmax, 2018, describe the running form of the
identity).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .across import largest_across, sum_across
from .charge import ADD, COMPARE, CONVERT, MULTIPLY, TRANSCENDENTAL, UNARY, charge
from .elementary import exp, log
from .jit import kernel
from .lanes import LANES, broadcast, load, maximum, store, whole_lanes
from .matrix import FLOAT_BITS
from .target_rank import add_larger

# 24 row blocks: a multiple of every CPU's tile heights (8 or 4 for one vector, 3 or 1 for several).
SEGMENT_BLOCKS = 24
SEGMENT_ROWS = SEGMENT_BLOCKS * LANES
SUM_BITS = 64

_LOWEST = np.float32(-np.inf)


class Logits(NamedTuple):
    """Logits of one segment: token t and entry v of the segment at data[row + t, v]."""

    data: Any  # (>= row + tokens, SEGMENT_ROWS) float32
    row: int
    tokens: int
    rows: int  # entries of the segment: SEGMENT_ROWS in all but the last


class Partials(NamedTuple):
    """What is kept of each token's segments until all are there."""

    highest: Any  # (>= tokens, S rounded up to 16) float32, maxima
    sums: Any  # (>= tokens, S rounded up to 16) float32, sums of the exponentials of the differences to them


@kernel
def segments_of(rows):
    """Number of segments of a vocabulary of ``rows`` entries."""
    return (rows + SEGMENT_ROWS - 1) // SEGMENT_ROWS


@kernel
def segment_cost(meter, rows, segments, tokens):
    """Cost law of ``reduce_segment``, for segments of ``rows`` entries together.

    For each of n entries: n - 1 compares, n subtractions, n exponentials, n - 1 adds.
    """
    width = FLOAT_BITS
    charge(meter, COMPARE, width, width, (rows - segments) * tokens)
    charge(meter, ADD, width, width, rows * tokens)
    charge(meter, TRANSCENDENTAL, width, UNARY, rows * tokens)
    charge(meter, ADD, width, width, (rows - segments) * tokens)


@kernel
def reduce_segment(logits, segment, lanes, partials, larger, meter):
    """Maximum and sum of exponentials of every token's logits in one segment.

    Parameters
    ----------
    logits : Logits
        The padding behind the segment's entries, up to a multiple of 16, is overwritten.
    segment : int
    lanes : (16,) float32
        Scratch, overwritten.
    partials : Partials
        Column ``segment`` is written for each token.
    larger : Larger
        Modified in place, in the logits' rows, where ranks of targets are wanted.
    meter : Meter
    """
    segment_cost(meter, logits.rows, 1, logits.tokens)
    padded = whole_lanes(logits.rows)
    for t in range(logits.tokens):
        row = logits.data[logits.row + t]
        for lane in range(logits.rows, padded):
            row[lane] = _LOWEST
        if larger.is_wanted:
            add_larger(larger, logits.row + t, t, row[:padded])
        top = load(row, 0)
        for at in range(LANES, padded, LANES):
            top = maximum(load(row, at), top)
        highest = largest_across(lanes, top)
        shift = broadcast(highest)
        total = exp(load(row, 0) - shift)
        for at in range(LANES, padded, LANES):
            total = total + exp(load(row, at) - shift)
        partials.highest[t, segment] = highest
        partials.sums[t, segment] = sum_across(lanes, total)


@kernel
def combine_cost(meter, segments, tokens):
    """Cost law of ``combine_segments``.

    For S segments: S - 1 compares; S subtractions, exponentials, products and conversions to float64; S - 1 float64
    adds; one float64 logarithm.
    """
    width = FLOAT_BITS
    charge(meter, COMPARE, width, width, (segments - 1) * tokens)
    charge(meter, ADD, width, width, segments * tokens)
    charge(meter, TRANSCENDENTAL, width, UNARY, segments * tokens)
    charge(meter, MULTIPLY, width, width, segments * tokens)
    charge(meter, CONVERT, width, SUM_BITS, segments * tokens)
    charge(meter, ADD, SUM_BITS, SUM_BITS, (segments - 1) * tokens)
    charge(meter, TRANSCENDENTAL, SUM_BITS, UNARY, tokens)


@kernel
def difference_cost(meter, tokens):
    """Cost law of (l - M) - log Z: M and the target's logit converted to float64, and two subtractions."""
    charge(meter, CONVERT, FLOAT_BITS, SUM_BITS, 2 * tokens)
    charge(meter, ADD, SUM_BITS, SUM_BITS, 2 * tokens)


@kernel
def log_softmax_cost(meter, vocabulary, tokens):
    """Cost law of a whole log-probability: all segments of the vocabulary, their combination, and the difference."""
    segments = segments_of(vocabulary)
    segment_cost(meter, vocabulary, segments, tokens)
    combine_cost(meter, segments, tokens)
    difference_cost(meter, tokens)


@kernel
def combine_segments(partials, token, segments, meter):
    """The normaliser of one token from the partial results of all segments.

    Parameters
    ----------
    partials : Partials
        The token's sums are overwritten, the padding of both its rows too.
    token, segments : int
    meter : Meter

    Returns
    -------
    (float64, float64)
        M and log Z: the log-probability of a token with logit l is (l - M) - log Z, in nats.
    """
    combine_cost(meter, segments, 1)
    highest, sums = partials.highest[token], partials.sums[token]
    padded = whole_lanes(segments)
    for segment in range(segments, padded):
        highest[segment] = _LOWEST
        sums[segment] = np.float32(0.0)
    top = highest[0]
    for segment in range(1, segments):
        if highest[segment] > top:
            top = highest[segment]
    shift = broadcast(top)
    for at in range(0, padded, LANES):
        store(sums, at, load(sums, at) * exp(load(highest, at) - shift))
    total = np.float64(sums[0])
    for segment in range(1, segments):
        total += np.float64(sums[segment])
    return np.float64(top), log(total)
