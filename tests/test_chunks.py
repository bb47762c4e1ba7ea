"""Tokens that enter together, and contexts longer than the window: threads and room in the cache change no bit."""

import numpy as np
import pytest
from tiny import narrowed
from tiny_transformer import transformer_parts

import lm_meter
from lm_meter.context import Context
from lm_meter.threads import ThreadTeam

WORDS = ("<eos>", "<unk>", *(f"w{i}" for i in range(98)))


def _opened(path, parts):
    lm_meter.write_checkpoint(path, *parts)
    return lm_meter.Checkpoint(path)


def _run(opened, context, tokens, threads=1):
    runtime = opened.architecture.load(opened, ThreadTeam(threads), context)
    values = runtime.run(tokens[:-1], tokens[1:], 1, runtime.new_tallies())
    return values, runtime.threads


def test_threads_that_prepare_other_inputs_wait_for_each_other(tmp_path):
    """Queries, keys and values read the same vectors, each prepared in a way of its own, in the same memory."""
    sizes = {"width": 256, "heads": 8, "key_value_heads": 8, "head_width": 32, "feed_forward": 256}
    narrow = {"format": "int4", "activations": 8, "offsets": True}
    formats = {
        f"layers.{layer}.{name}.weight": {**narrow, "group": group}
        for layer in range(2)
        for name, group in (("attention.query", 32), ("attention.key", 8), ("feed_forward.gate", 64))
    } | {f"layers.{layer}.attention.value.weight": {"format": "int8", "activations": 8} for layer in range(2)}
    opened = _opened(tmp_path / "m.npz", narrowed(*transformer_parts("no positions", WORDS, dimensions=sizes), formats))
    tokens = np.random.default_rng(1).integers(0, len(WORDS), 40)
    reference, _ = _run(opened, Context("recompute", 32), tokens)
    for _ in range(3):
        actual, threads = _run(opened, Context("recompute", 32), tokens, threads=2)
        assert threads == 2
        assert actual.tobytes() == reference.tobytes()


@pytest.mark.parametrize("kind", ["post-norm", "micronet", "sparse xl"])
def test_a_segment_longer_than_the_window_is_a_text_of_its_own(kind, tmp_path):
    """And it has room in the cache, which is then smaller than the segment."""
    opened = _opened(tmp_path / "m.npz", transformer_parts(kind, WORDS))
    tokens = np.random.default_rng(2).integers(0, len(WORDS), 1001)
    actual, _ = _run(opened, Context("segment", 500), tokens)
    for first in (0, 500):
        reference, _ = _run(opened, Context("cache", 500), tokens[first : first + 501])
        assert actual[first : first + 500].tobytes() == reference.tobytes()
