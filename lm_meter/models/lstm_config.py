"""Configuration of an LSTM language model, checked, and the arrays it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..checkpoint import Expected
from ..errors import CheckpointError
from ..tokenizers import tokenizer_arrays

# More than any real model has; what is larger is a damaged file, refused before anything is allocated.
_MAX_SIZE = 1 << 24
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

    def field(entries: Mapping[str, Any], key: str, where: str) -> Any:
        if key not in entries:
            raise CheckpointError(f"{path}: config.json has no {where}{key}; see checkpoints/README.md")
        return entries[key]

    def size(value: Any, name: str) -> int:
        if type(value) is not int or not 1 <= value <= _MAX_SIZE:
            raise CheckpointError(f"{path}: {name} is {value!r}; expected a whole number from 1 to {_MAX_SIZE}")
        return value

    def flag(value: Any, name: str) -> bool:
        if type(value) is not bool:
            raise CheckpointError(f"{path}: {name} is {value!r}; expected true or false")
        return value

    def section(key: str) -> Mapping[str, Any]:
        value = field(config, key, "")
        if not isinstance(value, dict):
            raise CheckpointError(f"{path}: {key} is {value!r}; expected a JSON object")
        return value

    dimensions, bias = section("dimensions"), section("bias")
    hidden = field(dimensions, "hidden", "dimensions.")
    if not isinstance(hidden, list) or not 1 <= len(hidden) <= _MAX_LAYERS:
        raise CheckpointError(f"{path}: dimensions.hidden is {hidden!r}; expected a list of 1 to {_MAX_LAYERS} sizes")
    projection = field(dimensions, "projection", "dimensions.")
    result = LstmConfig(
        vocabulary=size(field(dimensions, "vocabulary", "dimensions."), "dimensions.vocabulary"),
        embedding=size(field(dimensions, "embedding", "dimensions."), "dimensions.embedding"),
        hidden=tuple(size(units, "an entry of dimensions.hidden") for units in hidden),
        projection=None if projection is None else size(projection, "dimensions.projection"),
        tied=flag(field(config, "tied", ""), "tied"),
        lstm_bias=flag(field(bias, "lstm", "bias."), "bias.lstm"),
        projection_bias=flag(field(bias, "projection", "bias."), "bias.projection"),
        softmax_bias=flag(field(bias, "softmax", "bias."), "bias.softmax"),
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
