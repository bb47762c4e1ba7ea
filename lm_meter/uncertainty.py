"""How far a perplexity may be from that of all texts of its kind: an interval that respects dependence.

Losses of neighbouring tokens depend on each other, so that they cannot be resampled one by one. Blocks of the text are:
articles, or lines where there are too few of these. The mean loss is a ratio, nats by word tokens, of sums over blocks;
its interval is the bootstrap-t one (Efron and Tibshirani, An introduction to the bootstrap, 1993, section 12.5), with
the linearised standard error of a ratio (Cochran, Sampling techniques, 1977, section 6.4), which also holds for some
tens of blocks of unequal length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
RESAMPLES = 2000
SEED = 20190601
FEWEST_BLOCKS = 20
METHOD = "bootstrap-t"
# Drawn at once: numbers of blocks, 8 bytes each.
_DRAWN = 1 << 21


@dataclass(frozen=True)
class Interval:
    """An interval of a mean loss in nats, and how it was made."""

    low: float
    high: float
    unit: str
    blocks: int

    def to_json(self) -> dict[str, Any]:
        """The entry of a result."""
        low, high = self.perplexities()
        return {
            "method": METHOD,
            "level": LEVEL,
            "block": self.unit,
            "blocks": self.blocks,
            "resamples": RESAMPLES,
            "seed": SEED,
            "word_low": low,
            "word_high": high,
        }

    def perplexities(self) -> tuple[float | None, float | None]:
        """The interval of the perplexity; None where it overflows."""
        low, high = (math.exp(nats) if nats < 709 else None for nats in (self.low, self.high))
        return low, high


def mean_loss_interval(nats: np.ndarray, words: np.ndarray, unit: str) -> Interval | None:
    """Interval of the sum of ``nats`` by that of ``words``; None of too few blocks.

    Parameters
    ----------
    nats, words : (blocks,) float64
        Sums over each block of the text.
    unit : str
        What a block is.
    """
    used = words > 0
    nats, words = nats[used].astype(np.float64), words[used].astype(np.float64)
    if nats.size < FEWEST_BLOCKS:
        return None
    mean, error = _ratio(nats.sum(), words.sum(), _squares(nats, words).sum(axis=1), nats.size)
    drawn = np.concatenate(list(_studentised(nats, words, float(mean))))
    below, above = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(mean - above * error), float(mean - below * error), unit, int(nats.size))


def _squares(nats: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Of each block what the sum of squared residuals is made of: x x, x w and w w."""
    return np.stack([nats * nats, nats * words, words * words])


def _ratio(nats: Any, words: Any, squares: np.ndarray, blocks: int) -> tuple[Any, Any]:
    """A ratio and its standard error, from sums over blocks."""
    mean = nats / words
    residuals = squares[0] - 2 * mean * squares[1] + mean * mean * squares[2]
    return mean, np.sqrt(np.maximum(residuals, 0) * blocks / (blocks - 1)) / words


def _studentised(nats: np.ndarray, words: np.ndarray, mean: float) -> Iterator[np.ndarray]:
    """Distances of resampled ratios from the ratio, in their own standard errors."""
    rng, blocks = np.random.default_rng(SEED), nats.size
    columns = np.stack([nats, words, *_squares(nats, words)], axis=1)
    at_once = max(1, _DRAWN // blocks)
    for first in range(0, RESAMPLES, at_once):
        count = min(at_once, RESAMPLES - first)
        numbers = rng.integers(0, blocks, (count, blocks))
        offsets = (np.arange(count) * blocks)[:, None]
        times = np.bincount((numbers + offsets).ravel(), minlength=count * blocks).reshape(count, blocks)
        sums = times @ columns
        resampled, errors = _ratio(sums[:, 0], sums[:, 1], sums[:, 2:].T, blocks)
        yield np.where(errors > 0, (resampled - mean) / np.where(errors > 0, errors, 1), 0.0)
