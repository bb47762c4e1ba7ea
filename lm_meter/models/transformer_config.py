"""Configuration of a decoder-only transformer, checked, and the arrays it needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..checkpoint import Expected
from ..context import MAX_LENGTH
from ..errors import CheckpointError
from ..kernels.activation import FUNCTIONS
from ..tokenizers import tokenizer_arrays
from .attention_pattern import AttentionPattern, parse_patterns
from .fields import COMMON, Fields
from .mixture import Mixture, parse_mixture
from .positions import Positions, parse_positions
from .projections import parse_groups, projection_sizes
from .vocabulary import Vocabulary, parse_vocabulary

NORMS = ("root_mean_square", "layer")
PLACES = ("before", "after")
# Of fixed patterns each position of a period is a kind of its own, whose activations are counted over the context.
_MOST_KINDS, _MOST_POSITIONS = 4096, 1 << 28


@dataclass(frozen=True)
class TransformerConfig:
    """Dimensions and options of a decoder-only transformer.

    ``ends``: embedding and softmax. D, L: width and layers. ``heads`` of ``head_width`` numbers share
    ``key_value_heads`` keys and values. ``feed_forward``: hidden width. ``context``: positions a prediction may depend
    on unless a policy says less. ``window``: past tokens that a query sees besides its own, None: all that are kept.
    ``patterns``: which of these, for each layer. ``attention_scale``: factor of the scores. The three ``*_bias`` say
    which biases exist. ``mixture``: of experts, None: a layer's feed-forward part is the same for all tokens.
    ``groups``: sections of each projection.
    """

    ends: Vocabulary
    width: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    feed_forward: int
    context: int
    positions: Positions
    norm: str
    norm_place: str
    norm_final: bool
    norm_bias: bool
    epsilon: float
    activation: str
    gated: bool
    window: int | None
    patterns: tuple[AttentionPattern, ...]
    attention_scale: float
    embedding_scale: float
    attention_bias: bool
    output_bias: bool
    feed_forward_bias: bool
    tokenizer: Mapping[str, Any]
    mixture: Mixture | None
    groups: Mapping[str, int]

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Outputs and inputs of each projection of a layer."""
        inside, shared = self.heads * self.head_width, self.key_value_heads * self.head_width
        return projection_sizes(self.width, inside, shared, self.feed_forward, self.gated)

    @property
    def vocabulary(self) -> int:
        """Number of tokens V."""
        return self.ends.size

    @property
    def globals(self) -> int:
        """Positions at the beginning of the context that some layer sees however far away they are."""
        return max(pattern.globals for pattern in self.patterns)


def parse_transformer_config(config: Mapping[str, Any], path: str) -> TransformerConfig:
    """Check the configuration of a transformer; CheckpointError names the entry."""
    top = Fields(config, "", path)
    top.check_keys((*COMMON, "positions", "norm", "attention", "feed_forward", "embedding"))
    sizes, norm, feed, attention = (top.section(key) for key in ("dimensions", "norm", "feed_forward", "attention"))
    embedding, bias = top.section("embedding"), top.section("bias")
    # What may be left out: misspelt, it would be left out in silence.
    attention.check_keys(("scale", "window", "pattern", "groups"))
    feed.check_keys(("activation", "gated", "experts", "groups"))
    width, layers = sizes.size("width"), sizes.size("layers", most=512)
    heads, key_value_heads, head_width = (sizes.size(key) for key in ("heads", "key_value_heads", "head_width"))
    scale = attention.number("scale", 0.0, 1e6) if attention.has("scale") else head_width**-0.5
    gated, hidden = feed.flag("gated"), sizes.size("feed_forward")
    projections = projection_sizes(width, heads * head_width, key_value_heads * head_width, hidden, gated)
    result = TransformerConfig(
        ends=parse_vocabulary(config, (width, width), path),
        width=width,
        layers=layers,
        heads=heads,
        key_value_heads=key_value_heads,
        head_width=head_width,
        feed_forward=hidden,
        context=sizes.size("context", MAX_LENGTH),
        positions=parse_positions(top.section("positions"), width, head_width),
        norm=norm.choice("kind", NORMS),
        norm_place=norm.choice("place", PLACES),
        norm_final=norm.flag("final"),
        norm_bias=norm.flag("bias"),
        epsilon=norm.number("epsilon", 0.0, 1.0),
        activation=feed.choice("activation", FUNCTIONS),
        gated=gated,
        window=attention.size("window", MAX_LENGTH) if attention.has("window") else None,
        patterns=parse_patterns(attention, layers),
        attention_scale=scale,
        embedding_scale=embedding.number("scale", 0.0, 1e6),
        attention_bias=bias.flag("attention"),
        output_bias=bias.flag("attention_output"),
        feed_forward_bias=bias.flag("feed_forward"),
        tokenizer=config["tokenizer"],
        mixture=parse_mixture(feed),
        groups=parse_groups(top, projections),
    )
    _check(result, path)
    return result


