"""Scalar reference of recurrent models, on numbers that count every operation: see ``reference.py``.

Nothing here is imported from the code under test.
"""

from __future__ import annotations

from reference import ACTIVATION, Ledger
from reference_vocabulary import Ends


def lstm_cell(gates, cells):
    """Gates i, f, g, o of H units and their cell states to new hidden and cell states."""
    units = len(cells)
    hidden, new_cells = [], []
    for u, cell in enumerate(cells):
        i, f, g, o = (gates[gate * units + u] for gate in range(4))
        new = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        new_cells.append(new)
        hidden.append(o.sigmoid() * new.tanh())
    return hidden, new_cells


def gru_cell(of_input, of_hidden, hidden):
    """Gates r, z, n of H units, from the input and from the hidden state, to the new hidden state."""
    units, new_hidden = len(hidden), []
    for u, old in enumerate(hidden):
        i_r, i_z, i_n = (of_input[gate * units + u] for gate in range(3))
        h_r, h_z, h_n = (of_hidden[gate * units + u] for gate in range(3))
        r, z = (i_r + h_r).sigmoid(), (i_z + h_z).sigmoid()
        n = (i_n + r * h_n).tanh()
        new_hidden.append(n + z * (old - n))
    return new_hidden


def qrnn_cell(gates, cells):
    """Gates z, f and perhaps o of H units and their cell states to new hidden and cell states."""
    units = len(cells)
    hidden, new_cells = [], []
    for u, cell in enumerate(cells):
        z, f = gates[u].tanh(), gates[units + u].sigmoid()
        new = z + f * (cell - z)
        new_cells.append(new)
        hidden.append(gates[2 * units + u].sigmoid() * new if len(gates) == 3 * units else new)
    return hidden, new_cells


class Recurrent:
    """An LSTM, GRU or QRNN language model.

    ``arrays`` as in a checkpoint, float values or ``Integers``; ``bits`` the declared width of the float ones;
    ``inputs`` the width of the inputs of each matrix of integers, and what its accumulator is.
    """

    def __init__(self, config, arrays, bits, inputs):
        self.arrays, self.ledger = arrays, Ledger()
        self.ends = Ends(config, arrays, bits, inputs, self.ledger)
        self.kind, dimensions = config["architecture"], config["dimensions"]
        hidden = dimensions["hidden"]
        self.hidden, self.cells = self._zeros(hidden), self._zeros(hidden)
        widths = [dimensions["embedding"], *hidden]
        self.older = [
            self._zeros([width] * (n - 1)) for n, width in zip(dimensions.get("window", ()), widths, strict=False)
        ]

    def _zeros(self, widths):
        return [[self.ledger.number(0, ACTIVATION)] * n for n in widths]

    def _layer(self, layer, x):
        """New hidden state of a layer from its input."""
        region, hidden = f"{self.kind}.{layer}", self.hidden[layer]

        def gates(name, inputs):
            with self.ledger.in_region(name):
                return self.ends.multiplied(f"{name}.weight", f"{name}.bias", inputs)

        if self.kind == "gru":
            of_input, of_hidden = gates(f"{region}.input", x), gates(f"{region}.hidden", hidden)
            with self.ledger.in_region(f"{region}.cell"):
                self.hidden[layer] = gru_cell(of_input, of_hidden, hidden)
            return self.hidden[layer]
        if self.kind == "lstm":
            inputs, cell = x + hidden, lstm_cell
        else:
            seen, cell = [*self.older[layer], x], qrnn_cell
            inputs, self.older[layer] = [value for part in seen for value in part], seen[1:]
        made = gates(region, inputs)
        with self.ledger.in_region(f"{region}.cell"):
            self.hidden[layer], self.cells[layer] = cell(made, self.cells[layer])
        return self.hidden[layer]

    def advance(self, token):
        """Let a token enter."""
        x = self.ends.embedded(token)
        for layer in range(len(self.hidden)):
            x = self._layer(layer, x)
        self.ends.follow(token, x)
        self.output = x

    def log_prob(self, token):
        """Log-probability of a token as the next one."""
        x = self.output
        if "projection.weight" in self.arrays:
            with self.ledger.in_region("projection"):
                x = self.ends.multiplied("projection.weight", "projection.bias", x)
        return self.ends.log_prob(x, token)
