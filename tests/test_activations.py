"""Activations that are alive at once, against computations by hand from the sizes of the models."""

from types import SimpleNamespace

import numpy as np
import pytest
from test_transformer import NARROW_GROUPS, WORDS
from tiny import ADAPTIVE, integer_parts, narrowed, tiny_parts
from tiny_transformer import KINDS, transformer_config, transformer_parts

import lm_meter
from lm_meter import cli
from lm_meter.activations import activations_of, full_activations
from lm_meter.context import Context
from lm_meter.models import chunk_kinds
from lm_meter.models.moments import moments
from lm_meter.models.recurrent import RecurrentArchitecture
from lm_meter.models.recurrent_config import RecurrentConfig
from lm_meter.models.transformer import TransformerArchitecture
from lm_meter.models.vocabulary import Vocabulary
from lm_meter.text import text_from_bytes
from lm_meter.weight_format import WeightFormat


def _shapes(architecture, config):
    """What a checkpoint says of its arrays, without the arrays."""
    arrays = {name: e.shape for name, e in architecture.expected_arrays(config, "tests").items() if e.is_weight}
    return SimpleNamespace(
        architecture=architecture,
        model_config=config,
        path="tests",
        formats=dict.fromkeys(arrays, WeightFormat("float32")),
        shape=arrays.__getitem__,
    )


def _transformer(kind="llama", **changes):
    config, _, _ = transformer_config(kind, WORDS, **changes)
    architecture = TransformerArchitecture()
    return _shapes(architecture, architecture.parse_config(config, "tests"))


def _written(path, parts):
    lm_meter.write_checkpoint(path, *parts)
    return lm_meter.Checkpoint(path)


def _elements(found, view="with_state"):
    return {region: size.elements for region, size in getattr(found, view).items()}


def _bits(found, view="with_state"):
    return {region: size.bits for region, size in getattr(found, view).items()}


def test_the_baseline_by_hand():
    """One LSTM layer of 2048, embedding and projection of 512; 267,735 words are 698 segments of 384, or less."""
    words = {"kind": "word", "start": None, "end_of_line": None, "unknown": None}
    config = RecurrentConfig("lstm", Vocabulary(267_735, 512, 512, True, True), (2048,), 512, True, True, words)

    found = full_activations(_shapes(RecurrentArchitecture("lstm"), config))

    h = c = 2048
    without = {
        "embedding": 512,
        "lstm.0": 512 + 4 * 2048,  # input, gates
        "lstm.0.cell": 4 * 2048 + 2048,  # gates, the new h before it is copied to where the product reads it
        "projection": 2048 + 512,  # what was frozen, and what is made of it
        "logits": 512 + 384 + 2 * 698 + 1,  # a segment, maxima and sums of all segments, the target's logit
        "softmax": 512 + 384 + 2 * 698 + 1,
    }
    state = dict.fromkeys(without, h + c)
    state["lstm.0.cell"] = c  # the old h was read
    assert _elements(found, "without_state") == without
    assert _elements(found) == {region: without[region] + state[region] for region in without}
    total = found.to_json()
    assert total["with_state"] == {
        "elements": 512 + 2048 + 8192 + 2048, "elements_in": "lstm.0", "bits": 12_800 * 32, "bits_in": "lstm.0",
    }  # fmt: skip
    assert total["without_state"] == {
        "elements": 10_240, "elements_in": "lstm.0.cell", "bits": 10_240 * 32, "bits_in": "lstm.0.cell",
    }  # fmt: skip


