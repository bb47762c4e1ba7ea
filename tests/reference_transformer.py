"""Scalar reference of decoder-only transformers, on numbers that count every operation: see ``reference.py``.

Nothing here is imported from the code under test.
"""

from __future__ import annotations

import math

import numpy as np
from reference import ACTIVATION, Counted, Ledger, Steps, alone, largest, total
from reference_positions import biased, pattern_sees, sinusoids
from reference_vocabulary import Ends


def root(value):
    """Square root: a transcendental function."""
    return value._unary(math.sqrt(value.value))


def normalised(ledger, x, config, weight, bias, bits):
    """A vector with root mean square 1, or mean 0 and variance 1, times its weights, plus its biases."""
    share = ledger.number(1 / len(x), ACTIVATION)
    if config["kind"] == "layer":
        mean = total(x) * share
        x = [value - mean for value in x]
    square = total(value * value for value in x) * share + ledger.number(config["epsilon"], ACTIVATION)
    scale = ledger.number(1, ACTIVATION) / root(square)
    out = [(value * scale) * w for value, w in zip(x, alone(ledger, weight, bits[0]), strict=True)]
    if bias is not None:
        out = biased(ledger, out, bias, bits[1])
    return [Counted(value.value, ACTIVATION, ledger) for value in out]


def activated(ledger, function, x):
    """An activation function of one number."""

    def number(value):
        return ledger.number(value, ACTIVATION)

    if function == "relu":
        return x.larger(number(0))
    if function == "silu":
        return x * x.sigmoid()
    if function == "gelu":
        error = (x * number(math.sqrt(0.5)))._unary(math.erf(x.value * math.sqrt(0.5)))
        return (number(0.5) * x) * (number(1) + error)
    if function == "gelu_tanh":
        c = math.sqrt(2 / math.pi)
        inner = x * ((x * x) * number(0.044715 * c) + number(c))
        return (number(0.5) * x) * (number(1) + inner.tanh())
    return x


def routed(logits, used, normalised):
    """Numbers of the largest logits, the lower one first of equals, and their shares of all or of each other."""
    left, chosen = list(range(len(logits))), []
    for _ in range(used):
        best = left[0]
        for e in left[1:]:
            if logits[e].larger(logits[best]).value > logits[best].value:
                best = e
        left.remove(best)
        chosen.append(best)
    shared = chosen if normalised else range(len(logits))
    exponentials = {e: (logits[e] - logits[chosen[0]]).exp() for e in shared}
    z = total(exponentials.values())
    return chosen, [exponentials[e] / z for e in chosen]


