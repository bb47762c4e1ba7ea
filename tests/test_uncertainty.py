"""Intervals of a mean loss: what they cover, and what one that takes tokens as independent would not."""

import math

import numpy as np
import pytest

from lm_meter.uncertainty import FEWEST_BLOCKS, mean_loss_interval, paired_interval

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


def _two_streams(seed, blocks, skewed):
    """Sums over blocks of two models: the second is better by 0.05 nats on average, by more or less in each block."""
    losses = _stream(seed, blocks, skewed)
    rng = np.random.default_rng([seed, 1])
    changes = [-0.05 + 0.1 * rng.normal() + 0.05 * rng.normal(size=block.size) for block in losses]
    sums = [np.array([block.sum() for block in each]) for each in (losses, changes)]
    return sums[0], sums[0] + sums[1], np.array([block.size for block in losses])


@pytest.mark.parametrize(("blocks", "skewed"), [(30, False), (30, True)])
def test_a_paired_interval_covers_the_true_differences_and_is_much_narrower(blocks, skewed):
    truth = math.exp(MEAN - 0.05) - math.exp(MEAN)
    covered, widths = np.zeros(2), np.zeros(2)
    for seed in range(STREAMS):
        first, second, words = _two_streams(seed, blocks, skewed)
        found = paired_interval(first, second, words, "blocks")
        low, high = found.perplexity
        covered += found.nats.low <= -0.05 <= found.nats.high, low <= truth <= high
        if seed < 50:
            # As if the two had been run over texts of their own: widths of independent intervals add as squares.
            alone = [mean_loss_interval(nats, words, "blocks") for nats in (first, second)]
            widths += found.nats.high - found.nats.low, math.hypot(*(each.high - each.low for each in alone))
    assert (covered / STREAMS >= 0.93).all()
    assert (covered / STREAMS <= 0.97).all()
    assert widths[1] > 5 * widths[0]


def test_paired_intervals_of_models_that_hardly_differ_do_not_drown_in_rounding():
    first, second, words = _two_streams(1, 60, False)
    plain = paired_interval(first, second, words, "blocks")
    tiny = paired_interval(first, first + (second - first) * 2.0**-30, words, "blocks")
    assert tiny.nats.low * 2.0**30 == pytest.approx(plain.nats.low, rel=1e-3)
    # Of so small a change the perplexity's is its derivative times that of the loss.
    slope = math.exp(first.sum() / words.sum())
    assert tiny.perplexity[0] == pytest.approx(slope * tiny.nats.low, rel=0.05)
    same = paired_interval(first, first, words, "blocks")
    assert (same.nats.low, same.nats.high, *same.perplexity) == (0, 0, 0, 0)


def test_paired_intervals_of_too_few_blocks_or_too_large_losses():
    few = np.ones(FEWEST_BLOCKS - 1)
    assert paired_interval(few, few, few, "lines") is None
    large = np.linspace(700, 1000, 30)
    assert paired_interval(large, large - 1, np.ones(30), "lines").perplexity == (None, None)
