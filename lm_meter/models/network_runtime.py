"""A loaded network of steps: what recurrent models and transformers have in common when they run."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ..arena import pack_weights
from ..checkpoint import Checkpoint
from ..context import Context
from ..kernels import token_loop as loop
from ..kernels.attention import FRONT, Cache
from ..kernels.barrier import Team
from ..kernels.bins import Bin
from ..kernels.experts import Experts, Routes
from ..kernels.lanes import LANES
from ..kernels.lookup import Table
from ..kernels.network import Memory, Network
from ..kernels.readout import Predictions
from ..tables import lookup_table
from ..threads import ThreadTeam
from .chunk_kinds import chunk_kinds
from .moments import Moment, moments
from .plan import Plan
from .readout_memory import continuous_memory, readout_buffers, readout_rows
from .runtime import Runtime, most_groups, narrow_inputs, padded, widest_inputs, zeros
from .snapshot import continuous_snapshot, put, put_position, restore_continuous, state_buffers, state_numbers


def _routes(experts: Experts, rows: int, threads: int) -> Routes:
    count, used = experts.total, experts.used
    return Routes(
        chosen=np.zeros((rows, used, 2), np.int64),
        weights=zeros(rows, used),
        shares=np.zeros((threads, count, 2), np.int64),
    )


class NetworkRuntime(Runtime):
    """A loaded network of steps.

    Attributes
    ----------
    config
        Of the architecture.
    step_bytes, readout_bytes : int
        Bytes of weights that one step, and one readout of a block, walk through.
    """

    context: Context | None = None  # None: a state
    _network: Network
    _memory: Memory
    _loop: Callable[..., None]

    def __init__(self, checkpoint: Checkpoint, team: ThreadTeam, plan: Plan, expert_share: float = 1.0) -> None:
        """Pack the weights; a step reads ``expert_share`` of those of experts."""
        super().__init__(team, plan.regions)
        self.config: Any = checkpoint.model_config
        self.vocabulary = self.config.vocabulary
        names = [name for pair in plan.norms for name in pair if name]
        self.weights, self._matrices, self._places = pack_weights(checkpoint, plan.matrices, team, names)
        self._plan = plan
        self.step_bytes = sum(matrix.nbytes for matrix in self._matrices[plan.once_matrices : plan.readout])
        self.readout_bytes = sum(matrix.nbytes for matrix in self._matrices[plan.readout : plan.readout_end])
        unread = sum(self._matrices[number].nbytes for number in plan.expert_matrices)
        self.step_bytes -= int((1 - expert_share) * unread)
        self._use_few_threads()

    def _set_network(self, network: Network, checkpoint: Checkpoint) -> None:
        """Put weights and the embedding's rows into a network that has everything else."""
        rows, table = self.weights, Table(self._matrices[self._plan.softmax_bins[0].matrix], 1)
        if not self.config.ends.tied and not self._plan.embedding_bins:
            rows, table = lookup_table(checkpoint, "embedding", self.team)
        self._network = network._replace(weights=self.weights, rows=rows, table=table, position_table=table)

    def _set_memory(self, rows: int, cache: Cache) -> None:
        """What the steps write to; of the frozen outputs as many as one prediction needs."""
        threads, (offset, width, _, last_rows) = self.team.threads, self._network.buffers[-1]
        body, most = self._matrices[: self._plan.readout], max(threads, int(self._network.buffers[:, 3].max()))
        scores = FRONT + (cache.capacity + LANES if cache.keys.size else 0)
        ragged = any(matrix.sections > 1 and matrix.rows // matrix.sections % LANES for matrix in body)
        self._memory = Memory(
            # Whole lanes that begin in the last numbers of a row end behind it.
            buffers=zeros(offset + width * last_rows + LANES),
            ragged=zeros(threads * (most if ragged else 1), LANES),
            narrow=narrow_inputs(most, widest_inputs(body), most_groups(body)),
            cache=cache,
            scores=zeros(threads, max(scores, padded(self._network.experts.total))),
            lanes=zeros(threads, LANES),
            places=zeros(threads, cache.capacity if self._network.patterns.any() else 0, dtype=np.int64),
            frozen=zeros(0, 0),
            routes=_routes(self._network.experts, max(rows, threads), threads),
            state=np.zeros(2, np.int64),
        )
        self.reserve(1)

    def reserve(self, block: int, ranks: bool = False) -> None:
        """Make room for blocks of up to ``block`` tokens, and for ranks of their targets; a cache is emptied."""
        threads, width = self.team.threads, self._plan.widths[self._plan.output]
        self._memory = self._memory._replace(frozen=zeros(readout_rows(block), padded(width)))
        self._continuous = continuous_memory(self.config.ends.continuous, width, block, threads)
        self._buffers = readout_buffers(self._plan, self._matrices, block, threads)
        if ranks and not self._is_one_softmax:
            self._kept_logits = zeros(block, self.vocabulary)
            self._continuous = self._continuous._replace(masses=zeros(threads, self.vocabulary))

    def weight_bytes(self, block: int) -> float:
        """Bytes of weights read for a token where ``block`` of them are read out together."""
        return self.step_bytes + self.readout_bytes / block

    def moments(self, inputs: np.ndarray, targets: np.ndarray) -> Iterator[Moment]:
        """What is alive at each moment of a run over these tokens."""
        chunks = chunk_kinds(self._network, self.context, self.config.ends.continuous.size, inputs, targets)
        return moments(self._plan, self._network, chunks)

    def reset(self) -> None:
        """Back to the state before any token."""
        self._memory.state[...] = 0
        self._memory.buffers[...] = 0
        self._continuous.state[...] = 0

    @functools.cached_property
    def _state_numbers(self) -> list[int]:
        return state_numbers(self._plan, self._network)

    def snapshot(self) -> dict[str, np.ndarray]:
        """Copies of all that is kept from token to token, between two calls."""
        memory = self._memory
        found = {
            "position": memory.state.copy(),
            "keys": memory.cache.keys.copy(),
            "values": memory.cache.values.copy(),
        }
        found |= {name: rows[0].copy() for name, rows in state_buffers(self._state_numbers, self._network, memory)}
        return found | continuous_snapshot(self._continuous)

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a snapshot of the same model in the same context."""
        memory = self._memory
        put_position(memory.state, arrays, self._expected_position(arrays))
        put("keys", memory.cache.keys, arrays)
        put("values", memory.cache.values, arrays)
        for name, rows in state_buffers(self._state_numbers, self._network, memory):
            put(name, rows[0], arrays)
            rows[1:] = rows[0]  # threads that have a row of their own
        restore_continuous(self._continuous, arrays, self.vocabulary)

    def _expected_position(self, arrays: Mapping[str, np.ndarray]) -> tuple[int, int] | None:
        """Positions kept and the next one's number that a snapshot must have; None: any, as of a recurrent model."""
        return None

    @property
    def _bins(self) -> list[Bin]:
        return self._plan.softmax_bins

    @property
    def _leaves_bins_out(self) -> bool:
        return self._plan.is_needed

    @property
    def _outputs(self) -> np.ndarray:
        return self._memory.frozen

    @abstractmethod
    def _entering(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens at hand, the next ones behind them, and what of them enters for each: the chunks of ``Context``."""

    def _call(self, inputs: np.ndarray, predictions: Predictions, block: int) -> Callable[[Team, Any], None]:
        text = loop.Text(*self._entering(inputs), predictions, block, self._continuous)
        network, memory, buffers, run = self._network, self._memory, self._buffers, self._loop
        return lambda team, tally: run(network, memory, buffers, team, text, tally)
