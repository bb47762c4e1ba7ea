"""The steps of a transformer: regions, matrices, normalisations and buffers, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping

from ..kernels.activation import FUNCTIONS
from ..kernels.network import (
    ACTIVATE,
    ADD_TO,
    ALWAYS,
    ATTEND,
    FREEZE,
    GATE,
    KEEP,
    MIX,
    NEVER,
    NO_BUFFER,
    NORMALISE,
    OWN_ALONE,
    OWN_LAST,
    POSITION,
    ROUTE,
    SEVERAL,
    SINUSOID,
    SPREAD,
)
from ..regions import Region, lookup_region, weights_region
from ..weight_format import WeightFormat
from .mixture import Mixture, experts_product
from .plan import Plan, Planner
from .transformer_config import TransformerConfig
from .vocabulary_steps import plan_embedding, plan_readout


class _Planner(Planner):
    def __init__(self, config: TransformerConfig, formats: Mapping[str, WeightFormat]) -> None:
        super().__init__(formats)
        self.config = config
        inside, shared = config.heads * config.head_width, config.key_value_heads * config.head_width
        self.x = self.buffer(config.width)
        self.normed = self.buffer(config.width, own=OWN_ALONE)
        self.out = self.buffer(config.width)
        self.queries, self.keys, self.values = (self.buffer(n) for n in (inside, shared, shared))
        self.far = self.queries
        if config.positions.kind == "transformer_xl":
            self.far = self.buffer(inside)  # behind the values: see Step.other
        self.attended = self.buffer(inside)
        mixed = config.mixture is not None
        self.gate, self.hidden = (self.buffer(config.feed_forward, items=mixed) for _ in range(2))
        if config.mixture:
            self.plan.experts = config.mixture.experts
            self.logits = self.buffer(config.mixture.count)
            self.gathered = self.buffer(config.width, own=OWN_LAST, items=True)
            self.passed = self.buffer(config.width, items=True)

    def sections(self, name: str) -> int:
        """Of a projection, if ``name`` is one's."""
        return self.config.groups.get(".".join(name.split(".")[2:]), 1)

    def _norm(self, name: str) -> tuple[int, int]:
        """Number and region of a normalisation."""
        names = self.names(name, self.config.norm_bias)
        self.plan.norms.append(names)
        region = weights_region(name, [self.formats[n] for n in names if n], role="normalisation")
        return len(self.plan.norms) - 1, self.region(region)

    def norm(self, name: str, source: int, target: int, last: int) -> None:
        """A normalisation, a region of its own."""
        number, region = self._norm(name)
        meets = SEVERAL if self.plan.own[target] else ALWAYS
        self.step(NORMALISE, region, source, target, matrix=number, last=last, meets=meets)

    def once(self) -> None:
        """Vectors of distances, which do not depend on the text: made when a run begins."""
        plan, config = self.plan, self.config
        if config.positions.kind != "transformer_xl":
            return
        region = self.region(Region("distances", "elementwise"))
        self.step(SINUSOID, region, NO_BUFFER, self.out)
        for layer in range(config.layers):
            self.product(f"layers.{layer}.attention.distance", False, self.out, self.queries)
            self.step(SPREAD, len(plan.regions) - 1, self.queries, NO_BUFFER, layer=layer)
        plan.once, plan.steps, plan.once_matrices = plan.steps, [], len(plan.matrices)

    def beginning(self) -> None:
        """From tokens to vectors."""
        config = self.config
        positions = None
        if config.positions.kind == "learned":
            positions = lookup_region("positions", config.width, self.formats["positions"])
        plan_embedding(self, config.ends, self.x, positions=positions)
        if config.positions.kind == "rotary":
            region = self.region(Region("positions", "elementwise"))
            self.step(POSITION, region, NO_BUFFER, NO_BUFFER, meets=NEVER)
        if config.positions.kind == "sinusoidal":
            region = self.region(Region("positions", "elementwise"))
            self.step(SINUSOID, region, NO_BUFFER, self.x, action=ADD_TO)

    def layer(self, layer: int) -> None:
        """Attention and feed-forward; of the last layer only what the last token needs."""
        config = self.config
        attention, feed, last = f"layers.{layer}.attention", f"layers.{layer}.feed_forward", layer == config.layers - 1
        before, bias = config.norm_place == "before", config.attention_bias
        source = self.normed if before else self.x
        if before:
            self.norm(f"{attention}.norm", self.x, self.normed, 0)
        self.product(f"{attention}.query", bias, source, self.queries, last=last, meets=SEVERAL)
        self.product(f"{attention}.key", bias, source, self.keys, meets=SEVERAL)
        self.product(f"{attention}.value", bias, source, self.values)
        kept = "keys and values to the cache: a move"
        region = self.region(Region(attention, "elementwise", moves=(kept,)))
        self.step(KEEP, region, self.queries, NO_BUFFER, other=self.keys, layer=layer, last=last)
        self.step(ATTEND, region, self.queries, self.attended, other=self.far, layer=layer, last=last)
        self.product(
            f"{attention}.output", config.output_bias, self.attended, self.out, action=ADD_TO, other=self.x, last=last
        )
        if before:
            self.norm(f"{feed}.norm", self.x, self.normed, last)
        else:
            self.norm(f"{attention}.norm", self.x, self.x, last)
        if config.mixture:
            self._mixture(config.mixture, layer, source, last)
        else:
            self._feed_forward(feed, source, last)
        if not before:
            self.norm(f"{feed}.norm", self.x, self.x, last)

    def _behind_gate(self) -> int:
        """When the threads meet behind a gate, whose rows the input's product reads.

        A thread that has the same rows of both needs no other; with other sections its rows are others.
        """
        groups = self.config.groups
        return SEVERAL if groups["feed_forward.gate"] == groups["feed_forward.input"] else ALWAYS

    def _feed_forward(self, feed: str, source: int, last: int) -> None:
        config, bias, function = self.config, self.config.feed_forward_bias, FUNCTIONS.index(self.config.activation)
        if config.gated:
            self.product(f"{feed}.gate", bias, source, self.gate, last=last, meets=self._behind_gate())
            self.product(
                f"{feed}.input", bias, source, self.hidden, action=GATE, other=self.gate, function=function, last=last
            )
        else:
            self.product(f"{feed}.input", bias, source, self.hidden, action=ACTIVATE, function=function, last=last)
        self.product(f"{feed}.output", bias, self.hidden, self.out, action=ADD_TO, other=self.x, last=last)

    def _mixture(self, mixture: Mixture, layer: int, source: int, last: int) -> None:
        """The same for each expert, of the tokens that the router sends there."""
        config, feed = self.config, f"layers.{layer}.feed_forward"
        function = FUNCTIONS.index(config.activation)
        self.product(f"{feed}.router", mixture.bias, source, self.logits, last=last)
        gathered = "vectors of tokens to the experts that read them: a move"
        region = self.region(Region(f"{feed}.mixture", "elementwise", moves=(gathered,)))
        self.step(ROUTE, region, self.logits, self.gathered, other=source, last=last, meets=SEVERAL)

        def product(part: str, source: int, target: int, **fields: int) -> None:
            fields = {"source": source, "target": target, "layer": layer, "last": last, **fields}
            experts_product(self, (feed, part), config.feed_forward_bias, mixture.experts, **fields)

        if config.gated:
            product("gate", self.gathered, self.gate, meets=self._behind_gate())
            product("input", self.gathered, self.hidden, action=GATE, other=self.gate, function=function)
        else:
            product("input", self.gathered, self.hidden, action=ACTIVATE, function=function)
        product("output", self.hidden, self.passed)
        self.step(MIX, region, self.passed, self.x, width=config.width, last=last)

    def end(self) -> None:
        """From the last vector to the readout."""
        number, region = self._norm("norm") if self.config.norm_final else (-1, 0)
        self.plan.output = self.x
        self.step(FREEZE, region, self.x, NO_BUFFER, matrix=number)
        plan_readout(self, self.config.ends)


def plan_transformer(config: TransformerConfig, formats: Mapping[str, WeightFormat]) -> Plan:
    """The steps of a transformer whose arrays have these formats."""
    planner = _Planner(config, formats)
    planner.once()
    planner.beginning()
    for layer in range(config.layers):
        planner.layer(layer)
    planner.end()
    return planner.plan
