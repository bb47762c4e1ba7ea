"""Decoder-only transformers: how their checkpoints are read, and how they run.

Vaswani et al., Attention is all you need (2017); the forms of GPT-2 (Radford et al., 2019) and Llama (Touvron et al.,
2023) are settings of one description.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..arena import describe_matrix
from ..checkpoint import Checkpoint, Expected
from ..context import CACHE, RECOMPUTE, SEGMENT, Context, parse_policy
from ..errors import ConfigError
from ..kernels.attention import Cache
from ..kernels.barrier import Team
from ..kernels.charge import new_tally
from ..kernels.distances import distances_cost, make_distances
from ..kernels.lanes import LANES
from ..kernels.network import Network
from ..kernels.readout import Predictions
from ..kernels.step_costs import chunks_cost, experts_cost
from ..kernels.token_loop import FRESH, run_transformer
from ..regions import Region
from ..tables import described_table, lookup_table
from ..threads import ThreadTeam
from .architecture import Architecture
from .mixture import routed_alike
from .network_runtime import NetworkRuntime
from .plan import Plan
from .relative import relative_of
from .runtime import padded, zeros
from .snapshot import position_after, put, put_tokens, staying
from .transformer_config import TransformerConfig, parse_transformer_config, relative_name, transformer_arrays
from .transformer_network import buffer_rows, norm_of, transformer_network
from .transformer_steps import plan_transformer

# Positions that the cache has room for beyond those that are seen: how often they are moved to the front.
_SLACK = 256


class TransformerArchitecture(Architecture):
    """How transformer checkpoints are read."""

    name = "transformer"

    def parse_config(self, config: Mapping[str, Any], path: str) -> TransformerConfig:
        """Check the configuration of the checkpoint at ``path``."""
        return parse_transformer_config(config, path)

    def expected_arrays(self, config: TransformerConfig, path: str) -> dict[str, Expected]:
        """Arrays that a checkpoint with this configuration holds."""
        return transformer_arrays(config, path)

    def float_arrays(self, config: TransformerConfig) -> frozenset[str]:
        """Besides those of both ends the vectors of relative positions."""
        relative = config.layers if config.positions.kind == "relative" else 0
        return super().float_arrays(config) | {relative_name(layer) for layer in range(relative)}

    def context(self, config: TransformerConfig, policy: str | None = None, length: int | None = None) -> Context:
        """The context that is meant: by default the checkpoint's own length, and a cache where positions allow it."""
        name, overlap = parse_policy(policy) if policy is not None else (None, 0)
        learned = config.positions.kind == "learned"
        chosen = config.context if length is None else length
        found = Context(name or (SEGMENT if learned else CACHE), chosen, overlap)
        if learned and found.length > config.positions.count:
            raise ConfigError(
                f"context is {found.length}, but the checkpoint has {config.positions.count} learned positions; "
                "expected at most as many"
            )
        return found

    def own_context(self, config: TransformerConfig) -> int:
        """Tokens that the checkpoint sees unless a policy says otherwise."""
        return config.context

    def load(self, checkpoint: Checkpoint, team: ThreadTeam, context: Context | None = None) -> TransformerRuntime:
        """Pack the weights."""
        chosen = context or self.context(checkpoint.model_config)
        try:
            return TransformerRuntime(checkpoint, team, chosen)
        except MemoryError:
            raise ConfigError(
                f"{checkpoint.path}: there is not enough memory for its weights and a context of {chosen.length} "
                "tokens; choose a smaller --context"
            ) from None

    def regions(self, checkpoint: Checkpoint) -> list[Region]:
        """Regions that a run of the checkpoint is metered in; no weight is read."""
        return plan_transformer(checkpoint.model_config, checkpoint.formats).regions

    def step_tally(self, checkpoint: Checkpoint, context: Context | None = None) -> tuple[list[Region], np.ndarray]:
        """Operations of one prediction with a full context, from the cost laws alone; no weight is read."""
        config: TransformerConfig = checkpoint.model_config
        context = context or self.context(config)
        # Global positions are seen besides those of the context where it has moved on.
        before = context.length - 1 + (config.globals if context.policy == CACHE else 0)
        tokens, kept = (context.length, 0) if context.policy == RECOMPUTE else (1, before)
        chunks = np.array([(tokens, kept, config.ends.continuous.size)], np.int64)
        return self.chunk_tally(checkpoint, chunks, context)

    def chunk_tally(
        self,
        checkpoint: Checkpoint,
        chunks: np.ndarray,
        context: Context,
        text: tuple[np.ndarray, np.ndarray] | None = None,
        routed: np.ndarray | None = None,
    ) -> tuple[list[Region], np.ndarray]:
        """Operations of chunks of tokens, each with a prediction.

        Parameters
        ----------
        checkpoint : Checkpoint
        chunks : (n, 3) int64
            As ``chunks_cost`` has them.
        context : Context
        text : pair of int64 arrays, optional
            The tokens of all chunks, one behind the other, and those predicted; by default the most frequent one.
        routed : (layers, experts) int64, optional
            How many tokens pass each expert, if there are experts; by default any, if these cost the same.

        Raises
        ------
        ConfigError
            Where the operations depend on which experts the tokens pass, and that was not said.
        """
        config: TransformerConfig = checkpoint.model_config
        plan, network = self.described(checkpoint, context)
        tally = new_tally(len(plan.regions))
        tokens, targets = text or (np.zeros(0, np.int64), np.zeros(len(chunks), np.int64))
        chunks_cost(network, chunks, tokens, targets, tally)
        if config.mixture:
            if routed is None:
                passing = [int(chunks[:, 0].sum())] * (config.layers - 1) + [len(chunks)]
                matrices = [describe_matrix(checkpoint, source) for source in plan.matrices]
                routed = routed_alike(str(checkpoint.path), plan.steps, matrices, plan.experts, passing)
            experts_cost(network, routed, tally)
        return plan.regions, tally

    def once_tally(self, checkpoint: Checkpoint, context: Context | None = None) -> tuple[list[Region], np.ndarray]:
        """Operations done once, when a run begins: the vectors of distances, from the cost laws alone."""
        plan, network = self.described(checkpoint, context)
        tally = new_tally(len(plan.regions))
        if plan.once:
            distances_cost(network, network.options.window + 1, tally)
        return plan.regions, tally

    def described(self, checkpoint: Checkpoint, context: Context | None = None) -> tuple[Plan, Network]:
        """The plan and its network as cost laws and sizes want them: no weight is read."""
        config: TransformerConfig = checkpoint.model_config
        context = context or self.context(config)
        plan = plan_transformer(config, checkpoint.formats)
        matrices = [describe_matrix(checkpoint, source) for source in plan.matrices]
        norms = [norm_of(checkpoint, names) for names in plan.norms]
        network = transformer_network(config, plan, (matrices, norms), context, 1)
        if not plan.embedding_bins:
            network = network._replace(table=described_table(checkpoint, "embedding"))
        if config.positions.kind == "learned":
            network = network._replace(position_table=described_table(checkpoint, "positions"))
        return plan, network._replace(relative=relative_of(checkpoint, network.options.window, False))


