"""Inputs of a product as its matrix wants them: float32, rounded to float16, or quantised to 8-bit integers.

Quantised inputs are whole numbers of one step for each vector:

    s = max |x| / 127,    q[j] = x[j] / s rounded to the nearest whole number, ties to even

(symmetric, dynamic quantisation: Jacob et al., Quantization and training of neural networks for efficient
integer-arithmetic-only inference, 2018, without the zero point). They are kept as int16, the width in which pairs are
multiplied and added; the numbers have 8 bits.

A grouped matrix (``sections.py``) has one step for the whole vector too. What is prepared for it lies section by
section, each in whole lanes with zeros at their end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .charge import ADD, BITWISE, COMPARE, CONVERT, DIVIDE, MULTIPLY, UNARY, charge
from .formats import FIELD_BIAS, UNIT_COLUMNS
from .jit import entry, kernel
from .lanes import LANES, broadcast, fma, load, store
from .matrix import DENSE, EXACT, FLOAT_BITS, HALF_BITS, INTEGER_BITS
from .rounding import ROUNDER, larger_magnitude, largest_magnitude, round_to_half, store_rounded
from .sections import input_groups, inputs_of, is_spread, prepared_stride

_LARGEST = np.float32(127.0)
_STEP = np.float32(1 / 127)
# Below this a vector counts as zero: the reciprocal of its step would overflow.
_TINY = np.float32(2.0**-100)
_ZERO = np.float32(0.0)


class Narrow(NamedTuple):
    """Memory for inputs that are not float32: a row a token, padded to whole lanes, without a meaning between calls."""

    halves: Any  # (tokens, width) float32, values of float16
    integers: Any  # (tokens, width) int16
    scales: Any  # (tokens,) float32, the step of each token's integers
    sums: Any  # (tokens, groups) float32, sums of the inputs over each group, for matrices with offsets
    starts: Any  # (tokens, groups) int32, what the sums of a product over nested integers begin with


class Vectors(NamedTuple):
    """Input vectors of one or several tokens: rows row .. row + tokens - 1 of ``data``, rows 0 .. of ``narrow``."""

    data: Any  # (rows, width) float32, C-contiguous; width: K rounded up to 16, zeros behind K
    narrow: Narrow
    row: int
    tokens: int


@kernel
def _clear_ends(matrix, prepared):
    """Zeros behind each section of a prepared vector; those behind the only one are there."""
    stride = prepared_stride(matrix)
    if matrix.sections > 1:
        for section in range(matrix.sections):
            for j in range(section * stride + matrix.columns, (section + 1) * stride):
                prepared[j] = 0


@kernel
def _quantise(matrix, x, token):
    """A vector's integers and their step."""
    width = x.data.shape[1]
    at = (x.row + token) * width
    highest = broadcast(_ZERO)
    for j in range(0, inputs_of(matrix), LANES):
        highest = larger_magnitude(load(x.data, at + j), highest)
    largest = largest_magnitude(highest)
    scale, reciprocal = largest * _STEP, _ZERO
    if largest < _TINY:
        scale = _ZERO
    else:
        reciprocal = _LARGEST / largest
    x.narrow.scales[token] = scale
    to = token * x.narrow.integers.shape[1]
    for _ in range(matrix.sections):
        for j in range(0, matrix.columns, LANES):
            rounded = fma(load(x.data, at + j), broadcast(reciprocal), broadcast(ROUNDER))
            store_rounded(x.narrow.integers, to + j, rounded)
        at, to = at + matrix.columns, to + prepared_stride(matrix)
    _clear_ends(matrix, x.narrow.integers[token])


@kernel
def _copy_floats(matrix, x, token):
    """A vector's numbers, rounded to float16 if the matrix wants that."""
    at, to = (x.row + token) * x.data.shape[1], token * x.narrow.halves.shape[1]
    for _ in range(matrix.sections):
        for j in range(0, matrix.columns, LANES):
            value = load(x.data, at + j)
            if matrix.input_bits == HALF_BITS:
                value = round_to_half(value)
            store(x.narrow.halves, to + j, value)
        at, to = at + matrix.columns, to + prepared_stride(matrix)
    _clear_ends(matrix, x.narrow.halves[token])


@kernel
def _start_of(matrix, group, prepared):
    """First number of a group of a vector, as it is or as it was prepared."""
    in_section = matrix.columns // matrix.group
    section = group // in_section
    stride = prepared_stride(matrix) if prepared else matrix.columns
    return section * stride + (group - section * in_section) * matrix.group


@kernel
def _sum_groups(matrix, x, token):
    """Sums of the numbers that enter the product, group by group, in the order of the columns."""
    prepared = matrix.input_bits != FLOAT_BITS or is_spread(matrix)
    for group in range(input_groups(matrix)):
        first = _start_of(matrix, group, prepared)
        if matrix.input_bits == INTEGER_BITS:
            whole = 0
            for j in range(first, first + matrix.group):
                whole += x.narrow.integers[token, j]
            x.narrow.sums[token, group] = whole
        else:
            total = _ZERO
            for j in range(first, first + matrix.group):
                total += x.narrow.halves[token, j] if prepared else x.data[x.row + token, j]
            x.narrow.sums[token, group] = total


