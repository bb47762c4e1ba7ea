"""Exponential, logistic and hyperbolic functions on float32 lanes, and the float64 logarithm and exponential.

libm differs between machines, so these are our own: branch-free, built from fma, add, multiply, divide and bit
operations, hence the same bits everywhere. ``tests/test_elementary.py`` measures each against 50-digit arithmetic.

Method (Muller, Elementary Functions, 3rd ed., ch. 11): x = n ln 2 + r with |r| <= ln(2)/2, the Taylor
polynomial of e**r - 1, and a shift of the exponent by n. The polynomial's remainder, r**9 / 9!, is below 2e-10.
"""

from __future__ import annotations

import numpy as np

from .jit import inlined, kernel
from .lanes import add_to_exponent, broadcast, fma, keep_nan, magnitude, maximum, minimum, where_less, with_sign_of

_LOG2_E = np.float32(1.4426950408889634)
# ln 2 in two parts: n * _LN2_HIGH is exact for |n| < 2**9, and the low part carries the rest.
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
# Adding this rounds a small number to an integer, which then stands in the lowest bits of the sum.
_ROUNDER = np.float32(1.5 * 2**23)
# Results of exp below the smallest normal number are flushed to zero; above the second it overflows.
_EXP_LOWEST = np.float32(-87.33654)
_EXP_HIGHEST = np.float32(88.37626)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_ZERO = np.float32(0.0)

# 1/8!, 1/7!, ..., 1/2!
_C8 = np.float32(1 / 40320)
_C7 = np.float32(1 / 5040)
_C6 = np.float32(1 / 720)
_C5 = np.float32(1 / 120)
_C4 = np.float32(1 / 24)
_C3 = np.float32(1 / 6)
_C2 = np.float32(1 / 2)


@inlined
def _reduce(x):
    """``shifted`` (n + 1.5 * 2**23) and e**r - 1, for x = n ln 2 + r."""
    shifted = fma(x, broadcast(_LOG2_E), broadcast(_ROUNDER))
    n = shifted - broadcast(_ROUNDER)
    r = fma(n, broadcast(-_LN2_HIGH), x)
    r = fma(n, broadcast(-_LN2_LOW), r)
    p = fma(broadcast(_C8), r, broadcast(_C7))
    p = fma(p, r, broadcast(_C6))
    p = fma(p, r, broadcast(_C5))
    p = fma(p, r, broadcast(_C4))
    p = fma(p, r, broadcast(_C3))
    p = fma(p, r, broadcast(_C2))
    return shifted, fma(p, r * r, r)


@inlined
def exp(x):
    """e**x per lane, within 1 unit in the last place.

    Below -87.33654 the result is 0 (no subnormals), above 88.37626 it stays at e**88.37626; NaN stays NaN.
    """
    clamped = minimum(maximum(x, broadcast(_EXP_LOWEST)), broadcast(_EXP_HIGHEST))
    shifted, tail = _reduce(clamped)
    value = add_to_exponent(broadcast(_ONE) + tail, shifted)
    value = where_less(x, broadcast(_EXP_LOWEST), broadcast(_ZERO), value)
    return keep_nan(x, value)


@inlined
def sigmoid(x):
    """1 / (1 + e**-x) per lane, within 3 units in the last place; NaN stays NaN."""
    one = broadcast(_ONE)
    return one / (one + exp(broadcast(_ZERO) - x))


# Beyond 9.02 the hyperbolic tangent rounds to 1 in float32.
_TANH_FLAT = np.float32(10.0)


@inlined
def tanh(x):
    """Hyperbolic tangent per lane, within 3 units in the last place; NaN stays NaN.

    t / (t + 2) with t = e**(2|x|) - 1. t = 2**n (e**r - 1) + (2**n - 1) keeps the digits of a small x, where e**x - 1
    would lose them.
    """
    doubled = minimum(magnitude(x), broadcast(_TANH_FLAT)) * broadcast(_TWO)
    shifted, tail = _reduce(doubled)
    power = add_to_exponent(broadcast(_ONE), shifted)
    t = fma(power, tail, power - broadcast(_ONE))
    return keep_nan(x, with_sign_of(t / (t + broadcast(_TWO)), x))


_LN2_HIGH_64 = 6.93147180369123816490e-01  # the leading 33 bits of ln 2
_LN2_LOW_64 = 1.90821492927058770002e-10
_SMALLEST_NORMAL = 2.0**-1022
_SQRT_HALF = 0.70710678118654752440


