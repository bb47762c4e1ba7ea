"""Ranks of targets: those in the whole distribution, for every kind of readout, block and number of threads."""

import itertools

import numpy as np
import pytest
from test_buffers import RECURRENT
from test_transformer import NARROWED
from tiny import ADAPTIVE, TIED_BINS, integer_parts, narrowed, tiny_parts
from tiny_transformer import KINDS, transformer_parts

import lm_meter
from lm_meter.context import Context
from lm_meter.continuous_cache import ContinuousCache
from lm_meter.kernels import continuous_cache, target_rank
from lm_meter.kernels.jit import compiled
from lm_meter.threads import ThreadTeam

WORDS = ("<eos>", "<unk>", *(f"w{i}" for i in range(398)))  # two segments of the vocabulary, the second with a rest
CONTINUOUS = {"size": 12, "theta": 0.3, "lambda": 0.4}
SOFTMAX = {
    "int8": {"format": "int8", "group": 16, "offsets": True},
    "int4, 8-bit inputs": {"format": "int4", "activations": 8},
    "code book": {"format": "codebook4"},
    "pruned": {"format": "float32", "block": (1, 1)},
    "pruned int8": {"format": "int8", "block": (2, 4), "activations": 8},
    "16-bit inputs": {"format": "float16", "activations": 16},
}
ENDS = {
    "adaptive, all bins": {"tied": True, "embedding": 13, "hidden": (13,), "adaptive": TIED_BINS},
    "continuous, adaptive": {"embedding": 9, "hidden": (12,), "adaptive": ADAPTIVE, "continuous_cache": CONTINUOUS},
    "continuous, long": {"hidden": (16,), "continuous_cache": {"size": 300, "theta": 2.0, "lambda": 0.01}},
}
TRANSFORMERS = {f"transformer, {kind}": kind for kind in KINDS}
NAMES = [*RECURRENT, *SOFTMAX, *ENDS, *TRANSFORMERS, *NARROWED]


def _parts(name):
    if name in SOFTMAX:
        return integer_parts({"softmax.weight": SOFTMAX[name]}, words=WORDS, hidden=(32,))
    if name in RECURRENT or name in ENDS:
        return tiny_parts(words=WORDS, **{**RECURRENT, **ENDS}[name])
    if name in NARROWED:
        kind, formats = NARROWED[name]
        return narrowed(*transformer_parts(kind, WORDS), formats)
    return transformer_parts(TRANSFORMERS[name], WORDS)


def _opened(name, path):
    lm_meter.write_checkpoint(path, *_parts(name))
    opened = lm_meter.Checkpoint(path)
    return opened, Context("segment", 6, 2) if opened.config["architecture"] == "transformer" else None


def _tokens(count):
    """Some tokens often, so that a cache knows them, and some seldom."""
    rng = np.random.default_rng(3)
    return np.where(rng.random(count) < 0.6, rng.integers(0, 9, count), rng.integers(0, len(WORDS), count))


def _by_distribution(opened, context, tokens):
    """Log-probabilities and ranks from the whole distribution of each output."""
    runtime = opened.architecture.load(opened, ThreadTeam(1), context)
    log_probs, ranks = [], []
    for entering, target in itertools.pairwise(tokens):
        runtime.run(np.array([entering]), np.zeros(0, np.int64), 1, runtime.new_tallies())
        distribution = runtime.distribution(runtime.frozen(0))
        log_probs.append(distribution[target])
        ranks.append(1 + int((distribution > distribution[target]).sum()))
    return log_probs, ranks


def _ranked(opened, context, tokens, threads, block):
    runtime = opened.architecture.load(opened, ThreadTeam(threads), context)
    runtime.reserve(block, ranks=True)
    tallies = runtime.new_tallies()
    log_probs, ranks = runtime.run_ranked(tokens[:-1], tokens[1:], block, tallies)
    return log_probs.tolist(), ranks.tolist(), tallies.sum(axis=0)


@pytest.mark.parametrize("name", NAMES)
def test_ranks_are_those_in_the_whole_distribution(name, tmp_path):
    opened, context = _opened(name, tmp_path / "m.npz")
    tokens = _tokens(40)
    log_probs, ranks = _by_distribution(opened, context, tokens)
    runtime = opened.architecture.load(opened, ThreadTeam(1), context)
    tallies = runtime.new_tallies()
    runtime.run(tokens[:-1], tokens[1:], 1, tallies)
    assert len(set(ranks)) > 15
    for threads, block in ((1, 1), (2, 7), (3, 64)):
        actual = _ranked(opened, context, tokens, threads, block)
        assert actual[0] == log_probs
        assert actual[1] == ranks
        assert np.array_equal(actual[2], tallies.sum(axis=0)), "ranks are not charged"


