"""Vectors of distances between positions, learned or made of sinusoids, as the kernels want them."""

from __future__ import annotations

import numpy as np

from ..charged_width import charged_width
from ..checkpoint import Checkpoint
from ..errors import CheckpointError
from ..kernels.attention import Relative
from ..kernels.formats import is_integer
from ..kernels.lanes import LANES
from ..kernels.matrix import FLOAT_BITS
from ..kernels.width import NO_STEP
from ..quantization.arrays import read_weights
from ..weight_values import check_values
from .plan import no_relative
from .runtime import zeros
from .transformer_config import TransformerConfig, query_biases, relative_name


def relative_of(checkpoint: Checkpoint, window: int, with_values: bool) -> Relative:
    """Vectors of distances of all layers and biases of queries; none where positions are not relative.

    ``window``: the farthest distance that a query sees. They are small, and so kept as float32.
    """
    config: TransformerConfig = checkpoint.model_config
    if config.positions.kind == "relative":
        return _learned(checkpoint, config, with_values)
    if config.positions.kind == "transformer_xl":
        return _of_sinusoids(checkpoint, config, window, with_values)
    return no_relative(config.layers)


def _memory(layers: int, sets: int, width: int, farthest: int) -> np.ndarray:
    return zeros(layers, sets, width, farthest + 1 + 2 * LANES)


def _learned(checkpoint: Checkpoint, config: TransformerConfig, with_values: bool) -> Relative:
    names = [relative_name(layer) for layer in range(config.layers)]
    for name in names:
        if is_integer(checkpoint.formats[name].code) or checkpoint.formats[name].block:
            raise CheckpointError(
                f"{checkpoint.path}: array {name}: is {' '.join(checkpoint.formats[name].words())}; relative positions "
                "are floating-point numbers here, none pruned"
            )
    farthest, sets = int(config.window or 0), config.heads if config.positions.per_head else 1
    vectors = _memory(config.layers if with_values else 0, sets, config.head_width, farthest)
    for layer, name in enumerate(names if with_values else ()):
        check_values(checkpoint, name)
        by_head = read_weights(checkpoint, name).values[::-1].reshape(farthest + 1, sets, config.head_width)
        vectors[layer, :, :, LANES : LANES + farthest + 1] = by_head.transpose(1, 2, 0)
    widths = np.array([_widths(checkpoint, name, config.head_width) for name in names], np.int64)
    return no_relative(config.layers)._replace(vectors=vectors, farthest=farthest, widths=widths)


def _widths(checkpoint: Checkpoint, name: str, head_width: int) -> tuple[int, int, int]:
    """How an array of vectors is charged: bits, the steps that a head's sum is multiplied by, and their bits."""
    charged, columns = charged_width(checkpoint, name), checkpoint.shape(name)[1]
    if charged.steps == 0:
        return charged.width.bits, 0, NO_STEP
    group = columns // charged.steps
    if charged.shared or group % head_width == 0:
        return charged.width.bits, 1, charged.width.step_bits
    if head_width % group == 0:
        return charged.width.bits, head_width // group, charged.width.step_bits
    # Groups that end inside a head: a weight with its step in it is what meets the query.
    return checkpoint.formats[name].stored_bits, 0, NO_STEP


def _of_sinusoids(checkpoint: Checkpoint, config: TransformerConfig, window: int, with_values: bool) -> Relative:
    layers, heads, width = config.layers, config.heads, config.head_width
    names = [query_biases(config, layer) for layer in range(layers)]
    biases = zeros(layers if with_values else 0, 2, heads * width)
    for layer, pair in enumerate(names if with_values else ()):
        for n, name in enumerate(pair):
            check_values(checkpoint, name)
            biases[layer, n] = read_weights(checkpoint, name).values
    return Relative(
        vectors=_memory(layers if with_values else 0, heads, width, window),
        farthest=window,
        widths=np.tile(np.array([FLOAT_BITS, 0, NO_STEP]), (layers, 1)),
        biases=biases,
        bias_widths=np.array([[charged_width(checkpoint, name).width for name in pair] for pair in names], np.int64),
    )
