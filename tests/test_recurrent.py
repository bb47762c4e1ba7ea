"""Recurrent models as a whole against the scalar reference: every value within rounding, every count to the integer."""

import numpy as np
import pytest
from reference_recurrent import Recurrent
from stored_weights import reference_weights
from tiny import ADAPTIVE, TIED_BINS, integer_parts, tiny_parts

import lm_meter
from lm_meter.histogram import rows_of
from lm_meter.models import runtime
from lm_meter.models.recurrent_config import parse_recurrent_config, recurrent_arrays
from lm_meter.threads import ThreadTeam

WORDS = ("<eos>", "<unk>", *(f"w{i}" for i in range(398)))  # two segments of the softmax, the second not full
CONFIGURATIONS = {
    "plain": {},
    "no biases": {"bias": False},
    "projection, tied, float16": {"embedding": 20, "hidden": (33,), "projection": 20, "tied": True, "dtype": "float16"},
    "tied without projection, bfloat16": {"embedding": 16, "tied": True, "dtype": "bfloat16"},
    "three layers, untied projection": {"embedding": 5, "hidden": (17, 16, 31), "projection": 9},
    "one unit": {"embedding": 1, "hidden": (1,)},
    "gru": {"architecture": "gru", "embedding": 5, "hidden": (17, 33)},
    "gru, no biases, tied": {"architecture": "gru", "hidden": (21,), "projection": 8, "tied": True, "bias": False},
    "qrnn": {"architecture": "qrnn", "embedding": 5, "hidden": (17, 33), "window": (3, 1), "output_gate": True},
    "qrnn, no output gates": {"architecture": "qrnn", "hidden": (9, 40), "window": (2, 2), "output_gate": False},
    "adaptive": {"embedding": 9, "hidden": (12,), "adaptive": ADAPTIVE},
    "adaptive, tied": {
        "architecture": "gru",
        "embedding": 12,
        "hidden": (17,),
        "projection": 12,
        "tied": True,
        "adaptive": TIED_BINS,
        "dtype": "float16",
    },
    "continuous": {"hidden": (17,), "continuous_cache": {"size": 5, "theta": 0.7, "lambda": 0.2}},
    "gru of one unit": {"architecture": "gru", "embedding": 1, "hidden": (1,), "dtype": "float16"},
}

INT8 = {"format": "int8", "activations": 8}
INT4 = {"format": "int4", "group": 8, "offsets": True, "activations": 8}
BOOK = {"format": "codebook4", "activations": 16}
NARROW = {"format": "int8", "activations": 8, "accumulator": 13, "overflow": "saturate"}
INTEGERS = {
    "int8, tied": ({"embedding": INT8, "lstm.0.weight": INT8}, {"embedding": 16, "hidden": (24,), "tied": True}),
    "int4 with offsets": ({"embedding": INT4, "lstm.0.weight": INT4}, {"embedding": 16, "tied": True}),
    "a code book, untied": (
        {"softmax.weight": BOOK, "lstm.1.weight": BOOK, "projection.weight": {"format": "int4"}},
        {"hidden": (9, 17), "projection": 11},
    ),
    "pruned, tied": (
        {
            "embedding": {"format": "int4", "activations": 8, "block": (1, 16)},
            "lstm.0.weight": {"format": "float16", "block": (2, 4)},
            "projection.weight": {"format": "codebook4", "block": (1, 1)},
        },
        {"embedding": 32, "hidden": (20,), "projection": 32, "tied": True},
    ),
    "gru": (
        {"gru.0.input.weight": INT8, "gru.0.hidden.weight": INT4, "softmax.weight": BOOK},
        {"architecture": "gru", "hidden": (16,)},
    ),
    "qrnn": (
        {"qrnn.0.weight": INT4, "qrnn.1.weight": {"format": "int8", "activations": 8, "block": (1, 4)}},
        {"architecture": "qrnn", "hidden": (12, 20), "window": (2, 1), "output_gate": True},
    ),
    "adaptive": (
        {"embedding.1": INT4 | {"group": None}, "softmax.0.weight": INT8, "softmax.1.projection": INT8}
        | {"softmax.1.weight": {"format": "int8"}, "softmax.clusters.weight": INT8},
        {"embedding": 9, "hidden": (12,), "adaptive": ADAPTIVE},
    ),
    "accumulators": ({"lstm.0.weight": NARROW, "softmax.weight": NARROW}, {"hidden": (21,)}),
}


