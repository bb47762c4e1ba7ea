"""The steps of recurrent models: for each layer products, the cell, and copies of what it made to its readers.

What a layer reads lies in one buffer: of an LSTM its input and behind it its own hidden state, of a QRNN the last
inputs of its window, the oldest first. A part that comes from the step before is copied there when all threads have
read the old one: behind the meeting that follows the cell.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..arena import MatrixSource
from ..kernels import network
from ..kernels.network import ALWAYS, CELL, COPY, FREEZE, NEVER, NO_BUFFER
from ..regions import Region
from ..weight_format import WeightFormat
from .plan import Plan, Planner
from .recurrent_config import GRU, LSTM, QRNN, RecurrentConfig
from .runtime import padded
from .vocabulary_steps import plan_embedding, plan_readout

_CELLS = {LSTM: network.LSTM, GRU: network.GRU, QRNN: network.QRNN}


class _Planner(Planner):
    def __init__(self, config: RecurrentConfig, formats: Mapping[str, WeightFormat]) -> None:
        super().__init__(formats)
        self.config = config
        self.inputs = [self.buffer(self._input_width(layer)) for layer in range(config.layers)]

    def _input_width(self, layer: int) -> int:
        config, width = self.config, self.config.layer_inputs(layer)
        if config.kind == LSTM:
            return width + config.hidden[layer]
        return width if config.kind == GRU else width * config.windows[layer]

    def newest(self, layer: int) -> int:
        """Where the newest input begins in a layer's buffer."""
        config = self.config
        return config.layer_inputs(layer) * (config.windows[layer] - 1) if config.kind == QRNN else 0

    def beginning(self) -> None:
        """From the token to the first layer's input."""
        plan_embedding(self, self.config.ends, self.inputs[0], self.newest(0))

    def layer(self, layer: int) -> None:
        """Products, cell and copies."""
        config, units, source = self.config, self.config.hidden[layer], self.inputs[layer]
        gate_width, gate_numbers = config.gates * padded(units), config.gates * units
        fields = {"parts": config.gates, "meets": NEVER}
        gates, state = self.buffer(gate_width, numbers=gate_numbers), NO_BUFFER
        hidden, kept = self.buffer(units), NO_BUFFER
        names = list(config.layer_matrices(layer))
        self.product(names[0], config.layer_bias, source, gates, **fields)
        if config.kind == GRU:
            kept, state = self.buffer(units), self.buffer(gate_width, numbers=gate_numbers)
            self.product(names[1], config.layer_bias, kept, state, **fields)
        else:
            state = self.buffer(units)
        moves: tuple[str, ...] = ("hidden state to its readers: a move",)
        if config.kind == QRNN and config.windows[layer] > 1:
            moves += ("inputs to their older places in the window: a move",)
        region = self.region(Region(f"{config.kind}.{layer}.cell", "elementwise", moves=moves))

        def copy(source: int, target: int, width: int = units, **fields: int) -> None:
            self.step(COPY, region, source, target, width=width, **fields)

        is_last = layer == config.layers - 1
        cell = {"function": _CELLS[config.kind], "other": state, "parts": config.gates, "width": units}
        self.step(CELL, region, gates, hidden, **cell, **({} if is_last else {"meets": NEVER}))
        if not is_last:
            copy(hidden, self.inputs[layer + 1], to_column=self.newest(layer + 1))
        if config.kind == LSTM:
            copy(hidden, source, to_column=config.layer_inputs(layer), meets=NEVER)
        elif config.kind == GRU:
            copy(hidden, kept, meets=NEVER)
        else:
            width, older = config.layer_inputs(layer), config.windows[layer] - 1
            for place in range(older):
                shift = {"from_column": (place + 1) * width, "to_column": place * width}
                # The next token's embedding comes in other shares than these: nobody may be ahead with it.
                meets = ALWAYS if layer == 0 and place == older - 1 else NEVER
                copy(source, source, width, **shift, meets=meets)
        if is_last:
            self.plan.output = hidden
            self.step(FREEZE, region, hidden, NO_BUFFER, meets=NEVER)

    def end(self) -> None:
        """From the last hidden state to the readout."""
        projection = None
        if self.config.projection is not None:
            projection = MatrixSource("projection.weight", "projection.bias" if self.config.projection_bias else None)
        plan_readout(self, self.config.ends, projection)


def plan_recurrent(config: RecurrentConfig, formats: Mapping[str, WeightFormat]) -> Plan:
    """The steps of a recurrent model whose arrays have these formats."""
    planner = _Planner(config, formats)
    planner.beginning()
    for layer in range(config.layers):
        planner.layer(layer)
    planner.end()
    return planner.plan
