"""The continuous cache: past outputs, and the token that followed each, as a second model beside the first.

Grave, Joulin and Usunier, Improving neural language models with a continuous cache (2017), equations 3 and 6, with
linear interpolation. h is the output that a prediction is made from, h[i] a past one that token x[i] followed:

    p(w) = (1 - lambda) p_model(w) + lambda (sum over i with x[i] = w of e[i]) / (sum over i of e[i])
    e[i] = exp(theta h . h[i] - max over i)

over the last N past outputs. Before there is any the prediction is the model's. Outputs are kept as keys of attention
are, in blocks of 16: so no bit depends on where one lies.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .attention import FRONT, Cache, Relative, View, score, weigh
from .charge import ADD, COMPARE, CONVERT, DIVIDE, MULTIPLY, TRANSCENDENTAL, UNARY, charge
from .clock import lap
from .elementary import exp_64, log
from .jit import entry, kernel
from .lanes import LANES, whole_lanes
from .log_softmax import SUM_BITS
from .matrix import FLOAT_BITS
from .target_rank import count_above, kept_log_prob, ranks_kept_logits

# Of the state: pairs of an output and a token that were ever made, those among them that were dropped, and whether
# there is an output that no token has followed yet.
PAIRS, DROPPED, WAITS = range(3)
# Relative: within this a logarithm, and an exponential, are right.
_NEAR = 1e-12


class Continuous(NamedTuple):
    """What a continuous cache holds, and works in; ``size`` 0: there is none."""

    outputs: Cache  # keys, of one layer and head as wide as the outputs
    relative: Relative  # none
    tokens: Any  # (capacity,) int64, what followed each
    last: Any  # (width,) float32, the output that waits for its token
    known: Any  # (B,) int64, pairs ever made when each frozen output was
    state: Any  # (3,) int64
    scores: Any  # (threads, FRONT + capacity + 16) float32
    totals: Any  # (threads, 1) float32, sums of what is in ``scores``
    masses: Any  # (threads, V) float32, zeros, where ranks are wanted: sums of those of a token; else (threads, 0)
    queries: Any  # (threads, width) float32
    lanes: Any  # (threads, 16) float32
    size: int  # N
    theta: Any  # float32
    share: Any  # float64, lambda


@kernel
def _make_room(continuous):
    """Drop the oldest pairs where there is no room for one more: those stay that a frozen output may still see."""
    state, outputs = continuous.state, continuous.outputs
    held = state[PAIRS] - state[DROPPED]
    if held < outputs.capacity:
        return
    first = (held - continuous.size - continuous.known.size) // LANES * LANES
    for n in range(whole_lanes(held - first) * outputs.width):
        outputs.keys[n] = outputs.keys[n + first * outputs.width]
    for n in range(held - first):
        continuous.tokens[n] = continuous.tokens[n + first]
    state[DROPPED] += first


@kernel
def follow(continuous, token):
    """Keep the output that waits, with the token that follows it: moves, not operations."""
    state, outputs = continuous.state, continuous.outputs
    if state[WAITS] == 0:
        return
    _make_room(continuous)
    place = state[PAIRS] - state[DROPPED]
    at = place // LANES * outputs.width * LANES + place % LANES
    for d in range(outputs.width):
        outputs.keys[at + d * LANES] = continuous.last[d]
    continuous.tokens[place] = token
    state[PAIRS] += 1


@kernel
def await_token(continuous, output, row):
    """A new output is frozen in a row: it waits for its token, and its prediction knows the pairs made so far."""
    for d in range(continuous.outputs.width):
        continuous.last[d] = output[d]
    continuous.known[row] = continuous.state[PAIRS]
    continuous.state[WAITS] = 1


@kernel
def mix_cost(meter, width, pairs):
    """Cost law of ``mix`` for a prediction that sees some pairs, (width,) being an output's shape.

    For n pairs: width multiplies by theta; n width multiplies and n (width - 1) adds for the scores; n - 1 compares, n
    subtractions, n exponentials, n - 1 adds; n compares of a token and n - 1 adds of what is its own; a division and a
    conversion to float64, and there 2 multiplies, an add, an exponential and a logarithm.
    """
    if pairs == 0:
        return
    float_bits = FLOAT_BITS
    charge(meter, MULTIPLY, float_bits, float_bits, width + pairs * width)
    charge(meter, ADD, float_bits, float_bits, pairs * (width - 1) + pairs + 2 * (pairs - 1))
    charge(meter, COMPARE, float_bits, float_bits, pairs - 1 + pairs)
    charge(meter, TRANSCENDENTAL, float_bits, UNARY, pairs)
    charge(meter, DIVIDE, float_bits, float_bits, 1)
    charge(meter, CONVERT, float_bits, SUM_BITS, 1)
    charge(meter, MULTIPLY, SUM_BITS, SUM_BITS, 2)
    charge(meter, ADD, SUM_BITS, SUM_BITS, 1)
    charge(meter, TRANSCENDENTAL, SUM_BITS, UNARY, 2)


@kernel
def mixed(log_prob, cached, share):
    """log((1 - share) exp(log_prob) + share cached): float64."""
    return log((1.0 - share) * exp_64(log_prob) + share * np.float64(cached))


@kernel
def _own(continuous, thread, token, pairs):
    """Probability of a token by the cache alone, from the exponentials in a thread's scores."""
    matched, first = np.float32(0), pairs[0] - continuous.state[DROPPED]
    for n in range(pairs[1]):
        if continuous.tokens[first + n] == token:
            matched += continuous.scores[thread, FRONT + n]
    return matched / continuous.totals[thread, 0]