PROPERTIES = ("gru", "qrnn", "adaptive", "adaptive, tied", "continuous", "three layers, untied projection")
PROPERTIES += ("narrow qrnn", "narrow adaptive")


def _reference(config, arrays):
    expected = recurrent_arrays(parse_recurrent_config(config["architecture"], config, "tests"), "tests")
    values, bits, inputs = {}, {}, {}
    for name, entry in config["formats"].items():
        entry = {"format": entry} if isinstance(entry, str) else entry
        values[name], bits[name] = reference_weights(arrays, name, entry, expected[name].shape)
        inputs[name] = entry.get("activations", 32), (entry.get("accumulator", 32), entry.get("overflow"))
    return Recurrent(config, values, bits, inputs)


def _tokens(count, vocabulary, seed=5):
    return np.random.default_rng(seed).integers(0, vocabulary, count)


def _write_text(path, tokens):
    path.write_text("".join("\n" if t == 0 else f"{WORDS[t]} " for t in tokens), encoding="utf-8")
    return path


def _parts(name):
    if name.startswith("narrow "):
        formats, options = INTEGERS[name.removeprefix("narrow ")]
        return integer_parts(formats, words=WORDS, **options)
    return tiny_parts(words=WORDS, **CONFIGURATIONS[name])


@pytest.mark.parametrize("name", [*CONFIGURATIONS, *(f"narrow {name}" for name in INTEGERS)])
def test_metered_predicted_and_hand_executed_agree(name, tmp_path):
    config, arrays = _parts(name)
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    tokens = [*_tokens(11, len(WORDS)), 0]  # ends in a line end, as a text does

    model = _reference(config, arrays)
    expected = []
    for before, token in zip([0, *tokens[:-1]], tokens, strict=True):
        model.advance(before)
        expected.append(model.log_prob(token))

    result = lm_meter.evaluate(
        tmp_path / "model.npz",
        text=_write_text(tmp_path / "text", tokens),
        options=lm_meter.RunOptions(block=5, threads=2),
    )
    opened = lm_meter.Checkpoint(tmp_path / "model.npz")
    size = config.get("continuous_cache", {"size": 0})["size"]
    pairs = np.minimum(np.arange(len(tokens)), size)
    regions, law = opened.architecture.text_tally(opened, np.array([0, *tokens[:-1]]), np.array(tokens), pairs)
    predicted = [(r.region, r.kind, r.bits_a, r.bits_b, r.count) for r in rows_of(law, regions)]
    metered = [tuple(row.values()) for row in result["histogram"]]

    # Logits below 10 have neighbours 2**-20 apart; a dozen roundings of that size in four steps of the recurrence.
    np.testing.assert_allclose(result.log_probs, expected, rtol=0, atol=1e-5)
    assert metered == predicted
    assert {row[:4]: row[4] for row in metered} == dict(model.ledger.counts)
    assert sum(row["count"] for row in result["overflows"]) == model.ledger.overflows
    assert bool(result["overflows"]) == (name == "narrow accumulators")


@pytest.mark.parametrize("name", ["plain", "adaptive", "adaptive, tied", "continuous"])
def test_probabilities_of_the_vocabulary_sum_to_one(name, tmp_path):
    config, arrays = _parts(name)
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    model = lm_meter.Model(tmp_path / "model.npz")
    for token in _tokens(5, len(WORDS)):
        model.advance(token)
        log_probs = model.log_probs()
        # Each of 400 probabilities is off by less than 40 half units of 2**-24 (see test_log_softmax).
        assert np.exp(log_probs).sum() == pytest.approx(1, abs=40 * 2.0**-24)
        assert [model.log_prob(t) for t in (0, 7, 399)] == log_probs[[0, 7, 399]].tolist()


