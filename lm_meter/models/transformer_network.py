"""The network of steps of a transformer: normalisations, positions and buffers as the kernels want them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext

import numpy as np

from ..charged_width import charged_width
from ..checkpoint import Checkpoint
from ..context import Context
from ..kernels import sinusoid
from ..kernels.distances import TOGETHER
from ..kernels.matrix import NONE, Matrix
from ..kernels.network import Network
from ..kernels.norm import LAYER, ROOT_MEAN_SQUARE, Norm
from ..kernels.rotary import ADJACENT, HALVES, NO_ROTATION, Rotation
from ..kernels.sinusoid import INTERLEAVED, Sinusoid
from ..kernels.tile_shape import TILE_TOKENS
from ..kernels.width import NO_WIDTH
from .plan import PLAIN_OPTIONS, Plan, network_of
from .runtime import padded, zeros
from .transformer_config import TransformerConfig


def norm_of(
    checkpoint: Checkpoint, names: tuple[str, str | None], places: Mapping[str, tuple[int, int]] | None = None
) -> Norm:
    """A normalisation, from the names of its weights and biases; ``places``: offset and format of each, or nowhere."""
    config: TransformerConfig = checkpoint.model_config
    kind = LAYER if config.norm == "layer" else ROOT_MEAN_SQUARE
    lie = [(NONE, 0) if name is None else places[name] if places else (0, 0) for name in names]
    widths = [NO_WIDTH if name is None else charged_width(checkpoint, name).width for name in names]
    return Norm(kind, config.width, *lie[0], *lie[1], *widths[0], *widths[1])


def _frequencies(base: float, count: int, steps: int) -> np.ndarray:
    """base**(-i / steps), i from 0, rounded to float32 correctly whatever the machine's own power function does."""
    with localcontext() as exact:
        exact.prec = 40
        powers = [float(Decimal(base) ** (Decimal(-i) / steps)) for i in range(count)]
    return np.array(powers, np.float32).astype(np.float64)


def _rotation(config: TransformerConfig, rows: int) -> Rotation:
    kind, pairs = config.positions.kind, HALVES if config.positions.pairs == "halves" else ADJACENT
    half = config.positions.rotated // 2 if kind == "rotary" else 0
    frequencies = _frequencies(config.positions.base, half, half)
    return Rotation(pairs if half else NO_ROTATION, frequencies, zeros(rows, half), zeros(rows, half))


def _sinusoid(config: TransformerConfig) -> Sinusoid:
    positions = config.positions
    half = config.width // 2 if positions.kind in ("sinusoidal", "transformer_xl") else 0
    frequencies = _frequencies(positions.base, half, half if positions.exponent == "i/half" else half - 1)
    layout = INTERLEAVED if positions.layout == "interleaved" else sinusoid.HALVES
    return Sinusoid(layout, frequencies, positions.first)


def _window(config: TransformerConfig, context: Context) -> int:
    """Past tokens that a query sees besides its own."""
    return context.length - 1 if config.window is None else min(config.window, context.length - 1)


def transformer_network(
    config: TransformerConfig, plan: Plan, parts: tuple[list[Matrix], list[Norm]], context: Context, threads: int
) -> Network:
    """The network, of matrices and normalisations, without its weights, tables and relative positions."""
    rows = buffer_rows(config, context, threads)
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
        pinned=padded(config.globals),
    )
    patterns = np.array([pattern.fields for pattern in config.patterns], np.int64)
    network = network_of(plan, *parts, rows, options)
    return network._replace(rotation=_rotation(config, rows), sinusoid=_sinusoid(config), patterns=patterns)


def buffer_rows(config: TransformerConfig, context: Context, threads: int) -> int:
    """Rows of the buffers: a tile more than tokens, or distances, that enter together, and one for each thread."""
    longest = max(context.longest_chunk, TOGETHER if config.positions.kind == "transformer_xl" else 1)
    return max(threads, 1 if longest == 1 else longest + TILE_TOKENS)
