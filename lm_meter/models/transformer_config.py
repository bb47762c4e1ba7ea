"""Configuration of a decoder-only transformer, checked, and the arrays it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..checkpoint import Expected
from ..errors import CheckpointError
from ..kernels.activation import FUNCTIONS
from ..tokenizers import tokenizer_arrays
from .fields import Fields
from .mixture import Mixture, parse_mixture
from .projections import parse_groups, projection_sizes
from .vocabulary import Vocabulary, parse_vocabulary

NORMS = ("root_mean_square", "layer")
PLACES = ("before", "after")
POSITIONS = ("none", "learned", "rotary", "relative")
PAIRS = ("adjacent", "halves")


@dataclass(frozen=True)
class Positions:
    """How a model knows the order of its tokens.

    ``learned``: a vector for each of ``count`` positions is added to the embedding. ``rotary``: the first ``rotated``
    numbers of each query and key are turned, in ``pairs``, by angles with a ``base``. ``relative``: a learned vector
    for each distance, up to the attention's window, is multiplied with the query. ``none``.
    """

    kind: str
    count: int = 0
    pairs: str = "adjacent"
    base: float = 10000.0
    rotated: int = 0


@dataclass(frozen=True)
class TransformerConfig:
    """Dimensions and options of a decoder-only transformer.

    ``ends``: embedding and softmax. D, L: width and layers. ``heads`` of ``head_width`` numbers share
    ``key_value_heads`` keys and values. ``feed_forward``: hidden width. ``context``: positions a prediction may depend
    on unless a policy says less. ``window``: past tokens that a query sees besides its own, None: all that are kept.
    ``attention_scale``: factor of the scores. The three ``*_bias`` say which biases exist. ``mixture``: of experts,
    None: a layer's feed-forward part is the same for all tokens. ``groups``: sections of each projection.
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


def parse_transformer_config(config: Mapping[str, Any], path: str) -> TransformerConfig:
    """Check the configuration of a transformer; CheckpointError names the entry."""
    top = Fields(config, "", path)
    sizes, norm, feed, attention = (top.section(key) for key in ("dimensions", "norm", "feed_forward", "attention"))
    embedding, bias = top.section("embedding"), top.section("bias")
    heads, head_width, width = sizes.size("heads"), sizes.size("head_width"), sizes.size("width")
    scale = attention.number("scale", 0.0, 1e6) if attention.has("scale") else head_width**-0.5
    gated, hidden = feed.flag("gated"), sizes.size("feed_forward")
    inside, shared = heads * head_width, sizes.size("key_value_heads") * head_width
    result = TransformerConfig(
        ends=parse_vocabulary(config, (width, width), path),
        width=width,
        layers=sizes.size("layers", most=512),
        heads=heads,
        key_value_heads=sizes.size("key_value_heads"),
        head_width=head_width,
        feed_forward=hidden,
        context=sizes.size("context"),
        positions=_positions(top.section("positions"), head_width),
        norm=norm.choice("kind", NORMS),
        norm_place=norm.choice("place", PLACES),
        norm_final=norm.flag("final"),
        norm_bias=norm.flag("bias"),
        epsilon=norm.number("epsilon", 0.0, 1.0),
        activation=feed.choice("activation", FUNCTIONS),
        gated=gated,
        window=attention.size("window") if attention.has("window") else None,
        attention_scale=scale,
        embedding_scale=embedding.number("scale", 0.0, 1e6),
        attention_bias=bias.flag("attention"),
        output_bias=bias.flag("attention_output"),
        feed_forward_bias=bias.flag("feed_forward"),
        tokenizer=config["tokenizer"],
        mixture=parse_mixture(feed),
        groups=parse_groups(top, projection_sizes(sizes.size("width"), inside, shared, hidden, gated)),
    )
    _check(result, path)
    return result


def _positions(fields: Fields, head_width: int) -> Positions:
    kind = fields.choice("kind", POSITIONS)
    if kind == "learned":
        return Positions(kind, count=fields.size("count"))
    if kind == "rotary":
        rotated = fields.size("rotated")
        if rotated % 2 or rotated > head_width:
            raise CheckpointError(
                f"{fields.path}: positions.rotated is {rotated}; expected an even number up to the head width "
                f"{head_width}"
            )
        return Positions(
            kind, pairs=fields.choice("pairs", PAIRS), base=fields.number("base", 1.0, 1e9), rotated=rotated
        )
    return Positions(kind)


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
            arrays[f"{attention}.relative"] = Expected((int(config.window or 0) + 1, config.head_width))
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
