"""What an architecture is to the rest: how its checkpoints are read, what they need, how they are loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint, Expected
from ..context import Context
from ..kernels.charge import new_tally
from ..kernels.network import Network
from ..regions import Region
from ..threads import ThreadTeam
from .chunk_kinds import full_chunk_kinds
from .moments import Moment, moments
from .plan import Plan
from .runtime import Runtime


class Architecture(ABC):
    """How checkpoints of one architecture are read; ``config`` is what its own ``parse_config`` returned."""

    name: str

    @abstractmethod
    def parse_config(self, config: Mapping[str, Any], path: str) -> Any:
        """Check the configuration of the checkpoint at ``path``."""

    @abstractmethod
    def expected_arrays(self, config: Any, path: str) -> dict[str, Expected]:
        """Arrays that a checkpoint with this configuration holds."""

    def tied(self, config: Any) -> dict[str, str]:
        """Tensors that are stored once and used twice: name of the second use, and of the stored one."""
        tied: dict[str, str] = config.ends.tied_arrays()
        return tied

    def float_arrays(self, config: Any) -> frozenset[str]:
        """Weight arrays that are read in ways for which they must be floating-point numbers, none pruned."""
        found: frozenset[str] = config.ends.float_arrays()
        return found

    @abstractmethod
    def context(self, config: Any, policy: str | None = None, length: int | None = None) -> Context | None:
        """The context that is meant, by default the checkpoint's own; None where a state is the context."""

    def own_context(self, config: Any) -> int | None:
        """Tokens that a prediction was made to depend on, as the checkpoint says; None where a state is the context."""
        return None

    @abstractmethod
    def load(self, checkpoint: Checkpoint, team: ThreadTeam, context: Context | None = None) -> Runtime:
        """Pack the weights, for a context of ``context``'s, by default of the checkpoint's own."""

    @abstractmethod
    def regions(self, checkpoint: Checkpoint) -> list[Region]:
        """Regions that a run of the checkpoint is metered in; no weight is read."""

    @abstractmethod
    def step_tally(self, checkpoint: Checkpoint, context: Context | None = None) -> tuple[list[Region], np.ndarray]:
        """Operations of one step and one prediction, from the cost laws alone; no weight is read.

        What depends on the text is assumed as ``assumed`` says it. What is done once, when a run begins, is not among
        them.
        """

    def once_tally(self, checkpoint: Checkpoint, context: Context | None = None) -> tuple[list[Region], np.ndarray]:
        """Operations that are done once, when a run begins; none, unless an architecture says otherwise."""
        return [], new_tally(0)

    @abstractmethod
    def described(self, checkpoint: Checkpoint, context: Context | None = None) -> tuple[Plan, Network]:
        """The plan and its network as cost laws and sizes want them: no weight is read."""

    def full_moments(
        self, checkpoint: Checkpoint, context: Context | None = None
    ) -> tuple[list[Region], Iterator[Moment]]:
        """What is alive at each moment where the context is full, and a continuous cache too; no weight is read."""
        plan, network = self.described(checkpoint, context)
        chunks = full_chunk_kinds(network, context, checkpoint.model_config.ends.continuous.size)
        return plan.regions, moments(plan, network, chunks)

    def assumed(self, config: Any, context: Context | None) -> list[str]:
        """What ``step_tally`` assumes of a text, in words."""
        found, ends = [], config.ends
        if context is not None:
            found.append(f"a full context: {context}, {context.length} tokens")
        if ends.embedding_bins or ends.softmax_bins:
            found.append("the token that enters and the one predicted are in the first bin, of the most frequent")
        if ends.continuous.size:
            found.append(f"a full continuous cache: {ends.continuous.size} outputs")
        return found
