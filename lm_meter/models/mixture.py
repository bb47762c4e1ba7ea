"""Mixtures of experts as the feed-forward part of a transformer: their configuration, arrays and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arena import MatrixSource
from ..errors import CheckpointError, ConfigError
from ..kernels.experts import Experts
from ..kernels.matrix import Matrix
from ..kernels.network import EXPERTS, Step
from ..regions import weights_region
from .fields import Fields
from .plan import Planner

# More than any model has; every router chooses by looking at all of them.
MOST_EXPERTS = 4096


@dataclass(frozen=True)
class Mixture:
    """A mixture of ``count`` experts, of which each token passes the ``used`` ones that a router chooses.

    ``normalised``: the weights of the chosen ones sum to 1. ``bias``: whether the router has one.
    """

    count: int
    used: int
    normalised: bool
    bias: bool

    @property
    def experts(self) -> Experts:
        """As the kernels want it."""
        return Experts(self.count, self.used, int(self.normalised))


def parse_mixture(feed_forward: Fields) -> Mixture | None:
    """Check the entry ``experts``, if there is one; CheckpointError names what is wrong."""
    if not feed_forward.has("experts"):
        return None
    fields = feed_forward.section("experts")
    found = Mixture(
        fields.size("count", MOST_EXPERTS), fields.size("used"), fields.flag("normalised"), fields.flag("bias")
    )
    if found.used > found.count:
        raise CheckpointError(
            f"{fields.path}: feed_forward.experts.used is {found.used}, but there are {found.count} experts; expected "
            "at most as many"
        )
    return found


def experts_product(planner: Planner, name: tuple[str, str], bias: bool, experts: Experts, **fields: int) -> None:
    """The step of a product of all experts of a layer, a region for all of them.

    ``name``: that of the feed-forward part, and that of the matrix in each expert.
    """
    feed, part = name
    first, plan, formats = len(planner.plan.matrices), planner.plan, []
    sections = planner.sections(f"{feed}.{part}")
    for expert in range(experts.total):
        own = f"{feed}.experts.{expert}.{part}"
        weight, bias_name = planner.names(own, bias)
        plan.expert_matrices.append(len(plan.matrices))
        plan.matrices.append(MatrixSource(weight, bias_name, sections=sections))
        formats += [planner.formats[n] for n in (weight, bias_name) if n]
    region = planner.region(weights_region(f"{feed}.experts.{part}", formats, is_grouped=sections > 1))
    planner.step(EXPERTS, region, matrix=first, **fields)


def routed_alike(
    where: str, steps: Sequence[Step], matrices: Sequence[Matrix], experts: Experts, tokens: Sequence[int]
) -> np.ndarray:
    """How many tokens pass each expert of each layer, where it does not matter which: all of a layer cost the same.

    Parameters
    ----------
    where : str
        The checkpoint.
    steps, matrices
        Of a network.
    experts : Experts
    tokens : sequence of int
        How many are routed in each layer.

    Returns
    -------
    (layers, experts) int64
    """
    for step in steps:
        if step.kind == EXPERTS:
            own = matrices[step.matrix : step.matrix + experts.total]
            if any(matrix != own[0] for matrix in own):
                raise ConfigError(
                    f"{where}: experts of layer {step.layer} differ in their formats or in what is kept of them, so "
                    "that operations depend on which ones the text chooses; run lm-meter eval over a text"
                )
    routed = np.zeros((len(tokens), experts.total), np.int64)
    routed[:, 0] = np.array(tokens) * experts.used
    return routed
