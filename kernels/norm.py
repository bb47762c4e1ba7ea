"""Normalisation of a vector: root mean square, or mean and variance.

    root mean square:    y[j] = x[j] * r * w[j],               r = 1 / sqrt(sum of x^2 / K + e)
    layer:               y[j] = (x[j] - m) * r * w[j] + b[j],  r = 1 / sqrt(sum of (x - m)^2 / K + e),  m = sum of x / K

(Zhang and Sennrich, Root mean square layer normalization, 2019; Ba, Kiros and Hinton, Layer normalization, 2016). A sum
goes over 16 lanes, lane l over the columns j with j % 16 = l in their order, and then over the lanes in theirs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .across import sum_across
from .charge import ADD, DIVIDE, MULTIPLY, TRANSCENDENTAL, UNARY, charge
from .jit import kernel
from .lanes import LANES, broadcast, fma, load, store, whole_lanes
from .matrix import FLOAT_BITS, NONE
from .vector import numbers_at
from .width import Width, alone_cost

ROOT_MEAN_SQUARE, LAYER = range(2)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


class Norm(NamedTuple):
    """A normalisation of vectors of ``columns`` numbers; its weights and biases lie among the packed weights."""

    kind: int
    columns: int
    weight_offset: int
    weight_code: int
    bias_offset: int  # NONE: no biases
    bias_code: int
    weight_bits: int  # declared widths, and those of steps: see ``width.py``
    weight_step_bits: int
    bias_bits: int
    bias_step_bits: int


@kernel
def norm_cost(meter, norm, tokens):
    """Cost law of ``normalise`` for some vectors of K numbers.

    Root mean square: K squares, K - 1 adds; a multiply by 1 / K, an add of e, a root, a division; K multiplies by r and
    K by the weights. Layer: also K - 1 adds and a multiply for the mean, K subtractions, and K adds of the biases.
    """
    k = norm.columns
    multiplies, adds = 2 * k + 1, k
    if norm.kind == LAYER:
        multiplies += 1
        adds += k - 1 + k
    charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, multiplies * tokens)
    charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, adds * tokens)
    charge(meter, TRANSCENDENTAL, FLOAT_BITS, UNARY, tokens)
    charge(meter, DIVIDE, FLOAT_BITS, FLOAT_BITS, tokens)
    alone_cost(meter, MULTIPLY, Width(norm.weight_bits, norm.weight_step_bits), k * tokens)
    if norm.bias_offset != NONE:
        alone_cost(meter, ADD, Width(norm.bias_bits, norm.bias_step_bits), k * tokens)


@kernel
def normalise(weights, norm, epsilon, vectors, lanes):
    """Normalise one vector; charged by the caller.

    Parameters
    ----------
    weights : (bytes,) uint8
        All packed weights of the model.
    norm : Norm
    epsilon : float32
    vectors : ((K rounded up to 16,) float32, the same)
        The vector, with zeros behind K, and where it goes, with zeros behind K: it may be the same place.
    lanes : (16,) float32
        Scratch, overwritten.
    """
    source, target = vectors
    k = norm.columns
    share, centred = _ONE / np.float32(k), source
    if norm.kind == LAYER:
        total = load(source, 0)
        for j in range(LANES, k, LANES):
            total = total + load(source, j)
        mean = broadcast(sum_across(lanes, total) * share)
        for j in range(0, k, LANES):
            store(target, j, load(source, j) - mean)
        for j in range(k, whole_lanes(k)):
            target[j] = _ZERO
        centred = target
    x = load(centred, 0)
    total = x * x
    for j in range(LANES, k, LANES):
        x = load(centred, j)
        total = fma(x, x, total)
    scale = broadcast(_ONE / np.sqrt(sum_across(lanes, total) * share + epsilon))
    for j in range(0, k, LANES):
        y = load(centred, j) * scale
        y = y * numbers_at(weights, norm.weight_code, norm.weight_offset, j)
        if norm.bias_offset != NONE:
            y = y + numbers_at(weights, norm.bias_code, norm.bias_offset, j)
        store(target, j, y)
