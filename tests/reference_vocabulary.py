"""Scalar reference of both ends of a model, plain and adaptive, on numbers that count: see ``reference.py``.

Nothing here is imported from the code under test.
"""

from __future__ import annotations

import itertools

from reference import ACTIVATION, SUM, Integers, alone, largest, log_normaliser, log_softmax, lookup, product, total


def _transposed(matrix):
    """A matrix the other way round; scales that stand inside its sums then are multiplied into the weights before."""
    if not isinstance(matrix, Integers):
        return [list(row) for row in zip(*matrix, strict=True)]
    numbers = [list(row) for row in zip(*matrix.numbers, strict=True)]
    if matrix.shared:
        return Integers(numbers, matrix.bits, matrix.scales[:1] * len(numbers), scale_bits=matrix.scale_bits)
    return [[n * matrix.scales[r][c // matrix.group] for r, n in enumerate(row)] for c, row in enumerate(numbers)]


class Ends:
    """Embedding and softmax.

    ``arrays`` as in a checkpoint, as lists or ``Integers``; ``bits`` the declared widths; ``inputs`` the width of the
    inputs of each matrix, and what its accumulator is.
    """

    def __init__(self, config, arrays, bits, inputs, ledger):
        self.arrays, self.bits, self.inputs, self.ledger = arrays, bits, inputs, ledger
        self.tied, self.adaptive = config["tied"], config.get("adaptive", {})
        self.vocabulary = config["dimensions"]["vocabulary"]
        self.cache, self.pairs, self.waits = config.get("continuous_cache"), [], None

    def multiplied(self, weight, bias, x, matrix=None):
        """A matrix by name, or as it is given, times a vector, plus its bias if it has one."""
        matrix, biases = self.arrays[weight] if matrix is None else matrix, self.arrays.get(bias)
        if not isinstance(matrix, Integers):
            if self.inputs[weight][0] == 16:
                x = [value.rounded_to_half() for value in x]
            return product(self.ledger, matrix, self.bits[weight], x, biases, self.bits.get(bias))
        values = matrix.product(self.ledger, x, *self.inputs[weight])
        if biases is None:
            return values
        return [v + b for v, b in zip(values, alone(self.ledger, biases, self.bits[bias]), strict=True)]

    def row(self, name, row):
        """A row of a table."""
        table = self.arrays[name]
        if isinstance(table, Integers):
            return table.row(self.ledger, row)
        return lookup(self.ledger, table[row], self.bits[name])

    def _bins(self, end):
        """First token and size of each bin."""
        edges = [0, *self.adaptive[end]["cutoffs"], self.vocabulary]
        return [(first, last - first) for first, last in itertools.pairwise(edges)]

    def embedded(self, token):
        """The vector of a token."""
        if not self.adaptive.get("embedding"):
            with self.ledger.in_region("embedding"):
                return self.row("embedding", token)
        number, first = next(
            (n, first) for n, (first, size) in enumerate(self._bins("embedding")) if first <= token < first + size
        )
        with self.ledger.in_region("embedding"):
            row = self.row(f"embedding.{number}", token - first)
        name = f"embedding.{number}.projection"
        if name not in self.arrays:
            return row
        with self.ledger.in_region(name):
            return self.multiplied(name, None, row)

    def _projected(self, number, x):
        tied = self.adaptive["tied_projections"]
        name = f"{'embedding' if tied else 'softmax'}.{number}.projection"
        if name not in self.arrays:
            return x
        with self.ledger.in_region(f"softmax.{number}.projection"):
            return self.multiplied(name, None, x, _transposed(self.arrays[name]) if tied else None)

    def follow(self, token, output):
        """A token enters that the last output has waited for; behind it there is a new one."""
        if self.waits is not None:
            self.pairs.append((self.waits, token))
        self.waits = output

    def log_prob(self, x, token):
        """Log-probability of a token."""
        log_prob = self._model_log_prob(x, token)
        if not self.cache or not self.pairs:
            return log_prob.value
        with self.ledger.in_region("continuous_cache"):
            return self._mixed(x, token, log_prob).value

    def _mixed(self, x, token, log_prob):
        def number(value, bits=ACTIVATION):
            return self.ledger.number(value, bits)

        seen, share = self.pairs[-self.cache["size"] :], self.cache["lambda"]
        query = [number(self.cache["theta"]) * value for value in x]
        scores = [total(q * k for q, k in zip(query, key, strict=True)) for key, _ in seen]
        top = largest(scores)
        weights = [(score - top).exp() for score in scores]
        own = []
        for weight, (_, followed) in zip(weights, seen, strict=True):
            number(followed).larger(number(token))  # is it the same: a compare
            own.append(weight if followed == token else number(0))
        cached = (total(own) / total(weights)).converted(SUM)
        return (number(1 - share, SUM) * log_prob.exp() + number(share, SUM) * cached).log()

    def _model_log_prob(self, x, token):
        if not self.adaptive.get("softmax"):
            with self.ledger.in_region("logits"):
                logits = self.multiplied("embedding" if self.tied else "softmax.weight", "softmax.bias", x)
            with self.ledger.in_region("softmax"):
                return log_softmax(logits[token], log_normaliser([logits]))
        found = None
        for number, (first, size) in enumerate(self._bins("softmax")):
            is_here = first <= token < first + size
            if number and not is_here and self.adaptive["softmax"]["charged"] == "needed":
                continue
            inputs = self._projected(number, x)
            with self.ledger.in_region(f"logits.{number}"):
                weight = f"embedding.{number}" if self.tied else f"softmax.{number}.weight"
                logits = self.multiplied(weight, f"softmax.{number}.bias", inputs)
            parts = [logits]
            if number == 0:
                with self.ledger.in_region("logits.clusters"):
                    parts.append(self.multiplied("softmax.clusters.weight", "softmax.clusters.bias", inputs))
            with self.ledger.in_region("softmax"):
                normaliser = log_normaliser(parts)
                if number == 0:
                    home = sum(token >= cutoff for cutoff in self.adaptive["softmax"]["cutoffs"])
                    found = log_softmax(parts[1][home - 1] if home else logits[token], normaliser)
                elif is_here:
                    found = found + log_softmax(logits[token - first], normaliser)
        return found