class Transformer:
    """A decoder-only transformer.

    ``arrays`` as in a checkpoint, as lists or ``Integers``; ``bits`` the declared widths; ``inputs`` the width of the
    inputs of each matrix of integers, and what its accumulator is; ``window``: past positions that a query sees.
    ``routed`` counts, for each layer, the tokens that passed each expert.
    """

    def __init__(self, config, arrays, bits, inputs, window):
        self.config, self.arrays, self.bits, self.inputs, self.window = config, arrays, bits, inputs, window
        self.ledger = Ledger()
        self.ends = Ends(config, arrays, bits, inputs, self.ledger)
        experts = config["feed_forward"].get("experts", {"count": 0})
        self.routed = [[0] * experts["count"] for _ in range(config["dimensions"]["layers"])]
        self.begin()
        self.forget()

    def forget(self):
        """Back to an empty context."""
        self.kept = [[] for _ in range(self.config["dimensions"]["layers"])]  # of (key, value), each of all heads
        self.position = 0

    def _number(self, value):
        return self.ledger.number(value, ACTIVATION)

    def _product(self, name, x):
        return self.ends.multiplied(f"{name}.weight", f"{name}.bias", x)

    def _norm(self, name, x):
        names = f"{name}.weight", f"{name}.bias"
        with self.ledger.in_region(name):
            arrays = [self.arrays.get(n) for n in names]
            return normalised(self.ledger, x, self.config["norm"], *arrays, [self.bits.get(n) for n in names])

    def _embedded(self, token):
        x, scale = self.ends.embedded(token), self.config["embedding"]["scale"]
        if scale != 1:
            with self.ledger.in_region("embedding"):
                x = [value * self._number(scale) for value in x]
        if self.config["positions"]["kind"] == "learned":
            with self.ledger.in_region("positions"):
                row = self.ends.row("positions", self.position)
                x = [a + b for a, b in zip(x, row, strict=True)]
        if self.config["positions"]["kind"] == "sinusoidal":
            with self.ledger.in_region("positions"):
                positions = self.config["positions"]
                wave = sinusoids(self.ledger, positions["first"] + self.position, len(x), positions)
                x = [a + b for a, b in zip(x, wave, strict=True)]
        return x

    def begin(self):
        """What is done once when a run begins: vectors of all distances that can be seen."""
        self.distances = []
        if self.config["positions"]["kind"] != "transformer_xl":
            return
        sizes = self.config["dimensions"]
        with self.ledger.in_region("distances"):
            waves = [sinusoids(self.ledger, d, sizes["width"], {}) for d in range(self.window + 1)]
        for layer in range(sizes["layers"]):
            name = f"layers.{layer}.attention.distance"
            with self.ledger.in_region(name):
                self.distances.append([self._product(name, wave) for wave in waves])

    def _angles(self):
        """Sine and cosine of each pair at the position."""
        positions = self.config["positions"]
        if positions["kind"] != "rotary":
            return None
        with self.ledger.in_region("positions"):
            found = []
            for i in range(positions["rotated"] // 2):
                frequency = np.float32(positions["base"] ** (-2 * i / positions["rotated"]))
                angle = self._number(self.position) * self.ledger.number(frequency, 64)
                found.append([angle._unary(f(angle.value)).converted(32) for f in (math.sin, math.cos)])
            return found

    def _turned(self, vector, angles):
        if angles is None:
            return vector
        out, half = list(vector), len(angles)
        for i, (sine, cosine) in enumerate(angles):
            first, second = (i, i + half) if self.config["positions"]["pairs"] == "halves" else (2 * i, 2 * i + 1)
            a, b = vector[first], vector[second]
            out[first], out[second] = a * cosine - b * sine, a * sine + b * cosine
        return out

    def _seen(self, layer):
        """Positions that a query sees, oldest first."""
        pattern = self.config["attention"].get("pattern")
        pattern = pattern[layer] if isinstance(pattern, list) else pattern
        return [j for j in range(self.position + 1) if pattern_sees(pattern, self.position, j, self.window)]

    def _distance(self, layer, head, distance):
        """Vector of a distance of one head, or None."""
        width, name = self.config["dimensions"]["head_width"], f"layers.{layer}.attention.relative"
        place = slice(head * width, (head + 1) * width)
        if self.distances:
            return self.distances[layer][distance][place]
        if name not in self.arrays:
            return None
        row = self.arrays[name][distance]
        if not self.config["positions"].get("per_head"):
            place = slice(width)
        if isinstance(row, Steps):
            return row[place]
        return [self.ledger.number(r, self.bits[name]) for r in row[place]]

    def _stepped(self, vector, far):
        """Products of a query and a vector of distances, of numbers that share a step their sum times that."""
        found, first = [], 0
        for numbers, step in vector.runs(self.ledger):
            own = zip(numbers, far[first:], strict=False)
            dot = total(Counted((r * q).value, ACTIVATION, self.ledger) for r, q in own)
            found.append(Counted((step * dot).value, ACTIVATION, self.ledger))
            first += len(numbers)
        return found

    def _attended(self, query, far, layer, head):
        """Attention of one head over what is kept and seen."""
        sizes = self.config["dimensions"]
        width, shared = sizes["head_width"], head // (sizes["heads"] // sizes["key_value_heads"])
        place, seen, scores = slice(shared * width, (shared + 1) * width), self._seen(layer), []
        for j in seen:
            terms = [q * k for q, k in zip(query, self.kept[layer][j][0][place], strict=True)]
            vector = self._distance(layer, head, self.position - j)
            if isinstance(vector, Steps):
                terms += self._stepped(vector, far)
            elif vector:
                terms += [Counted((r * q).value, ACTIVATION, self.ledger) for q, r in zip(far, vector, strict=True)]
            scores.append(total(terms))
        top = largest(scores)
        weights = [(score - top).exp() for score in scores]
        z = total(weights)
        values = [self.kept[layer][j][1][place] for j in seen]
        return [total(w * v[d] for w, v in zip(weights, values, strict=True)) / z for d in range(width)]

    def _queries(self, layer, head, query, angles):
        """One head's query as it meets keys, and as it meets distances."""
        width, scale = self.config["dimensions"]["head_width"], self.config["attention"].get("scale")
        place = slice(head * width, (head + 1) * width)
        both = [self._turned(query[place], angles)]
        positions = self.config["positions"]
        if positions["kind"] == "transformer_xl":
            where = "attention" if positions["shared_biases"] else f"layers.{layer}.attention"
            names = f"{where}.key_bias", f"{where}.distance_bias"
            both = [biased(self.ledger, both[0], self.arrays[name][place], self.bits[name]) for name in names]
        scale = width**-0.5 if scale is None else scale
        if np.float32(scale) != 1:
            both = [[v * self._number(scale) for v in query] for query in both]
        return both[0], both[-1]

    def _attention(self, layer, query, key, value, angles, is_needed):
        sizes = self.config["dimensions"]
        shared, width = sizes["key_value_heads"], sizes["head_width"]
        with self.ledger.in_region(f"layers.{layer}.attention"):
            turned = [self._turned(key[h * width : (h + 1) * width], angles) for h in range(shared)]
            self.kept[layer].append(([k for head in turned for k in head], value))
            if not is_needed:
                return None
            out = []
            for head in range(sizes["heads"]):
                out += self._attended(*self._queries(layer, head, query, angles), layer, head)
            return out

    def _feed_forward(self, name, region, x):
        feed = self.config["feed_forward"]
        if feed["gated"]:
            with self.ledger.in_region(f"{region}.gate"):
                gate = self._product(f"{name}.gate", x)
            with self.ledger.in_region(f"{region}.input"):
                hidden = self._product(f"{name}.input", x)
                hidden = [activated(self.ledger, feed["activation"], g) * h for g, h in zip(gate, hidden, strict=True)]
        else:
            with self.ledger.in_region(f"{region}.input"):
                hidden = [activated(self.ledger, feed["activation"], h) for h in self._product(f"{name}.input", x)]
        with self.ledger.in_region(f"{region}.output"):
            return self._product(f"{name}.output", hidden)

    def _mixture(self, layer, x):
        """What the experts that a router chooses make of a vector, mixed."""
        feed, experts = f"layers.{layer}.feed_forward", self.config["feed_forward"]["experts"]
        with self.ledger.in_region(f"{feed}.router"):
            logits = self._product(f"{feed}.router", x)
        with self.ledger.in_region(f"{feed}.mixture"):
            chosen, weights = routed(logits, experts["used"], experts["normalised"])
        out = []
        for e in chosen:
            self.routed[layer][e] += 1
            out.append(self._feed_forward(f"{feed}.experts.{e}", f"{feed}.experts", x))
        with self.ledger.in_region(f"{feed}.mixture"):
            return [total(v * w for v, w in zip(column, weights, strict=True)) for column in zip(*out, strict=True)]

    def _add(self, region, x, y):
        with self.ledger.in_region(region):
            return [a + b for a, b in zip(x, y, strict=True)]

    def _layer(self, layer, x, angles, is_needed):
        attention, feed = f"layers.{layer}.attention", f"layers.{layer}.feed_forward"
        before = self.config["norm"]["place"] == "before"
        source = self._norm(f"{attention}.norm", x) if before else x
        parts = []
        for part in ("query", "key", "value"):
            if part == "query" and not is_needed:
                parts.append(None)
                continue
            with self.ledger.in_region(f"{attention}.{part}"):
                parts.append(self._product(f"{attention}.{part}", source))
        attended = self._attention(layer, *parts, angles, is_needed)
        if not is_needed:
            return None
        with self.ledger.in_region(f"{attention}.output"):
            out = self._product(f"{attention}.output", attended)
        x = self._add(f"{attention}.output", x, out)
        if not before:
            x = self._norm(f"{attention}.norm", x)
        source = self._norm(f"{feed}.norm", x) if before else x
        if "experts" in self.config["feed_forward"]:
            x = self._add(f"{feed}.mixture", x, self._mixture(layer, source))
        else:
            x = self._add(f"{feed}.output", x, self._feed_forward(feed, feed, source))
        return x if before else self._norm(f"{feed}.norm", x)

    def advance(self, token, is_last=True):
        """Let a token enter; of the last layer only what the tokens that follow need, if it is not the last one."""
        x, angles = self._embedded(token), self._angles()
        layers = self.config["dimensions"]["layers"]
        for layer in range(layers):
            x = self._layer(layer, x, angles, is_last or layer < layers - 1)
        self.position += 1
        if is_last:
            self.output = self._norm("norm", x) if self.config["norm"]["final"] else x
            self.ends.follow(token, self.output)

    def log_prob(self, token):
        """Log-probability of a token as the next one."""
        return self.ends.log_prob(self.output, token)