@kernel
def _highest_uncached(log_prob, share):
    """The highest log-probability by the model that gives no more than ``log_prob`` where the cache gives nothing.

    Found by halving, for what is compared must be what ``mixed`` gives.
    """
    near = log_prob - log(1.0 - share)
    low, high = near - _NEAR * (1.0 + abs(near)), near + _NEAR * (1.0 + abs(near))
    middle = 0.5 * (low + high)
    while low < middle < high:
        if mixed(middle, np.float32(0), share) > log_prob:
            high = middle
        else:
            low = middle
        middle = 0.5 * (low + high)
    return low


@kernel
def _is_above(log_prob, cached, bound, share):
    """Whether ``mixed`` gives a token more than a bound, (its exponential, itself).

    Logarithms and exponentials are left for those near it.
    """
    own = share * np.float64(cached)
    if own > bound[0] * (1.0 + _NEAR):
        return True
    if own < 0.5 * bound[0] and log_prob < bound[1] - 1.0:  # exp(-1) and a half are less than 1
        return False
    return mixed(log_prob, cached, share) > bound[1]


@kernel
def _rank_mixed(continuous, bins, prediction, thread, pairs):
    """The rank of a mixed prediction, (predictions, its number), from the exponentials in a thread's scores.

    All tokens are first compared as if the cache had none of them; those in the cache that are not above then may be
    with it.
    """
    predictions, n = prediction
    masses, first = continuous.masses[thread], pairs[0] - continuous.state[DROPPED]
    bound, total = predictions.log_probs[n], continuous.totals[thread, 0]
    uncached = _highest_uncached(bound, continuous.share)
    rank = 1 + count_above(bins, predictions, n, uncached)
    for i in range(pairs[1]):
        masses[continuous.tokens[first + i]] += continuous.scores[thread, FRONT + i]
    probability = exp_64(bound)
    for i in range(pairs[1]):
        token = continuous.tokens[first + i]
        if masses[token] > np.float32(0):
            log_prob = kept_log_prob(bins, predictions, n, token)
            if log_prob <= uncached and _is_above(
                log_prob, masses[token] / total, (probability, bound), continuous.share
            ):
                rank += 1
            masses[token] = np.float32(0)
    return rank


@kernel
def mix(continuous, frozen, bins, predictions, team, meter):
    """Log-probabilities of this thread's predictions, mixed with the cache's.

    Parameters
    ----------
    continuous : Continuous
    frozen : (B, width or more) float32
        The outputs.
    bins : (bins, fields of Bin) int64
        Of the softmax.
    predictions : Predictions
        Their log-probabilities by the model, modified in place; ranks, where these are wanted, are written.
    team : Team
    meter : Meter
    """
    outputs, thread = continuous.outputs, team.thread
    for n in range(thread, predictions.targets.size, team.threads):
        seen = min(continuous.known[n], continuous.size)
        mix_cost(meter, outputs.width, seen)
        if seen == 0:
            if ranks_kept_logits(predictions):
                predictions.ranks[n] = 1 + count_above(bins, predictions, n, predictions.log_probs[n])
            continue
        first, query = continuous.known[n] - seen, continuous.queries[thread]
        for d in range(outputs.width):
            query[d] = continuous.theta * frozen[n, d]
        oldest = first - continuous.state[DROPPED]
        view = View(0, 0, 0, oldest + seen - 1, oldest, 0)
        score((query, query), outputs, continuous.relative, view, continuous.scores[thread])
        continuous.totals[thread, 0] = weigh(continuous.scores[thread], seen, continuous.lanes[thread])
        cached = _own(continuous, thread, predictions.targets[n], (first, seen))
        predictions.log_probs[n] = mixed(predictions.log_probs[n], cached, continuous.share)
        if ranks_kept_logits(predictions):
            predictions.ranks[n] = _rank_mixed(continuous, bins, (predictions, n), thread, (first, seen))
    lap(team.clock, meter.region)


@entry
def mix_distribution(continuous, log_probs, cached):
    """Mix the model's log-probabilities of the whole vocabulary with the cache's probabilities, both (V,), in place."""
    for token in range(log_probs.size):
        log_probs[token] = mixed(log_probs[token], cached[token], continuous.share)
