"""Intervals of a mean loss: what they cover, and what one that takes tokens as independent would not."""

import math

import numpy as np
import pytest

from lm_meter.uncertainty import FEWEST_BLOCKS, mean_loss_interval

STREAMS = 1000
MEAN = 4.0


def _stream(seed, blocks, skewed):
    """Losses of tokens in blocks, each with a level of its own and noise that lasts: known mean, strong dependence."""
    rng = np.random.default_rng(seed)
    found = []
    for size in rng.integers(20, 120, blocks):
        level = rng.exponential(1.0) - 1.0 if skewed else rng.normal()
        noise = np.convolve(rng.normal(size=size + 9), np.full(10, 0.3), "valid")
        found.append(MEAN + 0.7 * level + noise)
    return found


def _naive(losses):
    tokens = np.concatenate(losses)
    half = 1.959964 * tokens.std(ddof=1) / math.sqrt(tokens.size)
    return tokens.mean() - half, tokens.mean() + half


@pytest.mark.parametrize(("blocks", "skewed"), [(60, False), (60, True), (30, False)])
def test_it_covers_the_truth_and_the_naive_one_does_not(blocks, skewed):
    covered = naive = 0
    for seed in range(STREAMS):
        losses = _stream(seed, blocks, skewed)
        found = mean_loss_interval(
            np.array([block.sum() for block in losses]), np.array([block.size for block in losses]), "blocks"
        )
        covered += found.low <= MEAN <= found.high
        low, high = _naive(losses)
        naive += low <= MEAN <= high
    assert 0.93 <= covered / STREAMS <= 0.97
    assert naive / STREAMS < 0.6


def test_it_is_the_same_each_time_and_lies_around_the_mean():
    losses = _stream(1, 60, False)
    sums, sizes = np.array([b.sum() for b in losses]), np.array([b.size for b in losses])
    first, second = (mean_loss_interval(sums, sizes, "lines") for _ in range(2))
    assert first == second
    assert first.low < sums.sum() / sizes.sum() < first.high
    assert (first.unit, first.blocks) == ("lines", 60)


def test_blocks_without_words_are_left_out():
    losses = _stream(1, 60, False)
    sums, sizes = np.array([b.sum() for b in losses]), np.array([b.size for b in losses])
    reference = mean_loss_interval(sums, sizes, "lines")
    assert mean_loss_interval(np.append(sums, 0.0), np.append(sizes, 0), "lines") == reference


def test_of_too_few_blocks_there_is_none():
    few = np.ones(FEWEST_BLOCKS - 1)
    assert mean_loss_interval(few, few, "lines") is None


def test_equal_blocks_leave_no_doubt():
    found = mean_loss_interval(np.full(30, 8.0), np.full(30, 4), "lines")
    assert (found.low, found.high) == (2.0, 2.0)


def test_a_perplexity_that_overflows_is_none():
    found = mean_loss_interval(np.linspace(500, 1000, 30), np.ones(30), "lines")
    assert found.perplexities()[1] is None
