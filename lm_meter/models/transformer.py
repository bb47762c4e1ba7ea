"""Decoder-only transformers: how their checkpoints are read, and how they run.

Vaswani et al., Attention is all you need (2017); the forms of GPT-2 (Radford et al., 2019) and Llama (Touvron et al.,
2023) are settings of one description.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from ..arena import describe_matrix, pack_weights
from ..checkpoint import Checkpoint, Expected
from ..context import CACHE, RECOMPUTE, SEGMENT, Context, parse_policy
from ..errors import CheckpointError, ConfigError
from ..kernels import token_loop as loop
from ..kernels.attention import FRONT, Cache, Relative
from ..kernels.barrier import Team
from ..kernels.charge import new_tally
from ..kernels.formats import is_integer
from ..kernels.lanes import LANES
from ..kernels.lookup import Table
from ..kernels.matrix import NONE, Matrix
from ..kernels.network import Memory, Network, Options
from ..kernels.norm import LAYER, ROOT_MEAN_SQUARE, Norm
from ..kernels.readout import Predictions
from ..kernels.rotary import ADJACENT, HALVES, NO_ROTATION, Rotation
from ..kernels.step_costs import chunks_cost
from ..kernels.tile import TILE_TOKENS
from ..quantization.arrays import read_weights
from ..regions import Region
from ..tables import described_table, lookup_table
from ..threads import ThreadTeam
from ..weight_values import check_values
from .architecture import Architecture
from .runtime import Runtime, most_groups, narrow_inputs, padded, readout_buffers, readout_rows, zeros
from .transformer_config import TransformerConfig, parse_transformer_config, transformer_arrays
from .transformer_steps import Plan, plan_transformer

_NOTHING = np.zeros(0, np.uint8)
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

    def context(self, config: TransformerConfig, policy: str | None = None, length: int | None = None) -> Context:
        """The context that is meant: by default the checkpoint's own length, and a cache where positions allow it."""
        name, overlap = parse_policy(policy) if policy else (None, 0)
        learned = config.positions.kind == "learned"
        found = Context(name or (SEGMENT if learned else CACHE), length or config.context, overlap)
        if learned and found.length > config.positions.count:
            raise ConfigError(
                f"context is {found.length}, but the checkpoint has {config.positions.count} learned positions; "
                "expected at most as many"
            )
        return found

    def load(self, checkpoint: Checkpoint, team: ThreadTeam, context: Context | None = None) -> TransformerRuntime:
        """Pack the weights."""
        return TransformerRuntime(checkpoint, team, context or self.context(checkpoint.model_config))

    def step_tally(self, checkpoint: Checkpoint) -> tuple[list[Region], np.ndarray]:
        """Operations of one prediction with a full context, from the cost laws alone; no weight is read."""
        config: TransformerConfig = checkpoint.model_config
        context = self.context(config)
        chunk = (context.length, 0) if context.policy == RECOMPUTE else (1, context.length - 1)
        return self.chunk_tally(checkpoint, np.array([chunk], np.int64), context)

    def chunk_tally(
        self, checkpoint: Checkpoint, chunks: np.ndarray, context: Context
    ) -> tuple[list[Region], np.ndarray]:
        """Operations of chunks of tokens, each with a prediction: (n, 2) int64, tokens and positions kept before."""
        config: TransformerConfig = checkpoint.model_config
        plan = plan_transformer(config, checkpoint.formats)
        matrices = [describe_matrix(checkpoint, source) for source in plan.matrices]
        norms = [
            _norm(config, (0, checkpoint.formats[w].code), (0, checkpoint.formats[b].code) if b else None)
            for w, b in plan.norms
        ]
        table = described_table(checkpoint, "embedding")
        positions = described_table(checkpoint, "positions") if config.positions.kind == "learned" else table
        network = _network(config, plan, (matrices, norms), context, 1)
        network = network._replace(table=table, position_table=positions, relative=_relative(checkpoint, False))
        tally = new_tally(len(plan.regions))
        chunks_cost(network, chunks, tally)
        return plan.regions, tally


def _norm(config: TransformerConfig, weight: tuple[int, int], bias: tuple[int, int] | None) -> Norm:
    """A normalisation from offset and format of its weights and biases."""
    kind = LAYER if config.norm == "layer" else ROOT_MEAN_SQUARE
    return Norm(kind, config.width, *weight, *(bias or (NONE, 0)))


