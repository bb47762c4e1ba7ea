"""Configuration of a recurrent language model, checked, and the arrays it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..checkpoint import Expected
from ..errors import CheckpointError
from ..tokenizers import tokenizer_arrays
from .fields import COMMON, Fields
from .vocabulary import Vocabulary, parse_vocabulary

LSTM, GRU, QRNN = "lstm", "gru", "qrnn"

# More than any real model has.
_MAX_LAYERS = 64
_MAX_WINDOW = 64


@dataclass(frozen=True)
class RecurrentConfig:
    """Dimensions and options of an LSTM, GRU or QRNN language model.

    ``ends``: embedding and softmax. ``hidden``: units of each layer, from the first. ``projection``: width of the
    output projection, None without one; it feeds the softmax, not the recurrence. The two ``*_bias`` say which biases
    exist. Of a QRNN, ``windows``: inputs that each layer sees, the newest included; ``output_gate``: whether its layers
    have one.
    """

    kind: str
    ends: Vocabulary
    hidden: tuple[int, ...]
    projection: int | None
    layer_bias: bool
    projection_bias: bool
    tokenizer: Mapping[str, Any]
    windows: tuple[int, ...] = ()
    output_gate: bool = False

    @property
    def vocabulary(self) -> int:
        """Number of tokens V."""
        return self.ends.size

    @property
    def layers(self) -> int:
        """Number of layers L."""
        return len(self.hidden)

    @property
    def gates(self) -> int:
        """Gates of a unit: rows that its layer's matrices have for it."""
        return 4 if self.kind == LSTM else 3 if self.kind == GRU or self.output_gate else 2

    def layer_inputs(self, layer: int) -> int:
        """Width of the input of a layer, its own hidden state not included."""
        return self.ends.embedding if layer == 0 else self.hidden[layer - 1]

    def layer_matrices(self, layer: int) -> dict[str, int]:
        """Columns of each matrix of a layer; the rows are the gates of its units."""
        inputs, units = self.layer_inputs(layer), self.hidden[layer]
        if self.kind == LSTM:
            return {f"lstm.{layer}": inputs + units}
        if self.kind == GRU:
            return {f"gru.{layer}.input": inputs, f"gru.{layer}.hidden": units}
        return {f"qrnn.{layer}": self.windows[layer] * inputs}


def parse_recurrent_config(kind: str, config: Mapping[str, Any], path: str) -> RecurrentConfig:
    """Check the ``dimensions``, ``tied`` and ``bias`` entries of a checkpoint's configuration."""
    top = Fields(config, "", path)
    top.check_keys((*COMMON, "output_gate") if kind == QRNN else COMMON)
    dimensions, bias = top.section("dimensions"), top.section("bias")
    hidden = dimensions.sizes("hidden", _MAX_LAYERS)
    projection = None if dimensions.get("projection") is None else dimensions.size("projection")
    widths = dimensions.size("embedding"), projection or hidden[-1]
    result = RecurrentConfig(
        kind=kind,
        ends=parse_vocabulary(config, widths, path),
        hidden=hidden,
        projection=projection,
        layer_bias=bias.flag(kind),
        projection_bias=bias.flag("projection"),
        tokenizer=config["tokenizer"],
        windows=_windows(dimensions, len(hidden)) if kind == QRNN else (),
        output_gate=top.flag("output_gate") if kind == QRNN else False,
    )
    if result.projection is None and result.projection_bias:
        raise CheckpointError(f"{path}: bias.projection is true without a projection; expected false")
    return result


def _windows(dimensions: Fields, layers: int) -> tuple[int, ...]:
    windows = dimensions.sizes("window", _MAX_LAYERS)
    if len(windows) != layers or max(windows) > _MAX_WINDOW:
        raise CheckpointError(
            f"{dimensions.path}: dimensions.window is {list(windows)}; expected a number from 1 to {_MAX_WINDOW} for "
            f"each of {layers} layers"
        )
    return windows


def recurrent_arrays(config: RecurrentConfig, path: str) -> dict[str, Expected]:
    """Every array of the model by name, in the order in which they are listed and stored."""
    arrays = config.ends.embedding_arrays()
    for layer, units in enumerate(config.hidden):
        for name, columns in config.layer_matrices(layer).items():
            arrays[f"{name}.weight"] = Expected((config.gates * units, columns))
            if config.layer_bias:
                arrays[f"{name}.bias"] = Expected((config.gates * units,))
    if config.projection is not None:
        arrays["projection.weight"] = Expected((config.projection, config.hidden[-1]))
        if config.projection_bias:
            arrays["projection.bias"] = Expected((config.projection,))
    return arrays | config.ends.softmax_arrays() | tokenizer_arrays(config.tokenizer, path)