def test_a_transformer_at_a_full_window_by_hand():
    """The shape of SmolLM2-135M with a cache of 2048 tokens."""
    sizes = {
        "vocabulary": 49_152, "width": 576, "layers": 30, "heads": 9, "key_value_heads": 3, "head_width": 64,
        "feed_forward": 1536, "context": 2048,
    }  # fmt: skip
    positions = {"kind": "rotary", "pairs": "halves", "base": 100_000.0, "rotated": 64}

    found = full_activations(_transformer(dimensions=sizes, positions=positions))

    position, angles = 2 * 3 * 64, 2 * 32
    held = 30 * 2047 * position  # of all layers, those that a later query sees, or that this one will
    without = _elements(found, "without_state")
    for layer in (0, 14):
        name = f"layers.{layer}"
        assert without[f"{name}.attention.query"] == 576 + 576 + 576 + angles  # x, normalised, queries
        assert without[f"{name}.attention.value"] == 576 + 576 + 576 + 192 + 192 + angles
        assert without[f"{name}.attention"] == 576 + 576 + 576 + 2048 + angles  # x, queries, attended, a head's scores
        assert without[f"{name}.attention.output"] == 576 + 576 + 576 + angles  # attended, made, x
        assert without[f"{name}.feed_forward.input"] == 576 + 576 + 1536 + 1536 + angles
        assert without[f"{name}.feed_forward.output"] == 1536 + 576 + 576 + angles
    assert without["layers.29.feed_forward.input"] == 576 + 576 + 1536 + 1536  # angles are not needed any more
    assert without["logits"] == 576 + 384 + 2 * 128 + 1
    expected = {region: numbers + held for region, numbers in without.items()}
    for layer in range(30):
        expected[f"layers.{layer}.attention"] += position  # the newest has come, the oldest is still seen
    assert _elements(found) == expected
    # Beside it 1728 numbers and 2048 scores with angles, and a position's keys and values, are 64 less.
    most = 30 * 2047 * 384 + 576 + 576 + 1536 + 1536 + 64
    assert found.to_json()["with_state"] == {
        "elements": most, "elements_in": "layers.0.feed_forward.input",
        "bits": 32 * most, "bits_in": "layers.0.feed_forward.input",
    }  # fmt: skip


def test_a_window_that_is_recomputed_by_hand():
    """Two layers of 24, 4 heads of 6 and half as many for keys, 5 tokens; of the last layer the last one alone."""
    found = full_activations(_transformer(), Context("recompute", 5))

    x, keys, values, both, angles = 24, 12, 12, 24, 6  # of a token
    expected = {
        "embedding": 5 * x,
        "positions": 5 * (x + angles),
        "layers.0.attention.norm": 5 * (x + x + angles),
        "layers.0.attention.query": 5 * (x + x + 24 + angles),
        "layers.0.attention.key": 5 * (x + x + 24 + keys + angles),
        "layers.0.attention.value": 5 * (x + x + 24 + keys + values + angles),
        "layers.0.attention": 5 * (x + 24 + 24 + both + angles) + 5,  # queries, what they get, keys and values, scores
        "layers.0.attention.output": 5 * (24 + 24 + x + angles),
        "layers.0.feed_forward.norm": 5 * (x + x + angles),
        "layers.0.feed_forward.gate": 5 * (x + x + 20 + angles),
        "layers.0.feed_forward.input": 5 * (x + x + 20 + 20 + angles),
        "layers.0.feed_forward.output": 5 * (20 + 24 + x + angles),
        "layers.1.attention.norm": 5 * (x + x + angles),
        "layers.1.attention.query": x + 5 * (x + angles) + 24,  # x of the last token alone is needed from here on
        "layers.1.attention.key": x + 5 * (x + keys + angles) + 24,
        "layers.1.attention.value": x + 5 * (x + keys + values + angles) + 24,
        "layers.1.attention": x + 24 + 5 * (keys + values + both + angles),  # keys and values go to the cache
        "layers.1.attention.output": 24 + 24 + x,
        "layers.1.feed_forward.norm": x + x,
        "layers.1.feed_forward.gate": x + x + 20,
        "layers.1.feed_forward.input": x + x + 20 + 20,
        "layers.1.feed_forward.output": 20 + 24 + x,
        "norm": x + x,
        "logits": x + 384 + 2 * 2 + 1,
        "softmax": x + 384 + 2 * 2 + 1,
    }
    assert _elements(found) == _elements(found, "without_state") == expected
    assert _bits(found) == {region: 32 * numbers for region, numbers in expected.items()}


def test_a_continuous_cache_by_hand():
    """Four outputs of 24 numbers and their tokens, and when the output is frozen that itself, for the token to come."""
    plain, found = (full_activations(_transformer(kind), Context("cache", 9)) for kind in ("llama", "continuous"))

    behind = ("norm", "logits", "softmax")  # where the output is frozen
    expected = {
        region: numbers + 4 * (24 + 1) + (24 if region in behind else 0) for region, numbers in _elements(plain).items()
    }
    # The output, the query made of it, four scores, their sum and the prediction, which is 64 bits wide.
    held = 2 * 8 * 24 + 4 * (24 + 1) + 24
    expected["continuous_cache"] = held + 24 + 24 + 4 + 1 + 1
    assert _elements(found) == expected
    assert _bits(found)["continuous_cache"] == 32 * (held + 24 + 24 + 4 + 1) + 32 * 4 + 64
    assert _bits(found)["layers.0.attention.query"] == _bits(plain)["layers.0.attention.query"] + 4 * (24 * 32 + 64)


