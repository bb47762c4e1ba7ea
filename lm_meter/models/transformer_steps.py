"""The steps of a transformer: regions, matrices, normalisations and buffers, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..arena import MatrixSource
from ..kernels.activation import FUNCTIONS
from ..kernels.network import (
    ACTIVATE,
    ADD_TO,
    ALWAYS,
    ATTEND,
    EMBED,
    FREEZE,
    GATE,
    KEEP,
    NEVER,
    NO_BUFFER,
    NORMALISE,
    PLAIN,
    POSITION,
    PRODUCT,
    SEVERAL,
    Step,
)
from ..regions import SOFTMAX_REGION, Region, lookup_region, weights_region
from ..weight_format import WeightFormat
from .transformer_config import TransformerConfig


@dataclass
class Plan:
    """What a network of steps is made of."""

    steps: list[Step] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    matrices: list[MatrixSource] = field(default_factory=list)  # the readout's behind the others
    norms: list[tuple[str, str | None]] = field(default_factory=list)  # names of weights and biases
    widths: list[int] = field(default_factory=list)  # of the buffers
    own: list[bool] = field(default_factory=list)  # whether each thread has a row of its own for a single token

    @property
    def readout(self) -> int:
        """Number of the readout's first matrix."""
        return len(self.matrices) - 1

    @property
    def readout_region(self) -> int:
        """Number of its region."""
        return len(self.regions) - 2


class _Planner:
    def __init__(self, config: TransformerConfig, formats: Mapping[str, WeightFormat]) -> None:
        self.config, self.formats, self.plan = config, formats, Plan()
        inside, shared = config.heads * config.head_width, config.key_value_heads * config.head_width
        self.x = self._buffer(config.width)
        self.normed = self._buffer(config.width, own=True)
        self.out = self._buffer(config.width)
        self.queries, self.keys, self.values = (self._buffer(n) for n in (inside, shared, shared))
        self.attended = self._buffer(inside)
        self.gate, self.hidden = self._buffer(config.feed_forward), self._buffer(config.feed_forward)

    def _buffer(self, width: int, own: bool = False) -> int:
        self.plan.widths.append(width)
        self.plan.own.append(own)
        return len(self.plan.widths) - 1

    def _region(self, region: Region) -> int:
        self.plan.regions.append(region)
        return len(self.plan.regions) - 1

    def _step(self, kind: int, region: int, source: int, target: int, **fields: int) -> None:
        defaults = {
            "matrix": -1, "action": PLAIN, "other": NO_BUFFER, "function": 0, "layer": 0, "last": 0, "meets": ALWAYS,
        }  # fmt: skip
        self.plan.steps.append(Step(kind, region, source, target, **{**defaults, **fields}))

    def _names(self, name: str, bias: bool) -> tuple[str, str | None]:
        return f"{name}.weight", f"{name}.bias" if bias else None

    def product(self, name: str, bias: bool, source: int, target: int, **fields: int) -> None:
        """A matrix-vector product, a region of its own."""
        weight, bias_name = self._names(name, bias)
        self.plan.matrices.append(MatrixSource(weight, bias_name))
        region = self._region(weights_region(name, [self.formats[n] for n in (weight, bias_name) if n]))
        self._step(PRODUCT, region, source, target, matrix=len(self.plan.matrices) - 1, **fields)

    def _norm(self, name: str) -> tuple[int, int]:
        """Number and region of a normalisation."""
        names = self._names(name, self.config.norm_bias)
        self.plan.norms.append(names)
        region = weights_region(name, [self.formats[n] for n in names if n], role="normalisation")
        return len(self.plan.norms) - 1, self._region(region)

    def norm(self, name: str, source: int, target: int, last: int) -> None:
        """A normalisation, a region of its own."""
        number, region = self._norm(name)
        meets = SEVERAL if self.plan.own[target] else ALWAYS
        self._step(NORMALISE, region, source, target, matrix=number, last=last, meets=meets)

    def beginning(self) -> None:
        """From tokens to vectors."""
        config = self.config
        region = self._region(lookup_region("embedding", config.width, self.formats["embedding"]))
        if config.positions.kind == "learned":
            self._region(lookup_region("positions", config.width, self.formats["positions"]))
        self._step(EMBED, region, NO_BUFFER, self.x, other=self.out)
        if config.positions.kind == "rotary":
            region = self._region(Region("positions", "elementwise"))
            self._step(POSITION, region, NO_BUFFER, NO_BUFFER, meets=NEVER)

    def layer(self, layer: int) -> None:
        """Attention and feed-forward; of the last layer only what the last token needs."""
        config = self.config
        attention, feed, last = f"layers.{layer}.attention", f"layers.{layer}.feed_forward", layer == config.layers - 1
        before, bias = config.norm_place == "before", config.attention_bias
        source = self.normed if before else self.x
        if before:
            self.norm(f"{attention}.norm", self.x, self.normed, 0)
        self.product(f"{attention}.query", bias, source, self.queries, last=last, meets=NEVER)
        self.product(f"{attention}.key", bias, source, self.keys, meets=NEVER)
        self.product(f"{attention}.value", bias, source, self.values)
        kept = "keys and values to the cache: a move"
        region = self._region(Region(attention, "elementwise", moves=(kept,)))
        self._step(KEEP, region, self.queries, NO_BUFFER, other=self.keys, layer=layer, last=last)
        self._step(ATTEND, region, self.queries, self.attended, layer=layer, last=last)
        self.product(
            f"{attention}.output", config.output_bias, self.attended, self.out, action=ADD_TO, other=self.x, last=last
        )
        if before:
            self.norm(f"{feed}.norm", self.x, self.normed, last)
        else:
            self.norm(f"{attention}.norm", self.x, self.x, last)
        bias, function = config.feed_forward_bias, FUNCTIONS.index(config.activation)
        if config.gated:
            self.product(f"{feed}.gate", bias, source, self.gate, last=last, meets=NEVER)
            self.product(
                f"{feed}.input", bias, source, self.hidden, action=GATE, other=self.gate, function=function, last=last
            )
        else:
            self.product(f"{feed}.input", bias, source, self.hidden, action=ACTIVATE, function=function, last=last)
        self.product(f"{feed}.output", bias, self.hidden, self.out, action=ADD_TO, other=self.x, last=last)
        if not before:
            self.norm(f"{feed}.norm", self.x, self.x, last)

    def end(self) -> None:
        """From the last vector to the readout."""
        number, region = self._norm("norm") if self.config.norm_final else (-1, 0)
        self._step(FREEZE, region, self.x, NO_BUFFER, matrix=number)
        weight = "embedding" if self.config.tied else "softmax.weight"
        bias = "softmax.bias" if self.config.softmax_bias else None
        self.plan.matrices.append(MatrixSource(weight, bias))
        self._region(weights_region("logits", [self.formats[n] for n in (weight, bias) if n]))
        self._region(SOFTMAX_REGION)


def plan_transformer(config: TransformerConfig, formats: Mapping[str, WeightFormat]) -> Plan:
    """The steps of a transformer whose arrays have these formats."""
    planner = _Planner(config, formats)
    planner.beginning()
    for layer in range(config.layers):
        planner.layer(layer)
    planner.end()
    return planner.plan