@kernel
def is_nested(matrix):
    """Whether the loop that multiplies a matrix leaves its integers nested (``decode.nested_pairs``)."""
    as_they_are = matrix.overflow == EXACT and matrix.pruned == DENSE
    return as_they_are and matrix.input_bits == INTEGER_BITS and FIELD_BIAS[matrix.code] != 0


@kernel
def _nest(matrix, x, token):
    """Make of a vector's integers what nested weights meet: each less 2**bits times the one in the field below it.

    Part of unpacking the weights, done once for all rows: it is not charged, as no other unpacking is.
    """
    integers, per_unit, bias = x.narrow.integers, UNIT_COLUMNS[matrix.code], FIELD_BIAS[matrix.code]
    for group in range(input_groups(matrix)):
        total, first = 0, _start_of(matrix, group, True)
        # The last unit may end behind the columns: there the integers are zero.
        for unit in range(first, first + matrix.group, per_unit):
            for j in range(unit + per_unit - 1, unit + 1, -1):
                lower = integers[token, j - 2]
                total += lower
                integers[token, j] -= 2 * bias * lower
        x.narrow.starts[token, group] = -bias * total


@kernel
def narrow_rows(narrow, first, last):
    """The memory of the vectors ``first`` to ``last`` - 1."""
    return Narrow(
        narrow.halves[first:last],
        narrow.integers[first:last],
        narrow.scales[first:last],
        narrow.sums[first:last],
        narrow.starts[first:last],
    )


@kernel
def own_row(narrow, row):
    """The memory of one vector."""
    return narrow_rows(narrow, row, row + 1)


@kernel
def must_prepare(matrix):
    """Whether a matrix wants anything but float32 inputs as they are."""
    return matrix.input_bits != FLOAT_BITS or matrix.has_offsets != 0 or is_spread(matrix)


@kernel
def prepare_cost(meter, matrix, tokens):
    """Cost law of ``prepare``.

    Rounded to float16: a conversion for each of K numbers. Quantised: K magnitudes (one bitwise operation each), K - 1
    compares and one with the smallest vector that is not zero, a division and a multiply for the step and its
    reciprocal, K multiplies and K conversions. Sums over G groups, where the matrix has offsets: K - G adds, and if
    they are integers G conversions. K and G are those of all sections together.
    """
    k = inputs_of(matrix)
    if matrix.input_bits == HALF_BITS:
        charge(meter, CONVERT, FLOAT_BITS, HALF_BITS, k * tokens)
    elif matrix.input_bits == INTEGER_BITS:
        charge(meter, BITWISE, FLOAT_BITS, UNARY, k * tokens)
        charge(meter, COMPARE, FLOAT_BITS, FLOAT_BITS, k * tokens)
        charge(meter, DIVIDE, FLOAT_BITS, FLOAT_BITS, tokens)
        charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, (k + 1) * tokens)
        charge(meter, CONVERT, FLOAT_BITS, INTEGER_BITS, k * tokens)
    if matrix.has_offsets:
        groups = input_groups(matrix)
        charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, (k - groups) * tokens)
        if matrix.input_bits == INTEGER_BITS:
            charge(meter, CONVERT, FLOAT_BITS, FLOAT_BITS, groups * tokens)


@entry
def prepared_size(matrix):
    """Numbers that ``prepare`` leaves behind for a vector, and their bits at declared widths: (int, int)."""
    if not must_prepare(matrix):
        return 0, 0
    k, groups = inputs_of(matrix), input_groups(matrix)
    numbers, bits = 0, 0
    if matrix.input_bits != FLOAT_BITS or is_spread(matrix):
        numbers += k
        bits += k * matrix.input_bits
    others = 0  # the step, sums of groups, and what sums over nested integers begin with
    if matrix.input_bits == INTEGER_BITS:
        others += 1
    if matrix.has_offsets:
        others += groups
    if is_nested(matrix):
        others += groups
    return numbers + others, bits + others * FLOAT_BITS


@kernel
def prepare(matrix, x, first, last):
    """Make the inputs of tokens ``first`` to ``last`` - 1 of ``x`` what ``matrix`` wants; charged by the caller.

    Parameters
    ----------
    matrix : Matrix
    x : Vectors
        ``x.narrow`` is modified in place.
    first, last : int
        Tokens, counted from 0.
    """
    if not must_prepare(matrix):
        return
    for token in range(first, last):
        if matrix.input_bits == INTEGER_BITS:
            _quantise(matrix, x, token)
        elif matrix.input_bits == HALF_BITS or is_spread(matrix):
            _copy_floats(matrix, x, token)
        if matrix.has_offsets:
            _sum_groups(matrix, x, token)
        if is_nested(matrix):
            _nest(matrix, x, token)
