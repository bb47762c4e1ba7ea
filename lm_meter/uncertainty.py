"""How far a perplexity may be from that of all texts of its kind: an interval that respects dependence.

Losses of neighbouring tokens depend on each other, so that they cannot be resampled one by one. Blocks of the text are:
articles, or lines where there are too few of these. The mean loss is a ratio, nats by word tokens, of sums over blocks;
its interval is the bootstrap-t one (Efron and Tibshirani, An introduction to the bootstrap, 1993, section 12.5), with
the linearised standard error of a ratio (Cochran, Sampling techniques, 1977, section 6.4), which also holds for some
tens of blocks of unequal length.

Two models over the same text share its blocks: what makes a block hard makes it hard for both, and that cancels in the
differences. Their interval is made from sums of both over the same resampled blocks (paired). The difference of two
perplexities is no ratio; its standard error is the linearised one too, by the derivatives of exp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
RESAMPLES = 2000
SEED = 20190601
FEWEST_BLOCKS = 20
METHOD = "bootstrap-t"
_MOST_NATS = 709  # exp of more overflows
# Of (first loss, difference, words): which of them a sum of squared residuals is made of.
_PRODUCTS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
# Drawn at once: numbers of blocks, 8 bytes each.
_DRAWN = 1 << 18
_COUNTED = 1 << 13  # numbers of blocks that are drawn and counted together


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
        low, high = (math.exp(nats) if nats < _MOST_NATS else None for nats in (self.low, self.high))
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
    low, high = _bootstrap_t(np.stack([nats, words, *_squares(nats, words)], axis=1), _ratio)
    return Interval(low, high, unit, int(nats.size))


@dataclass(frozen=True)
class PairedInterval:
    """Intervals of the differences, second less first, of two mean losses in nats and of their perplexities."""

    nats: Interval
    perplexity: tuple[float | None, float | None]

    def to_json(self) -> dict[str, Any]:
        """The entry of a comparison."""
        how = {key: value for key, value in self.nats.to_json().items() if not key.startswith("word_")}
        ratio = self.nats.perplexities()
        return {
            **how,
            "paired": True,
            "difference_low": self.perplexity[0],
            "difference_high": self.perplexity[1],
            "ratio_low": ratio[0],
            "ratio_high": ratio[1],
            "nats_low": self.nats.low,
            "nats_high": self.nats.high,
        }


def paired_interval(first: np.ndarray, second: np.ndarray, words: np.ndarray, unit: str) -> PairedInterval | None:
    """Intervals of how two models differ over the same blocks; None of too few.

    Parameters
    ----------
    first, second, words : (blocks,) float64
        Sums of both models' nats, and of word tokens, over each block of the text.
    unit : str
        What a block is.
    """
    used = words > 0
    first, second, words = (values[used].astype(np.float64) for values in (first, second, words))
    nats = mean_loss_interval(second - first, words, unit)
    if nats is None:
        return None
    level, by = float(first.sum() / words.sum()), float((second - first).sum() / words.sum())
    if max(level, level + by) >= _MOST_NATS:
        return PairedInterval(nats, (None, None))
    # Less their means, so that nothing cancels where the models hardly differ.
    firsts, differences = first - level * words, second - first - by * words
    columns = [firsts, differences, words]
    columns += [columns[i] * columns[j] for i, j in _PRODUCTS]

    def difference(sums: np.ndarray, blocks: int) -> tuple[Any, Any]:
        """Difference of the perplexities and its standard error."""
        change, more = sums[..., 0] / sums[..., 2], sums[..., 1] / sums[..., 2]
        perplexity = np.exp(level + change)
        value = perplexity * np.expm1(by + more)
        # Derivatives by the first loss, the difference of the losses, and what the means of both take off a block.
        slopes = value, perplexity + value, -(value * change + (perplexity + value) * more)
        squares = sum(
            slopes[i] * slopes[j] * sums[..., 3 + n] * (1 if i == j else 2) for n, (i, j) in enumerate(_PRODUCTS)
        )
        return value, np.sqrt(np.maximum(squares, 0) * blocks / (blocks - 1)) / sums[..., 2]

    return PairedInterval(nats, _bootstrap_t(np.stack(columns, axis=1), difference))


def _squares(nats: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Of each block what the sum of squared residuals is made of: x x, x w and w w."""
    return np.stack([nats * nats, nats * words, words * words])


def _ratio(sums: np.ndarray, blocks: int) -> tuple[Any, Any]:
    """A ratio and its standard error, from sums over blocks of nats, words and ``_squares``."""
    nats, words, *squares = np.moveaxis(sums, -1, 0)
    mean = nats / words
    residuals = squares[0] - 2 * mean * squares[1] + mean * mean * squares[2]
    return mean, np.sqrt(np.maximum(residuals, 0) * blocks / (blocks - 1)) / words


def _bootstrap_t(columns: np.ndarray, statistic: Callable[[np.ndarray, int], tuple[Any, Any]]) -> tuple[float, float]:
    """The interval of a statistic of the sums of (blocks, k) ``columns``.

    ``statistic(sums, blocks)`` gives values and standard errors of (..., k) sums.
    """
    rng, blocks = np.random.default_rng(SEED), columns.shape[0]
    value, error = statistic(columns.sum(axis=0), blocks)
    at_once, distances = max(1, _DRAWN // blocks), []
    for first in range(0, RESAMPLES, at_once):
        count = min(at_once, RESAMPLES - first)
        times, some = np.empty((count, blocks)), max(1, _COUNTED // blocks)
        for start in range(0, count, some):  # all numbers would be several times as large as their counts
            rows = times[start : start + some]
            numbers = rng.integers(0, blocks, rows.shape) + (np.arange(len(rows)) * blocks)[:, None]
            rows[...] = np.bincount(numbers.ravel(), minlength=rows.size).reshape(rows.shape)
        resampled, errors = statistic(times @ columns, blocks)
        # Of a resampled statistic from the statistic, in its own standard error.
        distances.append(np.where(errors > 0, (resampled - value) / np.where(errors > 0, errors, 1), 0.0))
    below, above = np.quantile(np.concatenate(distances), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(value - above * error), float(value - below * error)
