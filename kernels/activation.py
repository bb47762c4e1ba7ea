"""Activation functions of feed-forward layers, alone or as a gate.

    relu       max(x, 0)
    silu       x * sigmoid(x)
    gelu       (x / 2) * (1 + erf(x / sqrt(2)))
    gelu_tanh  (x / 2) * (1 + tanh(x * (c + 0.044715 c x^2))),  c = sqrt(2 / pi)

(Nair and Hinton, 2010; Elfwing, Uchibe and Doya, 2017; Hendrycks and Gimpel, Gaussian error linear units, 2016.) Gated
(Shazeer, GLU variants improve transformer, 2020): the function of the first half of the numbers times the second half.
"""

from __future__ import annotations

import numpy as np

from .charge import ADD, COMPARE, MULTIPLY, TRANSCENDENTAL, UNARY, charge
from .elementary import erf, sigmoid, tanh
from .jit import kernel
from .lanes import broadcast, fma, maximum
from .matrix import FLOAT_BITS

FUNCTIONS = ("identity", "relu", "silu", "gelu", "gelu_tanh")
IDENTITY, RELU, SILU, GELU, GELU_TANH = range(len(FUNCTIONS))

_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1.0), np.float32(0.0)
_SQRT_HALF = np.float32(0.70710678118654752440)
_C = np.float32(0.79788456080286535588)
_C_CUBE = np.float32(0.79788456080286535588 * 0.044715)


@kernel
def activation_cost(meter, function, numbers):
    """Cost law of ``activated`` for some numbers.

    relu: a compare. silu: a multiply, a transcendental. gelu: 3 multiplies, an add, a transcendental. gelu_tanh: 5
    multiplies, 2 adds, a transcendental.
    """
    multiplies, adds = 0, 0
    if function == RELU:
        charge(meter, COMPARE, FLOAT_BITS, FLOAT_BITS, numbers)
    elif function == SILU:
        multiplies = 1
    elif function == GELU:
        multiplies, adds = 3, 1
    elif function == GELU_TANH:
        multiplies, adds = 5, 2
    if multiplies > 0:
        charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, multiplies * numbers)
        charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, adds * numbers)
        charge(meter, TRANSCENDENTAL, FLOAT_BITS, UNARY, numbers)


@kernel
def activated(function, x):
    """The function of sixteen numbers; charged by the caller."""
    if function == RELU:
        return maximum(x, broadcast(_ZERO))
    if function == SILU:
        return x * sigmoid(x)
    if function == GELU:
        return broadcast(_HALF) * x * (broadcast(_ONE) + erf(x * broadcast(_SQRT_HALF)))
    if function == GELU_TANH:
        inner = x * fma(x * x, broadcast(_C_CUBE), broadcast(_C))
        return broadcast(_HALF) * x * (broadcast(_ONE) + tanh(inner))
    return x
