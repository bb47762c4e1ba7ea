"""Planning a network of steps: regions, matrices, normalisations and buffers, in the order in which they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..arena import MatrixSource
from ..kernels.attention import Relative
from ..kernels.attention_pattern import Pattern
from ..kernels.bins import NO_MATRIX, Bin
from ..kernels.experts import Experts
from ..kernels.lookup import Table
from ..kernels.matrix import Matrix
from ..kernels.network import ALWAYS, EXPERTS, NO_BUFFER, NO_STEP, PLAIN, PRODUCT, SHARED, Network, Options, Step
from ..kernels.norm import Norm
from ..kernels.rotary import NO_ROTATION, Rotation
from ..kernels.sinusoid import INTERLEAVED, Sinusoid
from ..kernels.tile_shape import TILE_TOKENS
from ..kernels.width import Width
from ..regions import Region, weights_region
from ..weight_format import WeightFormat
from .runtime import padded, zeros

_NOTHING = np.zeros(0, np.uint8)
NO_EXPERTS = Experts(0, 0, 0)
# Of a network without attention.
PLAIN_OPTIONS = Options(
    epsilon=np.float32(0),
    embedding_width=0,
    embedding_scale=np.float32(1),
    query_scale=np.float32(1),
    learned_positions=0,
    layers=0,
    heads=0,
    key_heads=0,
    head_width=0,
    window=0,
    pinned=0,
    projection=NO_MATRIX,
    projection_region=0,
    softmax_region=0,
    continuous_region=0,
    output_width=0,
    needed=0,
)


@dataclass
class Plan:
    """What a network of steps is made of."""

    steps: list[Step] = field(default_factory=list)
    once: list[Step] = field(default_factory=list)  # done when a run begins
    once_matrices: int = 0  # read by these alone; they stand in front
    regions: list[Region] = field(default_factory=list)
    matrices: list[MatrixSource] = field(default_factory=list)  # the readout's behind the others
    norms: list[tuple[str, str | None]] = field(default_factory=list)  # names of weights and biases
    widths: list[int] = field(default_factory=list)  # of the buffers
    numbers: list[int] = field(default_factory=list)  # of a row that are no padding between its parts
    own: list[int] = field(default_factory=list)  # when each thread has a row of its own
    items: list[bool] = field(default_factory=list)  # whether they have a row for each token in an expert
    experts: Experts = NO_EXPERTS
    expert_matrices: list[int] = field(default_factory=list)
    output: int = 0  # number of the buffer whose vector is frozen for the readout
    embedding_bins: list[Bin] = field(default_factory=list)  # of an adaptive embedding
    softmax_bins: list[Bin] = field(default_factory=list)  # one of a plain softmax
    projection: int = NO_MATRIX  # number of the matrix before the softmax
    projection_region: int = 0
    softmax_region: int = 0
    continuous_region: int = 0
    is_needed: bool = False  # bins of the softmax behind the first one only where the target is in them
    readout: int = 0  # number of the readout's first matrix
    readout_end: int = 0  # and of the last one + 1; behind them lie rows that are only looked up


class Planner:
    """Collects the parts of a network whose arrays have these formats."""

    def __init__(self, formats: Mapping[str, WeightFormat]) -> None:
        self.formats, self.plan = formats, Plan()

    def buffer(self, width: int, own: int = SHARED, items: bool = False, numbers: int | None = None) -> int:
        """Number of a new buffer.

        ``own``: when each thread has a row of its own; ``items``: rows of experts; ``numbers``: of a row that are no
        padding, by default all.
        """
        self.plan.widths.append(width)
        self.plan.numbers.append(width if numbers is None else numbers)
        self.plan.own.append(own)
        self.plan.items.append(items)
        return len(self.plan.widths) - 1

    def region(self, region: Region) -> int:
        """Number of a new region."""
        self.plan.regions.append(region)
        return len(self.plan.regions) - 1

    def step(self, kind: int, region: int, source: int, target: int, **fields: int) -> None:
        """Add a step."""
        defaults = {
            "matrix": -1, "action": PLAIN, "other": NO_BUFFER, "function": 0, "layer": 0, "last": 0, "meets": ALWAYS,
            "parts": 1, "width": 0, "from_column": 0, "to_column": 0,
            "following": NO_STEP,
        }  # fmt: skip
        self.plan.steps.append(Step(kind, region, source, target, **{**defaults, **fields}))

    def names(self, name: str, bias: bool) -> tuple[str, str | None]:
        """Arrays of a matrix or normalisation."""
        return f"{name}.weight", f"{name}.bias" if bias else None

    def sections(self, name: str) -> int:
        """Of a grouped matrix; 1 of any other."""
        return 1

    def product(self, name: str, bias: bool, source: int, target: int, **fields: int) -> None:
        """A matrix-vector product, a region of its own."""
        weight, bias_name = self.names(name, bias)
        sections = self.sections(name)
        self.plan.matrices.append(MatrixSource(weight, bias_name, fields.get("parts", 1), sections=sections))
        formats = [self.formats[n] for n in (weight, bias_name) if n]
        region = self.region(weights_region(name, formats, is_grouped=sections > 1))
        self.step(PRODUCT, region, source, target, matrix=len(self.plan.matrices) - 1, **fields)


def no_relative(layers: int) -> Relative:
    """No vectors of distances."""
    none, biases = np.zeros((layers, 3), np.int64), np.zeros((layers, 2, len(Width._fields)), np.int64)
    return Relative(zeros(0, 1, 0, 0), 0, none, zeros(0, 2, 0), biases)


def _bins(bins: list[Bin]) -> np.ndarray:
    return np.array(bins, np.int64).reshape(-1, len(Bin._fields))


def _followed(steps: list[Step]) -> list[Step]:
    """The steps, of which each product knows the next one; those of experts are known only when they are chosen."""
    found, following = [], NO_STEP
    for number in range(len(steps) - 1, -1, -1):
        step = steps[number]
        found.append(step._replace(following=following if step.kind == PRODUCT else NO_STEP))
        if step.kind in (PRODUCT, EXPERTS):
            following = number if step.kind == PRODUCT else NO_STEP
    return found[::-1]


def item_rows(rows: int, experts: Experts) -> int:
    """Rows of the experts' buffers for up to ``rows`` tokens: an expert with more than one begins at a whole tile."""
    items = rows * experts.used
    return max(rows, items + min(experts.total, items // 2) * (TILE_TOKENS - 1))


def network_of(plan: Plan, matrices: list[Matrix], norms: list[Norm], rows: int, options: Options) -> Network:
    """The network of a plan without its weights and tables, positions turned or relative, whose buffers have rows."""
    offsets, offset = [], 0
    for width, own, items in zip(plan.widths, plan.own, plan.items, strict=True):
        count = item_rows(rows, plan.experts) if items else rows
        offsets.append((offset, padded(width), int(own), count))
        offset += padded(width) * count
    nowhere = Table(matrices[-1], 1)
    return Network(
        weights=_NOTHING,
        rows=_NOTHING,
        table=nowhere,
        position_rows=_NOTHING,
        position_table=nowhere,
        matrices=np.array(matrices, np.int64),
        norms=np.array(norms, np.int64).reshape(-1, len(Norm._fields)),
        steps=np.array(_followed(plan.steps), np.int64),
        embedding_bins=_bins(plan.embedding_bins),
        softmax_bins=_bins(plan.softmax_bins),
        buffers=np.array(offsets, np.int64),
        rotation=Rotation(NO_ROTATION, np.zeros(0), zeros(rows, 0), zeros(rows, 0)),
        relative=no_relative(options.layers),
        experts=plan.experts,
        sinusoid=Sinusoid(INTERLEAVED, np.zeros(0), 0),
        patterns=np.zeros((options.layers, len(Pattern._fields)), np.int64),
        once=np.array(plan.once, np.int64).reshape(-1, len(Step._fields)),
        options=options._replace(
            projection=plan.projection,
            projection_region=plan.projection_region,
            softmax_region=plan.softmax_region,
            continuous_region=plan.continuous_region,
            output_width=plan.widths[plan.output],
            needed=int(plan.is_needed),
        ),
    )
