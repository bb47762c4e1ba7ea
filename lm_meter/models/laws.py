"""The cost laws of a planned network as formulas to be read and checked by hand.

What ``kernels/step_costs.py`` charges stands here once more, region by region, as text in sizes of the model (m and n,
rows and columns of a matrix, ...) and in units of the run (T tokens that entered, P predictions, ...). A test compares
both, integer for integer.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..kernels.attention_pattern import DENSE, FIXED, STRIDED
from ..kernels.bins import NO_MATRIX, Bin
from ..kernels.charge import ADD, COMPARE, CONVERT, DIVIDE, MULTIPLY, TRANSCENDENTAL
from ..kernels.matrix import FLOAT_BITS, Matrix
from ..kernels.network import (
    ADD_TO,
    ATTEND,
    CELL,
    EMBED,
    EXPERTS,
    FREEZE,
    KEEP,
    LSTM,
    MIX,
    NORMALISE,
    POSITION,
    PRODUCT,
    QRNN,
    ROUTE,
    SINUSOID,
    Network,
    Step,
)
from ..kernels.norm import Norm
from ..kernels.qrnn_cell import WITH_OUTPUT_GATE
from ..kernels.rotary import NO_ROTATION
from .matrix_laws import action_laws, alone_laws, lookup_laws, norm_laws, product_laws
from .plan import Plan
from .readout_laws import readout_laws
from .region_laws import PREDICTIONS, TOKENS, Laws, RegionLaws

_POSITION_BITS, _ANGLE_BITS = 32, 64
DISTANCES = "D"
_LSTM_CELL = "c = sigmoid(f) c + sigmoid(i) tanh(g); h = sigmoid(o) tanh(c)"
_GRU_CELL = "r = sigmoid(i_r + h_r); z = sigmoid(i_z + h_z); n = tanh(i_n + r h_n); h = n + z (h - n)"
_QRNN_CELL = "z = tanh(g); f = sigmoid(f); c = z + f (c - z); h = "


def laws_of(plan: Plan, network: Network) -> Laws:
    """The laws of a plan and its network, which needs no weights."""
    return _Reader(plan, network).read()


class _Reader:
    def __init__(self, plan: Plan, network: Network) -> None:
        self.plan, self.network, self.options = plan, network, network.options
        self.matrices = [Matrix(*map(int, row)) for row in network.matrices]
        self.laws = Laws([RegionLaws(region.name) for region in plan.regions])
        self._routed: dict[tuple[int, ...], str] = {}  # layer and experts: the unit of the tokens that pass them

    def read(self) -> Laws:
        """Everything in the order in which it runs."""
        for step in self.plan.once:
            self._step(step, self.laws.unit(DISTANCES, "distances whose vectors are made once, when the run begins"))
        for step in self.plan.steps:
            self._step(step, self.laws.unit(PREDICTIONS if step.last else TOKENS))
        readout_laws(self.laws, self.plan, self.matrices, int(self.options.output_width))
        return self.laws

    def _step(self, step: Step, unit: str) -> None:
        region, network = self.laws.regions[step.region], self.network
        if step.kind == PRODUCT:
            self._product(region, step, step.matrix, unit)
        elif step.kind == EXPERTS:
            self._experts(region, step, unit)
        elif step.kind == NORMALISE:
            norm_laws(region, Norm(*map(int, network.norms[step.matrix])), unit)
        elif step.kind == FREEZE and step.matrix >= 0:
            norm_laws(region, Norm(*map(int, network.norms[step.matrix])), self.laws.unit(PREDICTIONS))
        elif step.kind == KEEP:
            self._keep(region, step, unit)
        elif step.kind == ATTEND:
            self._attend(region, step, unit)
        elif step.kind == EMBED:
            self._embed(region, step)
        elif step.kind == POSITION:
            _waves(region, network.rotation.frequencies.size, unit)
        elif step.kind == SINUSOID:
            pairs = _waves(region, network.sinusoid.frequencies.size, unit)
            if step.action == ADD_TO:
                region.charge(ADD, f"{unit}*2*{pairs}")
        elif step.kind == CELL:
            _cell(region, step, unit)
        elif step.kind == ROUTE:
            self._route(region, unit)
        elif step.kind == MIX:
            self._mix(region, step.width, unit)

    def _product(self, region: RegionLaws, step: Step, number: int, unit: str, suffix: str = "") -> None:
        formula = product_laws(region, self.matrices[number], self.plan.matrices[number], unit, suffix)
        action_laws(region, (step.action, step.function), formula, f"{unit}*m{suffix}")

    def _experts(self, region: RegionLaws, step: Step, unit: str) -> None:
        """Products of experts: alike ones have one law, for the tokens that pass any of them."""
        total, used = self.network.experts.total, self.network.experts.used
        alike: dict[Matrix, list[int]] = {}
        for expert in range(total):
            alike.setdefault(self.matrices[step.matrix + expert], []).append(expert)
        if len(alike) == 1:
            k = region.size("k", used, f"of {total} experts, which a token passes")
            self._product(region, step, step.matrix, f"{unit}*{k}")
            return
        for experts in alike.values():
            symbol = self._routed.setdefault((step.layer, *experts), f"E_{len(self._routed)}")
            named = ", ".join(map(str, experts))
            self.laws.unit(symbol, f"tokens that pass expert {named} of layer {step.layer}, once for each")
            self._product(region, step, step.matrix + experts[0], symbol, f"_{experts[0]}")

    def _embed(self, region: RegionLaws, step: Step) -> None:
        unit, network, width = self.laws.unit(TOKENS), self.network, int(self.options.embedding_width)
        if not self.plan.embedding_bins:
            lookup_laws(region, network.table.matrix, unit)
        for number, row in enumerate(network.embedding_bins):
            part = Bin(*map(int, row))
            own = self.laws.unit(f"T_{number}", f"tokens of bin {number} that entered")
            lookup_laws(region, self.matrices[part.matrix], own, f"_{number}")
            if part.projection != NO_MATRIX:
                place = self.laws.regions[part.projection_region]
                source = self.plan.matrices[part.projection]
                formula = product_laws(place, self.matrices[part.projection], source, own)
                action_laws(place, (0, 0), formula, "")
        if self.options.embedding_scale != 1:
            w = region.size("e", width, "numbers of an embedding")
            region.computes("x = s x")
            region.charge(MULTIPLY, f"{unit}*{w}")
        if self.options.learned_positions:
            place = self.laws.regions[step.region + 1]
            lookup_laws(place, network.position_table.matrix, unit)
            place.computes("x = x + the position's row")
            place.charge(ADD, f"{unit}*w")

    def _heads(self, region: RegionLaws) -> tuple[str, str]:
        return (
            region.size("h", self.options.heads, "heads of queries"),
            region.size("w", self.options.head_width, "numbers of a head"),
        )

    def _keep(self, region: RegionLaws, step: Step, unit: str) -> None:
        (h, w), network = self._heads(region), self.network
        if network.rotation.pairs != NO_ROTATION:
            k = region.size("k", self.options.key_heads, "heads of keys")
            r = region.size("r", network.rotation.frequencies.size, "pairs of a head that are turned")
            turned = f"{r}*({self.laws.unit(TOKENS)}*{k} + {unit}*{h})"
            region.computes("q and k turned by the angles of their positions")
            region.charge(MULTIPLY, f"4*{turned}")
            region.charge(ADD, f"2*{turned}")
        biases = [(int(bits), int(step)) for bits, step in network.relative.bias_widths[step.layer]]
        biased = biases[0][0] != 0
        if biased:
            region.computes("q + u for contents, q + v for distances")
            for width in biases:
                alone_laws(region, ADD, f"{unit}*{h}*{w}", width)
        if self.options.query_scale != 1:
            region.computes("q scaled")
            region.charge(MULTIPLY, f"{'2*' if biased else ''}{unit}*{h}*{w}")

    def _attend(self, region: RegionLaws, step: Step, unit: str) -> None:
        (h, w), seen = self._heads(region), self._seen(step, unit)
        relative, steps, step_bits = (int(n) for n in self.network.relative.widths[step.layer])
        region.computes(f"a = softmax(q k{' + q r of their distance' if relative else ''}); y = sum of a v")
        if relative:
            region.multiply_matrix(f"{seen}*{h}*{w}", relative, FLOAT_BITS)
            if steps:
                s = region.size("s", steps, "runs of a head's numbers that share a step")
                region.charge(MULTIPLY, f"{seen}*{h}*{s}", step_bits, FLOAT_BITS)
            region.charge(ADD, f"{seen}*{h}*{w}")
        region.multiply_matrix(f"2*{seen}*{h}*{w}")
        region.charge(ADD, f"{seen}*{h}*(w - 1) + {seen}*{h} + ({seen} - {unit})*{h} + ({seen} - {unit})*{h}*{w}")
        region.charge(COMPARE, f"({seen} - {unit})*{h}")
        region.charge_one(TRANSCENDENTAL, f"{seen}*{h}")
        region.charge(DIVIDE, f"{unit}*{h}*{w}")

    def _seen(self, step: Step, unit: str) -> str:
        """The unit of positions that queries see: layers with one pattern have one, unless only the last token asks."""
        pattern = [int(n) for n in self.network.patterns[step.layer]]
        rows = [[int(n) for n in row] for row in self.network.patterns]
        number, who = rows.index(pattern), "of predictions" if step.last else "of tokens"
        names = {DENSE: "", STRIDED: ", strided", FIXED: ", fixed blocks"}
        how = names.get(pattern[0], ", local and global")
        return self.laws.unit(
            f"S_{unit}_{number}", f"positions that the queries {who} see together, each its own among them{how}"
        )

    def _route(self, region: RegionLaws, unit: str) -> None:
        experts = self.network.experts
        n, k = int(experts.total), int(experts.used)
        count = region.size("c", k * (n - 1) - k * (k - 1) // 2, f"compares for the {k} largest of {n} logits")
        summed = region.size("z", k if experts.is_normalised else n, "exponentials that are summed")
        used = region.size("k", k, "experts that a token passes")
        region.computes("the k largest logits; their weights from a softmax")
        region.charge(COMPARE, f"{unit}*{count}")
        region.charge(ADD, f"{unit}*(2*{summed} - 1)")
        region.charge_one(TRANSCENDENTAL, f"{unit}*{summed}")
        region.charge(DIVIDE, f"{unit}*{used}")

    def _mix(self, region: RegionLaws, width: int, unit: str) -> None:
        k = region.size("k", self.network.experts.used, "experts that a token passes")
        w = region.size("w", width, "numbers of a vector")
        region.computes("y = y + sum of weights of the experts times what they made")
        region.charge(MULTIPLY, f"{unit}*{k}*{w}")
        region.charge(ADD, f"{unit}*{k}*{w}")


def _waves(region: RegionLaws, count: int, unit: str) -> str:
    """Sine and cosine of a position times each of some frequencies."""
    r = region.size("r", count, "frequencies")
    region.computes("sin(p f_i), cos(p f_i)")
    region.charge(MULTIPLY, f"{unit}*{r}", _POSITION_BITS, _ANGLE_BITS)
    region.charge_one(TRANSCENDENTAL, f"2*{unit}*{r}", _ANGLE_BITS)
    region.charge(CONVERT, f"2*{unit}*{r}", _ANGLE_BITS, FLOAT_BITS)
    return r


def _cell(region: RegionLaws, step: Step, unit: str) -> None:
    """The element-wise half of a recurrent layer's step."""
    u = region.size("u", step.width, "units")
    per: Sequence[int] = (2, 5, 3)
    if step.function == LSTM:
        region.computes(_LSTM_CELL)
        per = (3, 1, 5)
    elif step.function == QRNN:
        gated = step.parts == WITH_OUTPUT_GATE
        region.computes(_QRNN_CELL + ("sigmoid(o) c" if gated else "c"))
        per = (1 + gated, 2, 2 + gated)
    else:
        region.computes(_GRU_CELL)
    multiplies, adds, functions = (f"{unit}*{u}" if n == 1 else f"{n}*{unit}*{u}" for n in per)
    region.charge(MULTIPLY, multiplies)
    region.charge(ADD, adds)
    region.charge_one(TRANSCENDENTAL, functions)