def test_all_bins_or_those_needed_give_the_same_bits_and_other_counts(tmp_path):
    found = {}
    for charged in ("all", "needed"):
        softmax = {**ADAPTIVE["softmax"], "cutoffs": [100], "charged": charged}
        options = {**CONFIGURATIONS["adaptive"], "adaptive": {**ADAPTIVE, "softmax": softmax}}
        lm_meter.write_checkpoint(tmp_path / "model.npz", *tiny_parts(words=WORDS, **options))
        text = _write_text(tmp_path / "text", [5, 399, 0])
        result = lm_meter.evaluate(tmp_path / "model.npz", text=text, options=lm_meter.RunOptions(block=3))
        counts = {(row["region"], row["kind"]): row["count"] for row in result["histogram"]}
        found[charged] = result.log_probs.tobytes(), counts["logits.1", "multiply"], counts["logits.0", "multiply"]
        assert result["online"]["softmax_bins"] == charged
    assert found["all"][0] == found["needed"][0]
    # Three predictions, one of them in the tail of 300 tokens and width 3; the head is 100 tokens of width 12.
    assert found["all"][1:] == (3 * 300 * 3, 3 * 100 * 12)
    assert found["needed"][1:] == (300 * 3, 3 * 100 * 12)


def test_threads_that_read_out_side_by_side_do_not_meet(tmp_path):
    """Fourteen segments of a wide softmax: each thread has several in hand while the others have theirs."""
    words = ("<eos>", "<unk>", *(f"w{i}" for i in range(5200)))
    config, arrays = tiny_parts(words=words, embedding=8, hidden=(96,))
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    opened = lm_meter.Checkpoint(tmp_path / "model.npz")
    tokens = _tokens(640, len(words))

    def run(threads, block):
        runtime = opened.architecture.load(opened, ThreadTeam(threads))
        runtime.reserve(block)
        tallies = runtime.new_tallies()
        return runtime.run(tokens, tokens, block, tallies), tallies.sum(axis=0)

    reference, _ = run(1, 64)
    _, step = opened.architecture.step_tally(opened)
    for threads, block in ((1, 64), (2, 64), (3, 64), (2, 1), (3, 7)):
        actual, tally = run(threads, block)
        assert np.array_equal(actual, reference)
        assert np.array_equal(tally, tokens.size * step)


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_same_bits_and_counts_for_any_block_threads_and_pieces(name, tmp_path):
    lm_meter.write_checkpoint(tmp_path / "model.npz", *_parts(name))
    opened = lm_meter.Checkpoint(tmp_path / "model.npz")
    tokens = _tokens(40, len(WORDS))
    inputs = np.array([0, *tokens[:-1]])

    def run(threads, block, pieces=1, changed=()):
        runtime = opened.architecture.load(opened, ThreadTeam(threads))
        runtime.reserve(block)
        entering, tallies, parts = inputs.copy(), runtime.new_tallies(), []
        entering[list(changed)] = 3
        runtime.run(entering[:7], tokens[:7], block, tallies)  # forgotten again
        runtime.reset()
        tallies = runtime.new_tallies()
        for part in np.array_split(np.arange(tokens.size), pieces):
            parts.append(runtime.run(entering[part], tokens[part], block, tallies))
        return np.concatenate(parts), tallies.sum(axis=0)

    reference, tally = run(1, 1)
    for threads, block, pieces in ((1, 64, 1), (2, 7, 1), (3, 5, 4), (2, 1, 3)):
        actual, other = run(threads, block, pieces)
        assert actual.tobytes() == reference.tobytes()
        assert np.array_equal(other, tally)
    # Input 25 is the token after position 24: nothing at or before that changes, and everything behind it may.
    changed, _ = run(2, 7, changed=range(25, 40))
    assert changed[:25].tobytes() == reference[:25].tobytes()
    assert (changed[25:] != reference[25:]).any()


def test_a_model_that_is_too_small_to_be_shared_is_run_by_fewer_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "SHARE_BYTES", 4096)
    lm_meter.write_checkpoint(tmp_path / "model.npz", *tiny_parts(words=WORDS, bias=False))
    opened = lm_meter.Checkpoint(tmp_path / "model.npz")
    # 4 * 12 rows of 8 + 12 columns and 400 rows of 12, in float32: 23,040 bytes, enough for five threads.
    load = opened.architecture.load
    assert [load(opened, ThreadTeam(threads)).threads for threads in (1, 4, 5, 6)] == [1, 4, 5, 5]
    monkeypatch.setattr(runtime, "SHARE_BYTES", 1 << 20)
    text = _write_text(tmp_path / "text", _tokens(5, len(WORDS)))
    result = lm_meter.evaluate(opened, text=text, options=lm_meter.RunOptions(threads=2))
    assert result["environment"]["threads"] == 1