def test_ranks_are_those_of_logits_by_numpy(tmp_path):
    """In float64, from the outputs and the stored matrix."""
    config, arrays = _parts("lstm")
    lm_meter.write_checkpoint(tmp_path / "m.npz", config, arrays)
    opened, tokens = lm_meter.Checkpoint(tmp_path / "m.npz"), _tokens(60)
    runtime = opened.architecture.load(opened, ThreadTeam(1))
    weight, bias = (arrays[f"softmax.{name}"].astype(np.float64) for name in ("weight", "bias"))
    reference = []
    for entering, target in itertools.pairwise(tokens):
        runtime.run(np.array([entering]), np.zeros(0, np.int64), 1, runtime.new_tallies())
        logits = weight @ runtime.frozen(0).output[: weight.shape[1]].astype(np.float64) + bias
        reference.append(1 + int((logits > logits[target]).sum()))
    assert _ranked(opened, None, tokens, 2, 16)[1] == reference


def test_equal_tokens_share_a_rank(tmp_path):
    """All weights of the softmax are zero: nobody is larger."""
    config, arrays = tiny_parts(words=WORDS)
    for name in ("softmax.weight", "softmax.bias"):
        arrays[name][...] = 0
    arrays["softmax.bias"][7] = 1
    lm_meter.write_checkpoint(tmp_path / "m.npz", config, arrays)
    opened = lm_meter.Checkpoint(tmp_path / "m.npz")
    tokens = np.array([0, 7, 8, 399, 7])
    assert _ranked(opened, None, tokens, 1, 3)[1] == [1, 2, 2, 1]
    cached = opened.with_continuous_cache(ContinuousCache(4, 0.5, 0.25))
    # 7 leads; then 8 alone is in the cache of the model's last output, behind it, and so on.
    assert _ranked(cached, None, tokens, 1, 3)[1] == _by_distribution(cached, None, tokens)[1]


def test_ranks_do_not_need_the_positions_behind(tmp_path):
    opened, context = _opened("transformer, continuous", tmp_path / "m.npz")
    tokens = _tokens(30)
    whole = _ranked(opened, context, tokens, 2, 8)[1]
    assert _ranked(opened, context, tokens[:18], 2, 8)[1] == whole[:17]


def test_larger_ones_are_counted_in_lanes_whatever_their_number():
    """In two segments with a rest of 5 each; padding is minus infinity, and equal logits do not count."""
    rng = np.random.default_rng(0)
    rows = 2 * 16 + 5
    data = rng.integers(-3, 4, (4, 48)).astype(np.float32)
    data[:, rows:] = -np.inf
    targets, larger = np.array([0, -4, 3], np.float32), np.zeros((4, 16), np.float32)
    call = compiled(lambda *arguments: target_rank.add_larger(*arguments))
    for token in (0, 1, 2) * 2:
        call(target_rank.Larger(targets, larger, True), 1 + token, token, data[1 + token])
    assert larger.sum(axis=1).tolist() == [0, *(2 * (data[1 + t] > targets[t]).sum() for t in range(3))]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 40.0, 3000.0])
def test_the_highest_logit_that_is_not_above_a_bound(scale):
    """The next one has a log-probability above it, also where the bound is that of a logit itself."""
    rng = np.random.default_rng(1)
    call = compiled(lambda *arguments: target_rank._highest_logit(*arguments))
    for number in range(300):
        logit = np.float32(scale * rng.standard_normal())
        top, log_total = float(max(logit, np.float32(scale * rng.standard_normal()))), rng.uniform(0, 11)
        cluster = float(-rng.uniform(0, 9) * (number % 2))

        def log_prob(x, terms=(top, log_total, cluster)):
            return ((np.float64(x) - terms[0]) - terms[1]) + terms[2]

        bound = log_prob(logit) if number % 3 else np.nextafter(log_prob(logit), rng.choice([-np.inf, 0.0]))
        actual = np.float32(call(top, log_total, cluster, bound))
        assert log_prob(actual) <= bound < log_prob(np.nextafter(actual, np.float32(np.inf)))


def test_what_is_above_without_a_logarithm_is_above_with_one():
    rng = np.random.default_rng(2)
    above = compiled(lambda *arguments: continuous_cache._is_above(*arguments))
    mixed = compiled(lambda *arguments: continuous_cache.mixed(*arguments))
    found = set()
    for _ in range(3000):
        share, bound = rng.uniform(0.001, 0.999), -rng.exponential(6.0)
        probability, near = np.exp(bound), 1 + rng.normal() * 10.0 ** -rng.integers(0, 17)
        # What the cache and the model give sum to about the bound, or to less.
        part = rng.random()
        cached = np.float32(probability * near * part / share)
        log_prob = np.log(max(probability * near * (1 - part), 1e-300)) - np.log1p(-share) - rng.exponential(1.0) * 0.3
        reference = mixed(log_prob, cached, share) > bound
        found.add(bool(reference))
        assert above(log_prob, cached, (probability, bound), share) == reference
    assert found == {True, False}
