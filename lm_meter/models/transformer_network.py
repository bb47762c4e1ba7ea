"""The network of steps of a transformer: normalisations, positions and buffers as the kernels want them."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np

from ..checkpoint import Checkpoint
from ..context import Context
from ..errors import CheckpointError
from ..kernels.attention import Relative
from ..kernels.formats import is_integer
from ..kernels.lanes import LANES
from ..kernels.matrix import NONE, Matrix
from ..kernels.network import Network
from ..kernels.norm import LAYER, ROOT_MEAN_SQUARE, Norm
from ..kernels.rotary import ADJACENT, HALVES, NO_ROTATION, Rotation
from ..kernels.tile import TILE_TOKENS
from ..quantization.arrays import read_weights
from ..weight_values import check_values
from .plan import PLAIN_OPTIONS, Plan, network_of
from .runtime import zeros
from .transformer_config import TransformerConfig


def norm_of(config: TransformerConfig, weight: tuple[int, int], bias: tuple[int, int] | None) -> Norm:
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


def relative_of(checkpoint: Checkpoint, with_values: bool) -> Relative:
    """Vectors of the distances of all layers, in the order in which scores are made; small, so kept as float32."""
    config: TransformerConfig = checkpoint.model_config
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


def transformer_network(
    config: TransformerConfig, plan: Plan, parts: tuple[list[Matrix], list[Norm]], context: Context, threads: int
) -> Network:
    """The network, of matrices and normalisations, without its weights, tables and relative positions."""
    rows = buffer_rows(context, threads)
    options = PLAIN_OPTIONS._replace(
        epsilon=np.float32(config.epsilon),
        embedding_width=config.width,
        embedding_scale=np.float32(config.embedding_scale),
        query_scale=np.float32(config.attention_scale),
        learned_positions=int(config.positions.kind == "learned"),
        layers=config.layers,
        heads=config.heads,
        key_heads=config.key_value_heads,
        head_width=config.head_width,
        window=_window(config, context),
    )
    return network_of(plan, *parts, rows, options)._replace(rotation=_rotation(config, rows))


def buffer_rows(context: Context, threads: int) -> int:
    """Rows of the buffers: a tile more than tokens that enter together, and one for each thread."""
    longest = context.longest_chunk
    return max(threads, 1 if longest == 1 else longest + TILE_TOKENS)