@kernel
def log(x):
    """Natural logarithm of a positive, finite, normal float64 scalar, within 2 units in the last place; else NaN.

    x = 2**k m with sqrt(1/2) <= m < sqrt(2); log m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.1716, by the series
    to s**21, whose remainder is below 1e-18.
    """
    if not _SMALLEST_NORMAL <= x < np.inf:
        return np.nan
    bits = np.float64(x).view(np.int64)
    k = (bits >> 52) - 1022
    m = np.int64((bits & 0xFFFFFFFFFFFFF) | 0x3FE0000000000000).view(np.float64)  # in [1/2, 1)
    if m < _SQRT_HALF:
        m = m * 2.0
        k -= 1
    f = m - 1.0
    s = f / (m + 1.0)
    z = s * s
    series = 0.0
    for power in range(21, 1, -2):
        series = (series + 1.0 / power) * z
    # log m = 2 s (1 + series) and f = 2 s + s f, so log m = f - s (f - 2 series): the leading term is exact.
    exponent = np.float64(k)
    return exponent * _LN2_HIGH_64 + (f - (s * (f - 2.0 * series) - exponent * _LN2_LOW_64))


# Below the first the result is no normal number, above the second it overflows.
_EXP_LOWEST_64, _EXP_HIGHEST_64 = -708.0, 709.0


@kernel
def exp_64(x):
    """e**x of a float64 scalar, within 2 units in the last place; 0 below -708, infinite above 709; NaN stays NaN.

    x = n ln 2 + r with |r| <= ln(2)/2, the Taylor polynomial of e**r to r**14 / 14!, whose remainder is below 1e-19,
    and a shift of the exponent by n.
    """
    if x < _EXP_LOWEST_64:
        return 0.0
    if x > _EXP_HIGHEST_64:
        return np.inf
    if x != x:
        return x
    n = np.floor(x * 1.4426950408889634 + 0.5)
    r = (x - n * _LN2_HIGH_64) - n * _LN2_LOW_64
    series = 1.0
    for k in range(14, 0, -1):
        series = series * r / k + 1.0
    return series * np.int64((np.int64(n) + 1023) << 52).view(np.float64)


# erf(x) / x as a polynomial in x**2 for |x| <= 1, and -log(1 - erf(x)) as one in x for 1 <= x <= 4: interpolated at
# Chebyshev points, within 1.4e-9 of the first and so that erf is within 7e-10 of the second. Beyond 4 erf rounds to 1.
_ERF_NEAR = tuple(np.float32(c) for c in (
    1.128379166, -3.761262690e-1, 1.128359746e-1, -2.685432880e-2, 5.189311942e-3, -8.018854991e-4, 7.882497103e-5,
))  # fmt: skip
_ERF_FAR = tuple(np.float32(c) for c in (
    -3.032130112e-4, 1.130166676, 6.319370934e-1, 1.099782454e-1, -2.636471748e-2, 4.740222382e-3, -5.927695461e-4,
    4.559062339e-5, -1.614061649e-6,
))  # fmt: skip
_ERF_FLAT = np.float32(4.0)


@inlined
def erf(x):
    """Error function per lane, within 3 units in the last place; NaN stays NaN."""
    size = minimum(magnitude(x), broadcast(_ERF_FLAT))
    square = size * size
    near = broadcast(_ERF_NEAR[6])
    near = fma(near, square, broadcast(_ERF_NEAR[5]))
    near = fma(near, square, broadcast(_ERF_NEAR[4]))
    near = fma(near, square, broadcast(_ERF_NEAR[3]))
    near = fma(near, square, broadcast(_ERF_NEAR[2]))
    near = fma(near, square, broadcast(_ERF_NEAR[1]))
    near = fma(near, square, broadcast(_ERF_NEAR[0])) * size
    far = broadcast(_ERF_FAR[8])
    far = fma(far, size, broadcast(_ERF_FAR[7]))
    far = fma(far, size, broadcast(_ERF_FAR[6]))
    far = fma(far, size, broadcast(_ERF_FAR[5]))
    far = fma(far, size, broadcast(_ERF_FAR[4]))
    far = fma(far, size, broadcast(_ERF_FAR[3]))
    far = fma(far, size, broadcast(_ERF_FAR[2]))
    far = fma(far, size, broadcast(_ERF_FAR[1]))
    far = fma(far, size, broadcast(_ERF_FAR[0]))
    value = where_less(size, broadcast(_ONE), near, broadcast(_ONE) - exp(broadcast(_ZERO) - far))
    return keep_nan(x, with_sign_of(value, x))