def _check(config: TransformerConfig, path: str) -> None:
    if config.heads % config.key_value_heads:
        raise CheckpointError(
            f"{path}: {config.heads} heads share {config.key_value_heads} keys and values; expected a divisor of "
            f"{config.heads}"
        )
    if config.positions.kind == "learned" and config.context > config.positions.count:
        raise CheckpointError(
            f"{path}: dimensions.context is {config.context}, but there are {config.positions.count} learned "
            "positions; expected at most as many"
        )
    if config.positions.kind == "relative" and config.window is None:
        raise CheckpointError(
            f"{path}: positions.kind is relative, but attention.window is null; expected the farthest distance"
        )
    period = math.lcm(*(pattern.stride for pattern in config.patterns if pattern.kind == "fixed"))
    if period > _MOST_KINDS or period * (config.window or config.context) > _MOST_POSITIONS:
        raise CheckpointError(
            f"{path}: fixed patterns repeat together after {period!s:.20} positions of a context of "
            f"{config.context}; expected at most {_MOST_KINDS}, or a shorter context (all their positions are counted)"
        )
    if config.positions.need_window and config.globals:
        raise CheckpointError(
            f"{path}: attention.pattern is local_global, but positions.kind is {config.positions.kind}; a global "
            "position can be farther away than vectors of distances reach: choose other positions or another pattern"
        )


def relative_name(layer: int) -> str:
    """Name of the learned vectors of a layer's relative positions."""
    return f"layers.{layer}.attention.relative"


def query_biases(config: TransformerConfig, layer: int) -> tuple[str, str]:
    """Names of the biases of a layer's queries where they meet keys, and where they meet distances."""
    where = "attention" if config.positions.shared_biases else f"layers.{layer}.attention"
    return f"{where}.key_bias", f"{where}.distance_bias"


def transformer_arrays(config: TransformerConfig, path: str) -> dict[str, Expected]:
    """Every array of the model by name, in the order in which they are listed and stored."""
    width, arrays = config.width, config.ends.embedding_arrays()
    sizes = config.sizes()

    def matrix(name: str, rows: int, columns: int, bias: bool) -> None:
        arrays[f"{name}.weight"] = Expected((rows, columns))
        if bias:
            arrays[f"{name}.bias"] = Expected((rows,))

    def projection(place: str, kind: str, bias: bool) -> None:
        rows, columns = sizes[kind]
        matrix(f"{place}.{kind.split('.')[1]}", rows, columns // config.groups[kind], bias)

    def norm(name: str) -> None:
        arrays[f"{name}.weight"] = Expected((width,))
        if config.norm_bias:
            arrays[f"{name}.bias"] = Expected((width,))

    if config.positions.kind == "learned":
        arrays["positions"] = Expected((config.positions.count, width))
    for layer in range(config.layers):
        attention, feed = f"layers.{layer}.attention", f"layers.{layer}.feed_forward"
        norm(f"{attention}.norm")
        for part in ("query", "key", "value"):
            projection(attention, f"attention.{part}", config.attention_bias)
        if config.positions.kind == "relative":
            together = config.heads if config.positions.per_head else 1
            arrays[relative_name(layer)] = Expected((int(config.window or 0) + 1, together * config.head_width))
        if config.positions.kind == "transformer_xl":
            matrix(f"{attention}.distance", config.heads * config.head_width, width, False)
            arrays |= {name: Expected((config.heads * config.head_width,)) for name in query_biases(config, layer)}
        projection(attention, "attention.output", config.output_bias)
        norm(f"{feed}.norm")
        places = [feed]
        if config.mixture:
            matrix(f"{feed}.router", config.mixture.count, width, config.mixture.bias)
            places = [f"{feed}.experts.{expert}" for expert in range(config.mixture.count)]
        for place in places:
            for kind in sizes:
                if kind.startswith("feed_forward"):
                    projection(place, kind, config.feed_forward_bias)
    if config.norm_final:
        norm("norm")
    return arrays | config.ends.softmax_arrays() | tokenizer_arrays(config.tokenizer, path)
