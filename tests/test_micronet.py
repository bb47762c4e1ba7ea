"""The MicroNet winner's architecture, dense, at a full window, beside what its authors published.

Their tally is a notebook cell of the repository mit-han-lab/neurips-micronet (micronet_challenge-wikitext_103-1.ipynb,
commit 1210741) with every density set to 1. Here are its terms, item by item, their published sums, and for each item
by how much ours differs and why.
"""

from collections import Counter

import numpy as np
import pytest

import lm_meter
from lm_meter.context import Context
from lm_meter.histogram import rows_of
from lm_meter.models import ARCHITECTURES
from lm_meter.storage import tensors_of
from lm_meter.threads import ThreadTeam

LAYERS, WIDTH, HEADS, HEAD, FEED, WINDOW, CACHE = 8, 256, 8, 24, 768, 96, 2000
SEEN, INSIDE = WINDOW + 1, HEADS * HEAD
VOCABULARY, CUTOFFS, WIDTHS = 267_735, (3500, 25000), (256, 64, 4)
SIZES = (3500, 21500, 242735)
TEST_TOKENS = (198232, 35479, 11858)  # of the test set in each bin
SHARES = np.array(TEST_TOKENS) / sum(TEST_TOKENS)

PUBLISHED = (8_810_476.55309913, 8_802_663.205372013, 842_247)  # multiplies, adds, others
PUBLISHED_PARAMETERS = 8_296_023


def _linear(columns, rows, bias):
    """What they count for a product: multiplies, adds, others."""
    return np.array([columns * rows, (columns - 1) * rows + bias * rows, 0.0])


SOFTMAX_SIZES = (SIZES[0] + 2, *SIZES[1:])  # the first one has the clusters
# Item: what the authors count for it.
AUTHORS = {
    "embedding": sum(SHARES[n] * _linear(WIDTHS[n], WIDTH, 0) for n in (1, 2)),
    "normalisations": LAYERS * np.array([0, 0, 2 * (WIDTH + 2 * WIDTH + WIDTH - 1 + 1 + WIDTH + WIDTH)]),
    "queries, keys, values": LAYERS * _linear(WIDTH, 3 * INSIDE, 1),
    "attention": LAYERS
    * (
        np.array([HEAD * HEADS * SEEN, (HEAD - 1) * HEADS * SEEN, 0])  # queries times keys
        + np.array([HEAD * SEEN, (HEAD - 1) * SEEN + SEEN, 0])  # positions
        + np.array([0, 0, SEEN + SEEN - 1 + SEEN])  # softmax
        + np.array([SEEN * HEAD * HEADS, (SEEN - 1) * HEAD * HEADS, 0])  # mixing
    ),
    "attention output": LAYERS * (_linear(INSIDE, WIDTH, 0) + np.array([0, WIDTH, 0])),
    "feed-forward": LAYERS
    * (_linear(WIDTH, FEED, 1) + np.array([0, 0, FEED]) + _linear(FEED, WIDTH, 1) + np.array([0, WIDTH, 0])),
    "logits": _linear(WIDTH, 2, 1)
    + sum(_linear(WIDTH, WIDTHS[n], 0) for n in (1, 2))
    + sum(_linear(width, size, 1) for width, size in zip(WIDTHS, SIZES, strict=True)),
    "softmax": np.array([0, 0, sum(3 * size - 1 for size in SOFTMAX_SIZES)]),
    "cache": _linear(WIDTH, CACHE, 0) + np.array([0, 0, 3 * CACHE - 1]),
}


def _item(region):
    if region.startswith("layers."):
        part = region.split(".", 2)[2]
        if part.endswith("norm"):
            return "normalisations"
        if part == "attention":
            return "attention"
        if part == "attention.output":
            return "attention output"
        return "feed-forward" if part.startswith("feed_forward") else "queries, keys, values"
    if region.startswith("embedding"):
        return "embedding"
    if region == "continuous_cache":
        return "cache"
    return "softmax" if region == "softmax" else "logits"