class TransformerRuntime(NetworkRuntime):
    """A loaded transformer."""

    context: Context
    _loop = staticmethod(run_transformer)

    def __init__(self, checkpoint: Checkpoint, team: ThreadTeam, context: Context) -> None:
        config: TransformerConfig = checkpoint.model_config
        plan = plan_transformer(config, checkpoint.formats)
        mixture = config.mixture
        share = min(1.0, mixture.used * context.longest_chunk / mixture.count) if mixture else 1.0
        super().__init__(checkpoint, team, plan, share)
        self.context, self._seen, self._history = context, 0, np.zeros(0, np.int64)
        norms = [norm_of(checkpoint, names, self._places) for names in plan.norms]
        self._set_network(transformer_network(config, plan, (self._matrices, norms), context, team.threads), checkpoint)
        relative = relative_of(checkpoint, self._network.options.window, True)
        self._network = self._network._replace(relative=relative)
        if config.positions.kind == "learned":
            rows, table = lookup_table(checkpoint, "positions", team)
            self._network = self._network._replace(position_rows=rows, position_table=table)
        self._set_memory(buffer_rows(config, context, team.threads), self._new_cache())
        self._has_begun = False

    def _new_cache(self) -> Cache:
        config, window = self.config, self._network.options.window
        room = window + self.context.longest_chunk + self._network.options.pinned + LANES + _SLACK
        capacity = padded(room if self.context.policy == CACHE else min(room, self.context.length))
        count, width = config.layers * config.key_value_heads * capacity, config.head_width
        return Cache(zeros(count * width), zeros(count * padded(width)), config.key_value_heads, width, capacity)

    def reset(self) -> None:
        """Back to the state before any token."""
        super().reset()
        self._seen, self._history, self._has_begun = 0, np.zeros(0, np.int64), False

    def snapshot(self) -> dict[str, np.ndarray]:
        """Copies of all that is kept from token to token, between two calls."""
        found = super().snapshot() | {"seen": np.array([self._seen, self._has_begun]), "history": self._history}
        return found | ({"distances": self._network.relative.vectors.copy()} if self._plan.once else {})

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a snapshot of the same model in the same context."""
        super().restore(arrays)
        seen = np.zeros(2, np.int64)
        put("seen", seen, arrays)
        history = np.zeros(min(int(seen[0]), self.context.longest_chunk - 1), np.int64)
        put_tokens("history", history, arrays, self.vocabulary)
        if self._plan.once:
            put("distances", self._network.relative.vectors, arrays)
        self._seen, self._has_begun, self._history = int(seen[0]), bool(seen[1]), history

    def pass_over(self, inputs: np.ndarray) -> int:
        """Take in the tokens before the last moment at which the context is forgotten; a continuous cache has none."""
        if self._continuous.size:
            return 0
        forgotten = np.flatnonzero(self.context.chunks(self._seen, 0, inputs.size)[:, FRESH])
        count = int(forgotten[-1]) if forgotten.size else 0
        self._remember(np.concatenate([self._history, inputs[:count]]), count)
        return count

    def _expected_position(self, arrays: Mapping[str, np.ndarray]) -> tuple[int, int]:
        seen, options, capacity = np.zeros(2, np.int64), self._network.options, self._memory.cache.capacity
        put("seen", seen, arrays)
        return position_after(int(seen[0]), self.context, (capacity, staying(capacity, options.window, options.pinned)))

    def _entering(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._check_positions(inputs.size)
        tokens = np.concatenate([self._history, inputs])
        chunks = self.context.chunks(self._seen, self._history.size, inputs.size)
        self._remember(tokens, inputs.size)
        return tokens, chunks

    def _remember(self, tokens: np.ndarray, entered: int) -> None:
        """Keep the last tokens that may enter again."""
        self._seen += entered
        kept = self.context.longest_chunk - 1
        self._history = tokens[max(0, tokens.size - kept) :].copy() if kept else tokens[:0]

    def _call(self, inputs: np.ndarray, predictions: Predictions, block: int) -> Callable[[Team, Any], None]:
        go_on = super()._call(inputs, predictions, block)
        if self._has_begun or not self._plan.once:
            return go_on
        # Before any token enters nothing is made: the call then only compiles.
        distances = np.arange(self._network.options.window + 1 if inputs.size else 0)
        self._has_begun, network, memory = inputs.size > 0, self._network, self._memory

        def begin(team: Team, tally: Any) -> None:
            make_distances(network, memory, team, distances, tally)
            go_on(team, tally)

        return begin

    def _check_positions(self, tokens: int) -> None:
        learned = self.config.positions.count
        if self.context.policy == CACHE and learned and self._seen + tokens > learned:
            raise ConfigError(
                f"the text has more tokens than the checkpoint's {learned} learned positions, which a cache cannot "
                "slide over; choose the context policy segment or recompute"
            )