def test_states_of_other_recurrent_layers_by_hand(tmp_path):
    """A GRU's hidden state lies twice: where the cell changes it and where the product reads it."""
    gru = full_activations(_written(tmp_path / "g.npz", tiny_parts(architecture="gru", embedding=5, hidden=(17,))))
    assert _elements(gru)["gru.0.input"] == 5 + 3 * 17 + 2 * 17
    assert _elements(gru)["gru.0.hidden"] == 3 * 17 + 3 * 17 + 2 * 17
    assert _elements(gru, "without_state")["gru.0.hidden"] == 2 * 3 * 17
    parts = tiny_parts(architecture="qrnn", embedding=5, hidden=(17,), window=(3,), output_gate=True)
    qrnn = full_activations(_written(tmp_path / "q.npz", parts))
    # Two past inputs and the new one, three gates, the cell state.
    assert _elements(qrnn)["qrnn.0"] == 3 * 5 + 3 * 17 + 17
    assert _elements(qrnn, "without_state")["qrnn.0"] == 5 + 3 * 17


def test_prepared_inputs_have_their_declared_width(tmp_path):
    """Of an LSTM of 12 units and an embedding of 12: 8-bit inputs with a step, and sums of three groups of eight."""
    formats = {"lstm.0.weight": {"format": "int4", "activations": 8, "group": 8, "offsets": True}}
    found = full_activations(_written(tmp_path / "m.npz", integer_parts(formats, embedding=12)))
    plain = full_activations(_written(tmp_path / "p.npz", tiny_parts(embedding=12)))

    # Also what sums over nested 4-bit weights begin with, one a group.
    assert _elements(found)["lstm.0"] == _elements(plain)["lstm.0"] + 24 + 1 + 3 + 3
    assert _bits(found)["lstm.0"] == _bits(plain)["lstm.0"] + 24 * 8 + 32 + 3 * 32 + 3 * 32


def test_prepared_inputs_of_sections_by_hand(tmp_path):
    """Of a width of 34, 4 heads of 6 and half as many for keys, in two sections: one token with a cache."""
    parts = narrowed(*transformer_parts("grouped", WORDS), NARROW_GROUPS)
    found = full_activations(_written(tmp_path / "m.npz", parts), Context("cache", 9))

    # Halves of 16 bits; the 6 rows of a section, which are no whole block of 16, are made elsewhere.
    key = 34 + 34 + 24 + 12 + 6 + 6
    assert _elements(found, "without_state")["layers.0.attention.key"] == key + 34
    assert _bits(found, "without_state")["layers.0.attention.key"] == 32 * key + 16 * 34
    # Sections of 12 float32 numbers are copied to whole lanes; two sums; of 17 rows one is in the last block.
    output = 24 + 34 + 34 + 6 + 24 + 2 + 1
    assert _elements(found, "without_state")["layers.0.attention.output"] == output
    assert _bits(found, "without_state")["layers.0.attention.output"] == 32 * output


def test_experts_by_hand():
    """Each token passes 2 of 5 experts; a context of 3 tokens."""
    found = full_activations(_transformer("mixtral"), Context("recompute", 3))

    x, angles, items = 24, 6, 3 * 2
    router = 3 * (x + x + 5 + angles)
    routing = items * (1 + 1 + 1) + 2 * 5  # experts, weights, items; each expert's first item and their number
    waits = items * (1 + 1) + 2 * 5
    assert _elements(found)["layers.0.feed_forward.router"] == router
    assert _elements(found)["layers.0.feed_forward.mixture"] == router + items * x + routing + 2
    assert _elements(found)["layers.0.feed_forward.experts.input"] == 3 * (x + angles) + items * (x + 20 + 20) + waits
    # The last layer's token alone: one row for both of its experts.
    assert _elements(found)["layers.1.feed_forward.experts.input"] == x + x + 2 * (20 + 20) + 2 * (1 + 1) + 2 * 5
    assert _bits(found)["layers.0.feed_forward.experts.input"] == (
        32 * (3 * (x + angles) + items * (x + 20 + 20) + items) + 64 * (items + 2 * 5)
    )


