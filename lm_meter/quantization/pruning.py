"""Magnitude pruning: the blocks with the smallest squares go.

Han et al., Learning both weights and connections for efficient neural networks (2015), without the training after it.
"""

from __future__ import annotations

import numpy as np


def kept_blocks(weights: np.ndarray, block: tuple[int, int], prune: float) -> np.ndarray:
    """Which blocks of a matrix to keep.

    Parameters
    ----------
    weights : (R, K) float32
    block : (int, int)
        Rows and columns of a block; they divide R and K.
    prune : float
        Fraction of the blocks that go; of those with equal squares the last ones go.

    Returns
    -------
    (R / rows, K / columns) bool
    """
    rows, columns = block
    down, across = weights.shape[0] // rows, weights.shape[1] // columns
    squares = np.square(weights, dtype=np.float64).reshape(down, rows, across, columns).sum(axis=(1, 3)).reshape(-1)
    wanted = max(1, round((1 - prune) * squares.size))
    threshold = np.partition(squares, squares.size - wanted)[squares.size - wanted]
    kept = squares > threshold
    ties = np.flatnonzero(squares == threshold)
    kept[ties[: wanted - int(kept.sum())]] = True
    return kept.reshape(down, across)


def spread_blocks(kept: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Which weights are kept, (R, K) bool, from which blocks are."""
    return np.repeat(np.repeat(kept, block[0], axis=0), block[1], axis=1)
