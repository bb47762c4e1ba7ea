"""Scalar reference: the models' formulas in plain Python, on numbers that count every operation applied to them.

Nothing here is imported from the code under test. A number is a ``Counted``: a Python float with a declared width.
Whatever is done to it is recorded as (region, kind, bits_a, bits_b) in its ledger: the widths of the two inputs, 0 for
the second where there is one input, and the target's width for a conversion. The result of an operation has the wider
of the two widths.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from contextlib import contextmanager

import numpy as np

ACTIVATION = 32  # bits of activations and accumulators
SUM = 64  # bits of sums over segments of the vocabulary
SEGMENT = 384  # vocabulary entries whose exponentials are summed before they are combined


class Ledger:
    """What was executed, by region."""

    def __init__(self):
        self.counts = Counter()
        self.overflows = 0
        self.region = None

    @contextmanager
    def in_region(self, name):
        before, self.region = self.region, name
        yield
        self.region = before

    def record(self, kind, bits_a, bits_b):
        self.counts[self.region, kind, bits_a, bits_b] += 1

    def number(self, value, bits):
        return Counted(float(value), bits, self)


class Counted:
    """A number that records what is done to it."""

    __slots__ = ("bits", "ledger", "value")

    def __init__(self, value, bits, ledger):
        self.value, self.bits, self.ledger = value, bits, ledger

    def _binary(self, kind, other, value):
        # Some ten million times in the suite: what ``record`` and ``max`` do is written out.
        ledger, bits, others = self.ledger, self.bits, other.bits
        ledger.counts[ledger.region, kind, bits, others] += 1
        return Counted(value, bits if bits > others else others, ledger)

    def __mul__(self, other):
        return self._binary("multiply", other, self.value * other.value)

    def __add__(self, other):
        return self._binary("add", other, self.value + other.value)

    def __sub__(self, other):
        return self._binary("add", other, self.value - other.value)

    def larger(self, other):
        return self._binary("compare", other, max(self.value, other.value))

    def _unary(self, value):
        self.ledger.record("transcendental", self.bits, 0)
        return Counted(value, self.bits, self.ledger)

    def exp(self):
        return self._unary(math.exp(self.value))

    def log(self):
        return self._unary(math.log(self.value))

    def tanh(self):
        return self._unary(math.tanh(self.value))

    def sigmoid(self):
        return self._unary(1 / (1 + math.exp(-self.value)))

    def converted(self, bits):
        self.ledger.record("convert", self.bits, bits)
        return Counted(self.value, bits, self.ledger)

    def __truediv__(self, other):
        return self._binary("divide", other, self.value / other.value)

    def magnitude(self):
        self.ledger.record("bitwise", self.bits, 0)
        return Counted(abs(self.value), self.bits, self.ledger)

    def rounded(self, bits):
        """To the nearest whole number, ties to even."""
        self.ledger.record("convert", self.bits, bits)
        return Counted(round(self.value), bits, self.ledger)

    def rounded_to_half(self):
        self.ledger.record("convert", self.bits, 16)
        return Counted(float(np.float16(self.value)), 16, self.ledger)

    def kept(self, dtype):
        """The same number in a variable of a type: no operation."""
        return Counted(float(dtype(self.value)), self.bits, self.ledger)


def total(numbers):
    """Sum of n numbers: n - 1 adds."""
    numbers = list(numbers)
    result = numbers[0]
    for number in numbers[1:]:
        result = result + number
    return result


def largest(numbers):
    """Maximum of n numbers: n - 1 compares."""
    numbers = list(numbers)
    result = numbers[0]
    for number in numbers[1:]:
        result = result.larger(number)
    return result


def kept(weights, x):
    """The weights that were not pruned (None), each with its input."""
    return [(w, value) for w, value in zip(weights, x, strict=True) if w is not None]


def sections(x, rows, columns):
    """What each row of a grouped matrix meets: of inputs in equal runs the first meets the first rows, and so on."""
    count = len(x) // columns
    return [x[row // (rows // count) * columns :][:columns] for row in range(rows)]


class Steps:
    """A vector of whole numbers with steps of another width.

    ``steps``: for each number the group that it is in, and the step of that.
    """

    def __init__(self, numbers, bits, steps, step_bits):
        self.numbers, self.bits, self.steps, self.step_bits = numbers, bits, steps, step_bits

    def __getitem__(self, place):
        return Steps(self.numbers[place], self.bits, self.steps[place], self.step_bits)

    def runs(self, ledger):
        """Numbers of a group, and its step."""
        for (_, step), run in itertools.groupby(zip(self.numbers, self.steps, strict=True), lambda pair: pair[1]):
            yield [ledger.number(n, self.bits) for n, _ in run], ledger.number(step, self.step_bits)


def alone(ledger, vector, bits):
    """The numbers of a vector, each made of its step first if it has one."""
    if not isinstance(vector, Steps):
        return [ledger.number(value, bits) for value in vector]
    made = []
    for numbers, step in vector.runs(ledger):
        for number in numbers:
            made.append(Counted((step * Counted(number.value, ACTIVATION, ledger)).value, vector.bits, ledger))
    return made


def product(ledger, weights, bits, x, bias=None, bias_bits=None):
    """Matrix-vector product: each row a dot product, then its bias."""
    out, biases = [], None if bias is None else alone(ledger, bias, bias_bits)
    own = sections(x, len(weights), len(weights[0]))
    for row, (weight_row, x) in enumerate(zip(weights, own, strict=True)):
        # A weight is the first input of its multiply, the activation the second.
        terms = [ledger.number(w, bits) * value for w, value in kept(weight_row, x)]
        value = total(Counted(term.value, ACTIVATION, ledger) for term in terms) if terms else ledger.number(0, 32)
        if biases is not None:
            value = value + biases[row]
        out.append(Counted(value.value, ACTIVATION, ledger))
    return out


def quantised(ledger, x):
    """8-bit integers for a vector of float32 numbers, and the step they are multiples of."""
    largest_one = largest([value.magnitude() for value in x])
    largest_one.larger(ledger.number(2.0**-100, ACTIVATION))
    step = (largest_one * ledger.number(np.float32(1 / 127), ACTIVATION)).kept(np.float32)
    if largest_one.value < 2.0**-100:
        step, largest_one = ledger.number(0, ACTIVATION), ledger.number(math.inf, ACTIVATION)
    reciprocal = (ledger.number(127, ACTIVATION) / largest_one).kept(np.float32)
    return [(value * reciprocal).rounded(8) for value in x], step


def limited(ledger, value, bits, overflow):
    """What an accumulator of some bits holds for a sum; a sum that is changed is counted."""
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if lowest <= value <= highest:
        return value
    ledger.overflows += 1
    return (value - lowest) % 2**bits + lowest if overflow == "wrap" else min(max(value, lowest), highest)


def accumulated(ledger, terms, accumulator):
    """Sum of products in an accumulator: n terms, n - 1 adds."""
    bits, overflow = accumulator
    held = None
    for term in terms:
        term = Counted(term.value, bits, ledger)
        held = term if held is None else held + term
        if overflow:
            held = Counted(limited(ledger, held.value, bits, overflow), bits, ledger)
    return ledger.number(0, bits) if held is None else held


class Integers:
    """A matrix of whole numbers with a scale, and perhaps an offset, for each group of columns of a row."""

    def __init__(self, numbers, bits, scales, offsets=None, scale_bits=16, shared=False):
        self.numbers, self.bits, self.scales, self.offsets = numbers, bits, scales, offsets
        self.scale_bits, self.shared = scale_bits, shared  # shared: one scale for all rows
        self.group = len(numbers[0]) // len(scales[0])

    def product(self, ledger, x, input_bits, accumulator=(ACTIVATION, None)):
        """Each row's dot product with float32 numbers, or with what ``input_bits`` makes of them.

        ``accumulator`` is its width, and "wrap" or "saturate" where that may be too narrow.
        """
        step = None
        if input_bits == 8:
            x, step = quantised(ledger, x)
        elif input_bits == 16:
            x = [value.rounded_to_half() for value in x]
        parts = [x[first : first + self.group] for first in range(0, len(x), self.group)]
        in_row = len(self.scales[0])
        sums = [total(Counted(v.value, ACTIVATION, ledger) for v in part) for part in parts] if self.offsets else None
        if sums and step is not None:
            sums = [value.converted(ACTIVATION) for value in sums]
        out = []
        section = len(self.numbers) * in_row // len(parts)  # rows that meet the same inputs
        for row, numbers in enumerate(self.numbers):
            value, first = None, row // section * in_row
            for g, part in enumerate(parts[first : first + in_row]):
                own = numbers[g * self.group : (g + 1) * self.group]
                terms = [ledger.number(n, self.bits) * v for n, v in kept(own, part)]
                dot = accumulated(ledger, terms, accumulator)
                if step is not None:
                    dot = dot.converted(ACTIVATION)
                scaled = ledger.number(self.scales[row][g], self.scale_bits) * Counted(dot.value, ACTIVATION, ledger)
                value = scaled if value is None else value + scaled
                if self.offsets:
                    value = value + ledger.number(self.offsets[row][g], 16) * sums[first + g]
            out.append(value if step is None else value * step)
        return out

    def row(self, ledger, row):
        """One row as float32 numbers."""
        numbers = []
        for j, number in enumerate(self.numbers[row]):
            whole = ledger.number(number or 0, self.bits)
            whole = whole if self.bits == ACTIVATION else whole.converted(ACTIVATION)
            value = ledger.number(self.scales[row][j // self.group], self.scale_bits) * whole
            if self.offsets:
                value = value + ledger.number(self.offsets[row][j // self.group], 16)
            numbers.append(value)
        return numbers


def lookup(ledger, row, bits):
    """A row of the embedding: a move; what is stored narrow is converted."""
    numbers = [ledger.number(value or 0, bits) for value in row]  # what was pruned is zero
    return numbers if bits == ACTIVATION else [number.converted(ACTIVATION) for number in numbers]


def log_normaliser(parts):
    """Maximum of logits, and logarithm of the sum of their exponentials relative to it.

    Exponentials are summed by segments, into which each part is cut, the segments in float64.
    """
    highest, sums = [], []
    for part in parts:
        for first in range(0, len(part), SEGMENT):
            segment = part[first : first + SEGMENT]
            top = largest(segment)
            highest.append(top)
            sums.append(total((logit - top).exp() for logit in segment))
    top = largest(highest)
    return top, total([(s * (m - top).exp()).converted(SUM) for s, m in zip(sums, highest, strict=True)]).log()


def log_softmax(logit, normaliser):
    """Log-probability of the entry with a logit."""
    top, log_total = normaliser
    return (logit.converted(SUM) - top.converted(SUM)) - log_total