def _frequencies(base: float, rotated: int) -> np.ndarray:
    """base**(-2 i / rotated) for each pair, correctly rounded whatever the machine's own power function does."""
    with localcontext() as exact:
        exact.prec = 40
        return np.array([float(Decimal(base) ** (Decimal(-2 * i) / rotated)) for i in range(rotated // 2)], np.float32)


def _rotation(config: TransformerConfig, rows: int) -> Rotation:
    kind, pairs = config.positions.kind, HALVES if config.positions.pairs == "halves" else ADJACENT
    rotated = config.positions.rotated if kind == "rotary" else 0
    half = rotated // 2
    frequencies = _frequencies(config.positions.base, rotated)
    return Rotation(pairs if rotated else NO_ROTATION, frequencies, zeros(rows, half), zeros(rows, half))


def _window(config: TransformerConfig, context: Context) -> int:
    """Past tokens that a query sees besides its own."""
    return context.length - 1 if config.window is None else min(config.window, context.length - 1)


def _relative(checkpoint: Checkpoint, with_values: bool) -> Relative:
    """Vectors of the distances of all layers, in the order in which scores are made; small, so kept as float32."""
    config: TransformerConfig = checkpoint.model_config
    if config.positions.kind != "relative":
        return _no_relative(config)
    names = [f"layers.{layer}.attention.relative" for layer in range(config.layers)]
    for name in names:
        if is_integer(checkpoint.formats[name].code) or checkpoint.formats[name].block:
            raise CheckpointError(
                f"{checkpoint.path}: array {name}: is {' '.join(checkpoint.formats[name].words())}; relative positions "
                "are floating-point numbers here, none pruned"
            )
    farthest = int(config.window or 0)
    vectors = zeros(config.layers if with_values else 0, config.head_width, farthest + 1 + 2 * LANES)
    for layer, name in enumerate(names if with_values else ()):
        check_values(checkpoint, name)
        vectors[layer, :, LANES : LANES + farthest + 1] = read_weights(checkpoint, name).values[::-1].T
    return Relative(vectors, farthest, np.array([checkpoint.formats[name].bits for name in names], np.int64))


def _no_relative(config: TransformerConfig) -> Relative:
    return Relative(zeros(0, 0, 0), 0, np.zeros(config.layers, np.int64))


def _network(
    config: TransformerConfig, plan: Plan, parts: tuple[list[Matrix], list[Norm]], context: Context, threads: int
) -> Network:
    """The network, of matrices and normalisations, without its weights and tables."""
    (matrices, norms), offsets, offset, rows = parts, [], 0, _rows(context, threads)
    for width, own in zip(plan.widths, plan.own, strict=True):
        offsets.append((offset, padded(width), int(own)))
        offset += padded(width) * rows
    options = Options(
        epsilon=np.float32(config.epsilon),
        embedding_scale=np.float32(config.embedding_scale),
        query_scale=np.float32(config.attention_scale),
        learned_positions=int(config.positions.kind == "learned"),
        layers=config.layers,
        heads=config.heads,
        key_heads=config.key_value_heads,
        head_width=config.head_width,
        window=_window(config, context),
        readout=plan.readout,
        readout_region=plan.readout_region,
    )
    nowhere = Table(matrices[-1], 1)
    return Network(
        weights=_NOTHING,
        rows=_NOTHING,
        table=nowhere,
        position_rows=_NOTHING,
        position_table=nowhere,
        matrices=np.array(matrices, np.int64),
        norms=np.array(norms, np.int64).reshape(-1, len(Norm._fields)),
        steps=np.array(plan.steps, np.int64),
        buffers=np.array(offsets, np.int64),
        rotation=_rotation(config, rows),
        relative=_no_relative(config),
        options=options,
    )


def _rows(context: Context, threads: int) -> int:
    """Rows of the buffers: a tile more than tokens that enter together, and one for each thread."""
    longest = context.longest_chunk
    return max(threads, 1 if longest == 1 else longest + TILE_TOKENS)


class TransformerRuntime(Runtime):
    """A loaded transformer."""

    def __init__(self, checkpoint: Checkpoint, team: ThreadTeam, context: Context) -> None:
        config: TransformerConfig = checkpoint.model_config
        plan = plan_transformer(config, checkpoint.formats)
        super().__init__(team, plan.regions)
        self.config, self.context, self.vocabulary = config, context, config.vocabulary
        names = [name for pair in plan.norms for name in pair if name]
        self.weights, matrices, places = pack_weights(checkpoint, plan.matrices, team, names)
        norms = [_norm(config, places[w], places[b] if b else None) for w, b in plan.norms]
        network = _network(config, plan, (matrices, norms), context, team.threads)
        rows, table = self.weights, Table(matrices[-1], 1)
        if not config.tied:
            rows, table = lookup_table(checkpoint, "embedding", team)
        network = network._replace(weights=self.weights, rows=rows, table=table, position_table=table)
        self._network = network._replace(relative=_relative(checkpoint, True))
        if config.positions.kind == "learned":
            rows, table = lookup_table(checkpoint, "positions", team)
            self._network = self._network._replace(position_rows=rows, position_table=table)
        self._matrices, self._readout = matrices, plan.readout
        self.step_bytes = sum(matrix.nbytes for matrix in matrices[: plan.readout])
        self.readout_bytes = sum(matrix.nbytes for matrix in matrices[plan.readout :])
        self._use_few_threads()
        self._state, self._seen, self._history = np.zeros(2, np.int64), 0, np.zeros(0, np.int64)
        self._cache = self._new_cache()
        self._memory = self._new_memory()
        self.reserve(1)

    def _new_cache(self) -> Cache:
        config, window = self.config, self._network.options.window
        room = window + self.context.longest_chunk
        capacity = padded(room if self.context.policy != CACHE else room + LANES + _SLACK)
        count, width = config.layers * config.key_value_heads * capacity, config.head_width
        return Cache(zeros(count * width), zeros(count * padded(width)), config.key_value_heads, width, capacity)

    def _new_memory(self) -> Memory:
        """What the steps write to, but for the frozen outputs, whose number the block decides."""
        threads, rows = self.team.threads, _rows(self.context, self.team.threads)
        offset, width, _ = self._network.buffers[-1]
        body = self._matrices[: self._readout]
        widest = padded(max(matrix.columns for matrix in body))
        return Memory(
            buffers=zeros(offset + width * rows),
            rows=rows,
            narrow=narrow_inputs(rows, widest, most_groups(body)),
            cache=self._cache,
            scores=zeros(threads, FRONT + self._cache.capacity + LANES),
            lanes=zeros(threads, LANES),
            frozen=zeros(0, 0),
        )

    def reserve(self, block: int) -> None:
        """Make room for blocks of up to ``block`` tokens."""
        self._memory = self._memory._replace(frozen=zeros(readout_rows(block), padded(self.config.width)))
        self._buffers = readout_buffers(block, self._matrices[self._readout :], self.team.threads)

    def weight_bytes(self, block: int) -> float:
        """Bytes of weights read for a token where ``block`` of them are read out together."""
        return self.step_bytes + self.readout_bytes / block

    def reset(self) -> None:
        """Back to the state before any token."""
        self._state[...] = 0
        self._seen, self._history = 0, np.zeros(0, np.int64)

    @property
    def _outputs(self) -> np.ndarray:
        return self._memory.frozen

    def _call(self, inputs: np.ndarray, predictions: Predictions, block: int) -> Callable[[Team, Any], None]:
        self._check_positions(inputs.size)
        tokens = np.concatenate([self._history, inputs])
        chunks = self.context.chunks(self._seen, self._history.size, inputs.size)
        self._seen += inputs.size
        kept = self.context.longest_chunk - 1
        self._history = tokens[max(0, tokens.size - kept) :].copy() if kept else tokens[:0]
        text = loop.Text(tokens, chunks, predictions, block)
        network, memory, buffers, state = self._network, self._memory, self._buffers, self._state
        return lambda team, tally: loop.run(network, memory, buffers, state, team, text, tally)

    def _check_positions(self, tokens: int) -> None:
        learned = self.config.positions.count
        if self.context.policy == CACHE and learned and self._seen + tokens > learned:
            raise ConfigError(
                f"the text has more tokens than the checkpoint's {learned} learned positions, which a cache cannot "
                "slide over; choose the context policy segment or recompute"
            )