def _segments(size):
    return -(-size // 384)


def _softmax_differences():
    """Of n logits in S segments: see below."""
    total = np.zeros(3)
    for number, size in enumerate(SOFTMAX_SIZES):
        segments = _segments(SIZES[number]) + (number == 0)
        hits = 1.0 if number == 0 else SHARES[number]
        adds = size + (size - segments) + segments + (segments - 1) + hits * (2 + (number > 0))
        others = (size - 1) + size + segments + segments + 1 + hits * 2
        total += np.array([segments, adds, others - (3 * size - 1)])
    return total


# Item: by how much ours is more than theirs, and why.
DIFFERENCES = {
    # Rows are multiplied by the square root of the width: not counted by them.
    "embedding": np.array([WIDTH, 0, 0]),
    # They count 6 n "others" for each of the 16. Ours: 3 n + 2 multiplies, 4 n - 1 adds, a root and a division: also
    # the adds of the variance's mean, of epsilon and of the biases.
    "normalisations": 2 * LAYERS * np.array([3 * WIDTH + 2, 4 * WIDTH - 1, 2 - 6 * WIDTH]),
    "queries, keys, values": np.zeros(3),
    "attention": LAYERS
    * (
        np.array([INSIDE, 0, 0])  # the scores are scaled, which they do not count; here the queries are
        + np.array([(HEADS - 1) * HEAD * SEEN, (HEADS - 1) * HEAD * SEEN, 0])  # positions: they count one head of eight
        # The softmax: they count one head of eight. And of a head's n scores they count 3 n - 1 others: exponentials,
        # sum and n divisions. Ours: n - 1 compares, n subtractions, n exponentials, n - 1 adds, and the divisions fall
        # on what was mixed, 24 a head.
        + np.array([0, HEADS * (SEEN + SEEN - 1), HEADS * (SEEN - 1 + SEEN + HEAD) - (3 * SEEN - 1)])
    ),
    "attention output": np.zeros(3),
    "feed-forward": np.zeros(3),
    "logits": np.zeros(3),
    # They count 3 n - 1 others for each bin: exponentials, sum and n divisions. Ours subtract the maximum (n - 1
    # compares, n subtractions), divide nothing but take one logarithm, combine S segments (a subtraction, an
    # exponential, a multiply and a conversion each), and the target's log-probability is 2 conversions and 2 adds, in a
    # tail 3.
    "softmax": _softmax_differences(),
    # Theta (256 multiplies; they scale the scores and do not count it); the maximum (1999 compares, 2000 subtractions);
    # whose weight is the target's (2000 compares, 1999 adds); the sum is adds for us, "others" for them (1999); one
    # division, not 2000; the mixture with the model: 2 multiplies, an add, an exponential, a logarithm, a conversion.
    "cache": np.array(
        [
            WIDTH + 2,
            CACHE + (CACHE - 1) + (CACHE - 1) + 1,
            (CACHE - 1) + CACHE + CACHE + 1 + 1 + 2 - (3 * CACHE - 1),
        ]
    ),
}


@pytest.fixture(scope="module")
def winner(tmp_path_factory):
    """A random model of the architecture."""
    bins = {"cutoffs": list(CUTOFFS), "widths": list(WIDTHS), "project_first": False}
    config = {
        "architecture": "transformer",
        "dimensions": {
            "vocabulary": VOCABULARY, "width": WIDTH, "layers": LAYERS, "heads": HEADS, "key_value_heads": HEADS,
            "head_width": HEAD, "feed_forward": FEED, "context": SEEN,
        },
        "positions": {"kind": "relative"},
        "norm": {"kind": "layer", "place": "before", "final": False, "bias": True, "epsilon": 1e-5},
        "attention": {"window": WINDOW},
        "feed_forward": {"activation": "relu", "gated": False},
        "embedding": {"scale": WIDTH**0.5},
        "bias": {"attention": True, "attention_output": False, "feed_forward": True, "softmax": True},
        "tied": True,
        "adaptive": {
            "embedding": bins, "softmax": {**bins, "tail_bias": True, "charged": "all"}, "tied_projections": False,
        },
        "continuous_cache": {"size": CACHE, "theta": 0.016, "lambda": 0.07},
        "tokenizer": {"kind": "word", "start": "<eos>", "end_of_line": "<eos>"},
    }  # fmt: skip
    words = "\n".join(["<eos>", *(f"w{n}" for n in range(1, VOCABULARY))])
    rng, arrays = np.random.default_rng(0), {"tokenizer.words": np.frombuffer(words.encode(), np.uint8)}
    transformer = ARCHITECTURES["transformer"]
    for name, array in transformer.expected_arrays(transformer.parse_config(config, "winner"), "winner").items():
        if array.is_weight:
            arrays[name] = rng.standard_normal(array.shape, np.float32) * np.float32(0.05)
    path = tmp_path_factory.mktemp("winner") / "model.npz"
    lm_meter.write_checkpoint(path, config, arrays)
    return lm_meter.Checkpoint(path)


def _tally(winner, token):
    """Regions and tally of a token of a bin, predicted as well, at a full window and with a full cache."""
    chunks, token = np.array([(1, WINDOW, CACHE)], np.int64), np.array([token], np.int64)
    return winner.architecture.chunk_tally(winner, chunks, Context("cache", SEEN), (token, token))


def test_their_terms_give_their_published_sums():
    total = sum(AUTHORS.values())
    assert total == pytest.approx(PUBLISHED, abs=1e-6)


def test_each_difference_is_itemised(winner):
    ours = {item: np.zeros(3) for item in AUTHORS}
    for token, share in zip((0, CUTOFFS[0], CUTOFFS[1]), SHARES, strict=True):
        regions, tally = _tally(winner, token)
        for row in rows_of(tally, regions):
            kind = {"multiply": 0, "add": 1}.get(row.kind, 2)
            ours[_item(row.region)][kind] += share * row.count
    for item, theirs in AUTHORS.items():
        np.testing.assert_allclose(ours[item], theirs + DIFFERENCES[item], rtol=0, atol=1e-6, err_msg=item)


def test_a_run_meters_what_the_law_says_at_a_full_window(winner):
    tokens = np.random.default_rng(1).integers(0, VOCABULARY, CACHE + 60)
    tokens[::2] = np.random.default_rng(2).integers(0, CUTOFFS[0], tokens[::2].size)
    runtime = winner.architecture.load(winner, ThreadTeam(2), Context("cache", SEEN))
    runtime.reserve(16)
    full = CACHE + 10
    runtime.run(tokens[:full], tokens[1 : full + 1], 16, runtime.new_tallies())
    tallies = runtime.new_tallies()
    log_probs = runtime.run(tokens[full:-1], tokens[full + 1 :], 16, tallies)
    count = tokens.size - full - 1

    chunks = np.tile([(1, WINDOW, CACHE)], (count, 1))
    text = tokens[full:-1], tokens[full + 1 :]
    _, law = winner.architecture.chunk_tally(winner, chunks, Context("cache", SEEN), text)

    assert np.isfinite(log_probs).all()
    assert np.array_equal(tallies.sum(axis=0), law)


def test_parameters_are_theirs_and_the_normalisations(winner):
    """They leave out the weights and biases of the normalisations, and count theta and lambda, settings here."""
    stored = Counter()
    for tensor in tensors_of(winner):
        stored["norm" if ".norm." in tensor.name else "rest"] += tensor.count
    assert stored == {"rest": PUBLISHED_PARAMETERS - 2, "norm": 2 * LAYERS * 2 * WIDTH}