def test_bins_by_hand(tmp_path):
    """Of a needed softmax the first bin and the target's: 390 words and a cluster, 10 words of 3 numbers."""
    parts = tiny_parts(words=WORDS, embedding=9, hidden=(12,), adaptive=ADAPTIVE)
    opened = _written(tmp_path / "m.npz", parts)

    def measured(text):
        run = lm_meter.evaluate(opened, text=text_from_bytes(text.encode(), "text"))
        return {row["region"]: row["without_state"]["elements"] for row in run["activations"]["by_region"]}

    rows = measured("w50 w390\n")

    partials = 2 * (2 + 1) + 1  # two segments and the cluster's, and the target's logit
    assert rows["logits.0"] == 12 + 384 + partials
    assert rows["logits.clusters"] == 12 + 1 + 1 + partials
    assert rows["softmax.1.projection"] == 12 + 3 + 1  # and the prediction by its cluster
    assert rows["logits.1"] == 3 + 10 + 2 + 1 + 1
    # A row of 4 numbers, and the 9 that are made of it and go to where the first layer reads them.
    assert rows["embedding.1.projection"] == 4 + 9 + 9
    assert rows["embedding.2.projection"] == 2 + 9 + 9
    rows = measured("w1 w50\n")
    assert rows["embedding.1.projection"] == 4 + 9 + 9
    assert rows["embedding.2.projection"] == rows["logits.1"] == rows["softmax.1.projection"] == 0


def _of_region(found, region):
    [elements] = [row["with_state"]["elements"] for row in found["by_region"] if row["region"] == region]
    return elements


RUNS = {
    "cache": lm_meter.RunOptions(policy="cache", context=6),
    "recompute": lm_meter.RunOptions(policy="recompute", context=4),
    "segment": lm_meter.RunOptions(policy="segment:2", context=5),
}


@pytest.mark.parametrize("name", ["llama", "mixtral", "fixed", "transformer-xl", "continuous"])
@pytest.mark.parametrize("policy", RUNS)
def test_a_long_run_has_what_a_full_context_has(policy, name, tmp_path):
    """Whatever the threads and the block; a short one has less."""
    opened = _written(tmp_path / "m.npz", transformer_parts(name, WORDS))
    long = " ".join(f"w{n}" for n in np.random.default_rng(0).integers(0, 390, 40)) + "\n"
    context = opened.architecture.context(opened.model_config, RUNS[policy].policy, RUNS[policy].context)
    full = full_activations(opened, context).to_json()

    def measured(text, **changes):
        options = lm_meter.RunOptions(**{**vars(RUNS[policy]), **changes})
        return lm_meter.evaluate(opened, text=text_from_bytes(text.encode(), "text"), options=options)["activations"]

    assert measured(long, threads=1, block=1) == full
    assert measured(long, threads=3, block=7) == full
    longest, short = (_of_region(found, "layers.0.attention") for found in (full, measured("w1\n")))
    assert short < longest


@pytest.mark.parametrize("name", ["llama", "global", "gpt"])
@pytest.mark.parametrize("policy", RUNS)
@pytest.mark.parametrize("predictions", [3, 5, 40])
def test_chunks_that_are_left_out_have_no_more_alive(predictions, policy, name, monkeypatch):
    """Beside one that has as many tokens, positions and pairs; also before a continuous cache is full."""
    opened = _transformer("continuous", **KINDS[name]) if name != "gpt" else _transformer("gpt")
    context = Context(policy, RUNS[policy].context, 2 if policy == "segment" else 0)
    plan, network = opened.architecture.described(opened, context)
    tokens = np.zeros(predictions, np.int64)

    def found():
        chunks = chunk_kinds.chunk_kinds(network, context, 6, tokens, tokens)
        return chunks.tokens.size, activations_of(plan.regions, moments(plan, network, chunks))

    few, actual = found()
    monkeypatch.setattr(chunk_kinds, "_largest", lambda rows: rows)
    all_of_them, reference = found()
    assert actual == reference
    assert few < all_of_them


def test_what_is_printed(tmp_path, capsys):
    parts = tiny_parts(words=WORDS)
    _written(tmp_path / "m.npz", parts)
    assert cli.main(["count", "--checkpoint", str(tmp_path / "m.npz")]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("numbers alive at once, weights excluded (MTAS)")
    # The output, a segment, two maxima and sums, the target's logit; and the state of 12 units.
    assert lines[at + 1 : at + 3] == [
        "  with state     425 (13,600 bits), in logits",
        "  without state  401 (12,832 bits), in logits",
    ]
