"""Configuration of an LSTM language model, checked, and the arrays it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..checkpoint import Expected
from ..errors import CheckpointError
from ..tokenizers import tokenizer_arrays
from .fields import Fields

# More than any real model has.
_MAX_LAYERS = 64


@dataclass(frozen=True)
class LstmConfig:
    """Dimensions and options of an LSTM language model.

    V, E: vocabulary and embedding width. ``hidden``: units of each layer, from the first. ``projection``: width of
    the output projection, None without one; it feeds the softmax, not the recurrence. ``tied``: the softmax uses the
    embedding. The three ``*_bias`` say which biases exist.
    """

    vocabulary: int
    embedding: int
    hidden: tuple[int, ...]
    projection: int | None
    tied: bool
    lstm_bias: bool
    projection_bias: bool
    softmax_bias: bool
    tokenizer: Mapping[str, Any]

    @property
    def layers(self) -> int:
        """Number of layers L."""
        return len(self.hidden)

    @property
    def output(self) -> int:
        """Width of the vectors that the softmax reads."""
        return self.hidden[-1] if self.projection is None else self.projection

    def layer_inputs(self, layer: int) -> int:
        """Width of the input of a layer, its own hidden state not included."""
        return self.embedding if layer == 0 else self.hidden[layer - 1]


def parse_lstm_config(config: Mapping[str, Any], path: str) -> LstmConfig:
    """Check the ``dimensions``, ``tied`` and ``bias`` entries of a checkpoint's configuration."""
    top = Fields(config, "", path)
    dimensions, bias = top.section("dimensions"), top.section("bias")
    result = LstmConfig(
        vocabulary=dimensions.size("vocabulary"),
        embedding=dimensions.size("embedding"),
        hidden=dimensions.sizes("hidden", _MAX_LAYERS),
        projection=None if dimensions.get("projection") is None else dimensions.size("projection"),
        tied=top.flag("tied"),
        lstm_bias=bias.flag("lstm"),
        projection_bias=bias.flag("projection"),
        softmax_bias=bias.flag("softmax"),
        tokenizer=config["tokenizer"],
    )
    if result.tied and result.output != result.embedding:
        raise CheckpointError(
            f"{path}: the softmax is tied to the embedding of width {result.embedding}, but reads vectors of width "
            f"{result.output}; expected the same width (a projection to it, or tied: false)"
        )
    if result.projection is None and result.projection_bias:
        raise CheckpointError(f"{path}: bias.projection is true without a projection; expected false")
    return result


def lstm_arrays(config: LstmConfig, path: str) -> dict[str, Expected]:
    """Every array of the model by name, in the order in which they are listed and stored."""
    arrays = {"embedding": Expected((config.vocabulary, config.embedding))}
    for layer, units in enumerate(config.hidden):
        arrays[f"lstm.{layer}.weight"] = Expected((4 * units, config.layer_inputs(layer) + units))
        if config.lstm_bias:
            arrays[f"lstm.{layer}.bias"] = Expected((4 * units,))
    if config.projection is not None:
        arrays["projection.weight"] = Expected((config.projection, config.hidden[-1]))
        if config.projection_bias:
            arrays["projection.bias"] = Expected((config.projection,))
    if not config.tied:
        arrays["softmax.weight"] = Expected((config.vocabulary, config.output))
    if config.softmax_bias:
        arrays["softmax.bias"] = Expected((config.vocabulary,))
    return arrays | tokenizer_arrays(config.tokenizer, path)
