"""Records of a run in few points: loss against position and word frequency, operations against position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..record_table import Records, Words

_LINEAR_BINS = 60
_GROWING_BINS = 36
_LEAST_ARTICLES = 2


@dataclass(frozen=True)
class Curve:
    """Means over bins.

    Attributes
    ----------
    first, last : (n,) int64
        Of each bin: the first and last whole number in it.
    mean : (n,) float64
        Of the values in the bin.
    count : (n,) int64
        How many there are; none is 0.
    share : (n,) float64
        Their sum as a part of the sum of all.
    """

    first: np.ndarray
    last: np.ndarray
    mean: np.ndarray
    count: np.ndarray
    share: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """Where a bin is drawn: (n,) float64."""
        return (self.first + self.last) / 2

    @property
    def running(self) -> np.ndarray:
        """Mean of all values up to the end of each bin: (n,) float64."""
        return np.cumsum(self.mean * self.count) / np.cumsum(self.count)


@dataclass(frozen=True)
class Curves:
    """Curves of a run; positions are counted from 1.

    ``in_article``: loss against the position in the article, None of a text with fewer than two. ``by_frequency``: loss
    of a word token against how often it occurs in the text.
    """

    by_position: Curve
    in_article: Curve | None
    by_frequency: Curve
    operations: Curve


def curves_of(records: Records, words: Words | None) -> Curves:
    """The curves of records, and of their word tokens where these are not the pieces themselves."""
    size, loss = records.position.size, -records.log_prob
    place = np.arange(1, size + 1)
    if words is None:
        keys, word_loss = records.token, loss
    else:
        keys = words.word if words.text is None else np.unique(np.array(words.text), return_inverse=True)[1]
        word_loss = -words.log_prob
    frequency = np.unique(keys, return_inverse=True, return_counts=True)
    return Curves(
        by_position=_curve(place, loss, _linear(size)),
        in_article=_in_articles(records.article, loss),
        by_frequency=_curve(frequency[2][frequency[1]], word_loss, _doubling(int(frequency[2].max()))),
        operations=_curve(place, records.operations.astype(np.float64), _growing(size)),
    )


def _in_articles(article: np.ndarray, loss: np.ndarray) -> Curve | None:
    inside = article >= 0
    article, loss = article[inside], loss[inside]
    if np.unique(article).size < _LEAST_ARTICLES:
        return None
    # Articles are runs of rows.
    starts = np.flatnonzero(np.diff(article, prepend=-1))
    lengths = np.diff(starts, append=article.size)
    place = np.arange(article.size) - np.repeat(starts, lengths) + 1
    return _curve(place, loss, _growing(int(place.max())))


def _linear(last: int) -> np.ndarray:
    """Edges of bins of equal width: the first number of each, and last + 1."""
    return np.unique(np.linspace(1, last + 1, min(last, _LINEAR_BINS) + 1).astype(np.int64))


def _growing(last: int) -> np.ndarray:
    """Edges of bins whose widths grow by one factor, as far as whole numbers allow."""
    return np.unique(np.geomspace(1, last + 1, _GROWING_BINS + 1).round().astype(np.int64))


def _doubling(last: int) -> np.ndarray:
    """Edges 1, 2, 4, ... that hold ``last``."""
    return 1 << np.arange(last.bit_length() + 1)


def _curve(place: np.ndarray, values: np.ndarray, edges: np.ndarray) -> Curve:
    """Means of values by where they stand; ``edges``: (bins + 1,) int64."""
    bins, number = edges.size - 1, np.searchsorted(edges, place, "right") - 1
    count, total = np.bincount(number, minlength=bins), np.bincount(number, values, minlength=bins)
    some = count > 0
    whole = total.sum()
    return Curve(
        first=edges[:-1][some],
        last=edges[1:][some] - 1,
        mean=total[some] / count[some],
        count=count[some],
        share=total[some] / whole if whole else np.zeros(int(some.sum())),
    )
