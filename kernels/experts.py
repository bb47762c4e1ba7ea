"""Mixtures of experts: a router chooses for each token which feed-forward layers it passes, and how they are mixed.

Of N logits the k largest are chosen; of equal ones the lower number comes first. Expert e's weight in the mixture is

    w[e] = exp(l[e] - m) / z,    m = max l,    z = sum of exp(l - m) over all N, or over the chosen ones

(Shazeer et al., Outrageously large neural networks: the sparsely-gated mixture-of-experts layer, 2017). Over all N with
k = 1 it is the form of Fedus, Zoph and Shazeer, Switch transformers (2021); over the chosen ones, where the weights sum
to 1, that of Jiang et al., Mixtral of experts (2024).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .charge import ADD, COMPARE, DIVIDE, MULTIPLY, TRANSCENDENTAL, UNARY, charge
from .elementary import exp
from .jit import kernel
from .lanes import LANES, broadcast, fma, load, store
from .matrix import FLOAT_BITS

EXPERT, ITEM = range(2)

_ZERO = np.float32(0.0)
_FREE, _TAKEN = np.float32(0.0), np.float32(1.0)


class Experts(NamedTuple):
    """How the experts of every layer are chosen."""

    total: int  # 0: there are none
    used: int  # by a token
    is_normalised: int  # 1: the weights of the chosen ones sum to 1


class Routes(NamedTuple):
    """Which experts the tokens of a chunk pass. A token in an expert is an item: a row of the experts' buffers.

    Where a step works on one token alone every thread has a row of its own of the first two, else each token has one.
    """

    chosen: Any  # (rows, k, 2) int64, experts and items
    weights: Any  # (rows, k) float32, of the mixture
    shares: Any  # (threads, N, 2) int64: each expert's first item and their number, for each thread to look up


@kernel
def choose_cost(meter, experts, tokens):
    """Cost law of ``choose``.

    N - 1, N - 2, ... compares for the k largest of N logits. With n the number of those that are summed (N, or k where
    the weights sum to 1): n subtractions, n exponentials, n - 1 adds; k divisions.
    """
    n, k = experts.total, experts.used
    summed = k if experts.is_normalised else n
    charge(meter, COMPARE, FLOAT_BITS, FLOAT_BITS, (k * (n - 1) - k * (k - 1) // 2) * tokens)
    charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, (2 * summed - 1) * tokens)
    charge(meter, TRANSCENDENTAL, FLOAT_BITS, UNARY, summed * tokens)
    charge(meter, DIVIDE, FLOAT_BITS, FLOAT_BITS, k * tokens)


@kernel
def choose(logits, experts, chosen, weights, scratch):
    """Choose a token's experts; charged by the caller.

    Parameters
    ----------
    logits : (>= N,) float32
    experts : Experts
    chosen : (k, 2) int64
        The first column is written: experts.
    weights : (k,) float32
        Written: of the mixture.
    scratch : (N rounded up to 16,) float32
        Overwritten.
    """
    for e in range(experts.total):
        scratch[e] = _FREE
    for slot in range(experts.used):
        best = -1
        for e in range(experts.total):
            if scratch[e] == _FREE and (best < 0 or logits[e] > logits[best]):
                best = e
        scratch[best] = _TAKEN
        chosen[slot, EXPERT] = best
    top = logits[chosen[0, EXPERT]]
    summed = experts.used if experts.is_normalised else experts.total
    for n in range(summed):
        scratch[n] = logits[chosen[n, EXPERT] if experts.is_normalised else n] - top
    for n in range(0, summed, LANES):
        store(scratch, n, exp(load(scratch, n)))
    total = scratch[0]
    for n in range(1, summed):
        total += scratch[n]
    for slot in range(experts.used):
        weights[slot] = scratch[slot if experts.is_normalised else chosen[slot, EXPERT]] / total


@kernel
def mix_experts_cost(meter, experts, numbers):
    """Cost law of ``mix_experts``: for each number k multiplies, k - 1 adds, and one to what was there."""
    charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, experts.used * numbers)
    charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, experts.used * numbers)


@kernel
def mix_experts(outputs, chosen, weights, span, x):
    """Add a token's experts' outputs, each times its weight, in the order in which they were chosen.

    Parameters
    ----------
    outputs : (items, width) float32
    chosen : (k, 2) int64
    weights : (k,) float32
    span : (int, int)
        First and last + 1 of the columns, multiples of 16.
    x : (width,) float32
        Modified in place.
    """
    width = outputs.shape[1]
    for j in range(span[0], span[1], LANES):
        mixed = broadcast(_ZERO)
        for slot in range(weights.size):
            mixed = fma(load(outputs, chosen[slot, ITEM] * width + j), broadcast(weights[slot]), mixed)
        store(x, j, load(x, j) + mixed)
