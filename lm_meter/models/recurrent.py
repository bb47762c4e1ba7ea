"""Recurrent language models: embedding, layers of LSTM, GRU or QRNN, optional projection, softmax.

Jozefowicz et al., Exploring the limits of language modeling (2016), describe the form; the MicroNet baseline is one
LSTM layer of 2048 units with a projection to the 512-wide tied embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arena import describe_matrix
from ..checkpoint import Checkpoint, Expected
from ..context import Context
from ..errors import ConfigError
from ..kernels import step_costs
from ..kernels.attention import Cache
from ..kernels.charge import new_tally
from ..kernels.matrix import Matrix
from ..kernels.network import Network
from ..kernels.token_loop import run_recurrent
from ..regions import Region
from ..tables import described_table
from ..threads import ThreadTeam
from .architecture import Architecture
from .network_runtime import NetworkRuntime
from .plan import PLAIN_OPTIONS, Plan, network_of
from .recurrent_config import RecurrentConfig, parse_recurrent_config, recurrent_arrays
from .recurrent_steps import plan_recurrent
from .runtime import zeros

# No position is kept, so there is always room.
_ENDLESS = 1 << 62
_MOST_FREQUENT = np.zeros(1, np.int64)


class RecurrentArchitecture(Architecture):
    """How checkpoints of one kind of recurrent model are read."""

    def __init__(self, name: str) -> None:
        self.name = name

    def parse_config(self, config: Mapping[str, Any], path: str) -> RecurrentConfig:
        """Check the configuration of the checkpoint at ``path``."""
        return parse_recurrent_config(self.name, config, path)

    def expected_arrays(self, config: RecurrentConfig, path: str) -> dict[str, Expected]:
        """Arrays that a checkpoint with this configuration holds."""
        return recurrent_arrays(config, path)

    def context(self, config: RecurrentConfig, policy: str | None = None, length: int | None = None) -> Context | None:
        """None: the state of a recurrent model is its context."""
        if policy is not None or length is not None:
            raise ConfigError(
                f"the checkpoint is a recurrent model ({self.name}), whose state is its context; --policy and "
                "--context are for transformers"
            )
        return None

    def load(self, checkpoint: Checkpoint, team: ThreadTeam, context: Context | None = None) -> RecurrentRuntime:
        """Pack the weights."""
        return RecurrentRuntime(checkpoint, team)

    def regions(self, checkpoint: Checkpoint) -> list[Region]:
        """Regions that a run of the checkpoint is metered in; no weight is read."""
        return plan_recurrent(checkpoint.model_config, checkpoint.formats).regions

    def step_tally(self, checkpoint: Checkpoint, context: Context | None = None) -> tuple[list[Region], np.ndarray]:
        """Operations of one step and one prediction, from the cost laws alone; no weight is read."""
        pairs = np.array([checkpoint.model_config.ends.continuous.size], np.int64)
        return self.text_tally(checkpoint, _MOST_FREQUENT, _MOST_FREQUENT, pairs)

    def text_tally(
        self, checkpoint: Checkpoint, inputs: np.ndarray, targets: np.ndarray, pairs: np.ndarray
    ) -> tuple[list[Region], np.ndarray]:
        """Operations of some tokens and of predicting one behind each, from the cost laws alone.

        ``pairs``: what each prediction sees of a continuous cache. All are (n,) int64.
        """
        plan, network = self.described(checkpoint)
        tally = new_tally(len(plan.regions))
        chunks = np.stack([np.ones_like(inputs), np.zeros_like(inputs), pairs], axis=1)
        step_costs.chunks_cost(network, chunks, inputs, targets, tally)
        return plan.regions, tally

    def described(self, checkpoint: Checkpoint, context: Context | None = None) -> tuple[Plan, Network]:
        """The plan and its network as cost laws and sizes want them: no weight is read."""
        plan = plan_recurrent(checkpoint.model_config, checkpoint.formats)
        matrices = [describe_matrix(checkpoint, source) for source in plan.matrices]
        network = _network(plan, matrices, checkpoint.model_config, 1)
        if not plan.embedding_bins:
            network = network._replace(table=described_table(checkpoint, "embedding"))
        return plan, network


def _network(plan: Plan, matrices: list[Matrix], config: RecurrentConfig, rows: int) -> Network:
    return network_of(plan, matrices, [], rows, PLAIN_OPTIONS._replace(embedding_width=config.ends.embedding))


class RecurrentRuntime(NetworkRuntime):
    """A loaded recurrent model."""

    _loop = staticmethod(run_recurrent)

    def __init__(self, checkpoint: Checkpoint, team: ThreadTeam) -> None:
        plan = plan_recurrent(checkpoint.model_config, checkpoint.formats)
        super().__init__(checkpoint, team, plan)
        self._set_network(_network(plan, self._matrices, checkpoint.model_config, team.threads), checkpoint)
        self._set_memory(team.threads, Cache(zeros(0), zeros(0), 1, 1, _ENDLESS))

    def _entering(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chunks = np.zeros((inputs.size, 3), np.int64)
        chunks[:, 0], chunks[:, 1] = np.arange(inputs.size), 1
        return inputs, chunks
