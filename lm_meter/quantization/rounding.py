"""Rounding weights to whole numbers with a scale for each group, or to the entries of a code book.

A group's scale is the one with the least sum of squared errors among its largest magnitude / largest whole number and
fractions of it: cutting off a few outliers makes the steps of all the others finer (as in Banner et al., Post training
4-bit quantization of convolutional networks for rapid-deployment, 2019). A code book is found by k-means (Lloyd 1982)
over the weights divided by the largest magnitude of their group (Han et al., Deep compression, 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..kernels.formats import CODEBOOK4, CODEBOOK_ENTRIES, INT8
from ..weight_format import WeightFormat

_LARGEST = {8: 127, 4: 7}  # whole number on the positive side; the negative one has one more
# Fractions of the largest magnitude that are tried as the end of the range. With 256 steps nothing is gained.
_ENDS = {8: (1.0,), 4: tuple(np.linspace(0.5, 1.0, 21))}
SMALLEST_SCALE = np.float16(2.0**-24)  # the smallest float16 above 0
_SAMPLE = 1 << 20  # weights that a code book is made from
_ROUNDS = 40  # of k-means
_SLAB = 1 << 22  # weights that are rounded together


@dataclass(frozen=True)
class Rounded:
    """Whole numbers or indices (R, K), scales (R, G), offsets (R, G) or None, code book or None."""

    numbers: np.ndarray
    scales: np.ndarray
    offsets: np.ndarray | None
    book: np.ndarray | None

    def values(self) -> np.ndarray:
        """What they stand for: (R, K) float32."""
        whole = self.numbers if self.book is None else self.book[self.numbers]
        rows, groups = self.scales.shape
        parts = whole.reshape(rows, groups, -1).astype(np.float32) * self.scales.astype(np.float32)[..., None]
        if self.offsets is not None:
            parts += self.offsets.astype(np.float32)[..., None]
        return parts.reshape(rows, -1)


def round_weights(weights: np.ndarray, declared: WeightFormat, kept: np.ndarray | None = None) -> Rounded:
    """Round a matrix to an integer format.

    Parameters
    ----------
    weights : (R, K) float32
        Zero where they were pruned.
    declared : WeightFormat
    kept : (R, K) bool, optional
        Which weights are to be served; what becomes of the others does not matter. None: all.
    """
    rows, columns = weights.shape
    groups = declared.groups((rows, columns))[1]
    book = None
    if declared.code == CODEBOOK4:
        book = _find_book(weights, groups, declared.offsets, kept)
    step = max(1, _SLAB // columns)

    def parts_of(matrix: np.ndarray, first: int) -> np.ndarray:
        return matrix[first : first + step].reshape(-1, groups, columns // groups)

    parts = [
        _round_groups(parts_of(weights, first), declared, book, None if kept is None else parts_of(kept, first))
        for first in range(0, rows, step)
    ]
    numbers = np.concatenate([part[0] for part in parts]).reshape(rows, columns)
    scales = np.concatenate([part[1] for part in parts])
    offsets = np.concatenate([part[2] for part in parts]) if declared.offsets else None
    return Rounded(numbers, scales, offsets, book)


def _centres(parts: np.ndarray) -> np.ndarray:
    """The middle of each group, as float16."""
    return ((parts.max(axis=-1) + parts.min(axis=-1)) / 2).astype(np.float16)


def _round_groups(
    parts: np.ndarray, declared: WeightFormat, book: np.ndarray | None, kept: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, scales and offsets of (rows, G, columns) weights."""
    offsets = np.zeros(parts.shape[:2], np.float16)
    if declared.offsets:
        offsets = _centres(parts)
        parts = parts - offsets.astype(np.float32)[..., None]
    bits = 8 if declared.code == INT8 else 4
    most = np.float32(127 if book is not None else _LARGEST[bits])
    largest = np.abs(parts).max(axis=-1)
    best = np.full(parts.shape[:2], np.inf, np.float32)
    numbers = np.zeros(parts.shape, np.uint8 if book is not None else np.int8)
    scales = np.zeros(parts.shape[:2], np.float16)
    # A scale that float16 does not have makes no error that is better than none: it stays 0, for the caller to see.
    for end in _ENDS[bits]:
        tried = _scales(largest * (np.float32(end) / most))
        steps = parts / tried.astype(np.float32)[..., None]
        found = _nearest(steps, book) if book is not None else _whole(steps, _LARGEST[bits])
        squares = np.square(steps - (found if book is None else book[found]))
        if kept is not None:
            squares *= kept
        errors = squares.sum(axis=-1) * np.square(tried.astype(np.float32))
        better = errors < best
        best = np.where(better, errors, best)
        scales = np.where(better, tried, scales)
        numbers = np.where(better[..., None], found, numbers)
    return numbers, scales, offsets


def _scales(exact: np.ndarray) -> np.ndarray:
    """The nearest float16 above 0, but the next larger one where the nearest would cut off half a step or more.

    That happens below 2**-14 only, where float16 has few digits left.
    """
    nearest = np.maximum(exact.astype(np.float16), SMALLEST_SCALE)
    cut = nearest.astype(np.float32) * np.float32(1 + 0.5 / 127) < exact
    return np.where(cut, np.nextafter(nearest, np.float16(np.inf)), nearest)


def _whole(steps: np.ndarray, largest: int) -> np.ndarray:
    return np.clip(np.rint(steps), -largest - 1, largest).astype(np.int8)


def _nearest(steps: np.ndarray, book: np.ndarray) -> np.ndarray:
    """Index of the entry of a sorted code book that is nearest to each number."""
    middles = (book[1:].astype(np.float32) + book[:-1]) / 2
    return np.searchsorted(middles, steps).astype(np.uint8)


def _find_book(weights: np.ndarray, groups: int, offsets: bool, kept: np.ndarray | None) -> np.ndarray:
    """Up to 16 sorted int8 entries, for weights divided by the largest magnitude of their group / 127."""
    parts = weights.reshape(len(weights), groups, -1)
    step = max(1, parts.size // _SAMPLE // 4)
    sample, chosen = parts[::step], None if kept is None else kept.reshape(parts.shape)[::step]
    if offsets:
        sample = sample - _centres(sample).astype(np.float32)[..., None]
    largest = np.maximum(np.abs(sample).max(axis=-1, keepdims=True), np.float32(2.0**-100))
    relative = (sample / largest)[chosen] if chosen is not None else (sample / largest).reshape(-1)
    relative = np.sort(relative[:: max(1, relative.size // _SAMPLE)])
    if not relative.size:
        return np.zeros(1, np.int8)
    sums = np.concatenate([[0.0], np.cumsum(relative, dtype=np.float64)])
    centres = np.quantile(relative, (np.arange(CODEBOOK_ENTRIES) + 0.5) / CODEBOOK_ENTRIES)
    for _ in range(_ROUNDS):
        cuts = np.searchsorted(relative, (centres[1:] + centres[:-1]) / 2)
        edges = np.concatenate([[0], cuts, [relative.size]])
        sizes = np.diff(edges)
        means = (sums[edges[1:]] - sums[edges[:-1]]) / np.maximum(sizes, 1)
        centres = np.where(sizes > 0, means, centres)
    return np.unique(np.rint(127 * centres)).astype(np.int8)
