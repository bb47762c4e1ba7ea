"""The declared width of a weight is what is charged, of every kind of array: by kernel, law, text and by hand."""

import itertools

import numpy as np
import pytest
from grids import on_grids
from reference_recurrent import Recurrent
from reference_transformer import Transformer
from test_recurrent import CONFIGURATIONS
from test_transformer import WORDS, _by_hand, _run, _tokens
from tiny import tiny_parts
from tiny_transformer import KINDS, transformer_parts

import lm_meter
from lm_meter.calculation import calculate, calculation_to_json
from lm_meter.context import Context
from lm_meter.histogram import rows_of, rows_to_json

NO_ACCUMULATOR = (32, (32, None))


def _opened(parts, tmp_path):
    lm_meter.write_checkpoint(tmp_path / "model.npz", *parts)
    return lm_meter.Checkpoint(tmp_path / "model.npz")


def _assert_counted(opened, context, tally, regions, reference):
    """A tally is what the reference counted, and what the laws as text say."""
    rows = rows_of(tally, regions)
    assert {(r.region, r.kind, r.bits_a, r.bits_b): r.count for r in rows} == dict(reference.ledger.counts)
    document = {
        "calculation": calculation_to_json(*opened.architecture.described(opened, context)),
        "histogram": rows_to_json(rows),
        "regions": [{"name": region.name} for region in regions],
    }
    assert calculate(document, "tests").agrees


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_of_a_transformer(kind, seed, tmp_path):
    *parts, values, bits = on_grids(*transformer_parts(kind, WORDS), seed)
    opened, context = _opened(parts, tmp_path), Context("recompute", 4)
    window = min(parts[0]["attention"].get("window", 3), 3)
    reference = Transformer(parts[0], values, bits, dict.fromkeys(values, NO_ACCUMULATOR), window)
    tokens = _tokens(6)
    expected, chunks, entered = _by_hand(reference, context, tokens.tolist())

    actual, tally, _ = _run(opened, context, tokens[:-1], tokens[1:])
    routed = np.array(reference.routed) if opened.model_config.mixture else None
    text = np.array(entered), tokens[1:]
    regions, law = opened.architecture.chunk_tally(opened, np.array(chunks, np.int64), context, text, routed)
    law += opened.architecture.once_tally(opened, context)[1]

    # Sums go on in float32, by hand a group at a time in float64; logits of such weights reach some hundreds.
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)
    assert np.array_equal(tally, law)
    _assert_counted(opened, context, tally, regions, reference)


@pytest.mark.parametrize("seed", [0, 3, 5])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_of_a_recurrent_model(name, seed, tmp_path):
    *parts, values, bits = on_grids(*tiny_parts(words=WORDS, **CONFIGURATIONS[name]), seed)
    opened = _opened(parts, tmp_path)
    reference = Recurrent(parts[0], values, bits, dict.fromkeys(values, NO_ACCUMULATOR))
    tokens, expected = _tokens(6), []
    for before, token in itertools.pairwise(tokens.tolist()):
        reference.advance(before)
        expected.append(reference.log_prob(token))

    actual, tally, _ = _run(opened, None, tokens[:-1], tokens[1:])
    pairs = np.minimum(np.arange(5), parts[0].get("continuous_cache", {"size": 0})["size"])
    regions, law = opened.architecture.text_tally(opened, tokens[:-1], tokens[1:], pairs)

    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)
    assert np.array_equal(tally, law)
    _assert_counted(opened, None, tally, regions, reference)


def test_of_vectors_of_distances_whose_groups_end_inside_a_head(tmp_path):
    """Heads of 5 numbers, groups of 4: no step is common to what is summed, so weights count the width of both."""
    name, found = "layers.0.attention.relative", {}
    for group in (4, 10):
        config, arrays = transformer_parts("per head", WORDS)
        rng = np.random.default_rng(1)
        steps = rng.uniform(0.01, 0.02, (arrays[name].shape[0], 20 // group)).repeat(group, axis=1)
        arrays[name] = (rng.integers(-8, 8, arrays[name].shape) * steps).astype(np.float32)
        config["formats"][name] = {"format": "float32", "grid": 4, "group": group}
        opened = _opened((config, arrays), tmp_path)
        regions, tally = opened.architecture.step_tally(opened, Context("cache", 5))
        found[group] = {
            (r.bits_a, r.bits_b): r.count
            for r in rows_of(tally, regions)
            if r.region == "layers.0.attention" and r.kind == "multiply"
        }
    # The query at position 4 sees 2, the end of the block before, 3 and 4: each of 4 heads of 5 numbers; 20 are scaled.
    assert found[4] == {(32, 32): 3 * 4 * 3 * 5 + 20}
    assert found[10] == {(4, 32): 3 * 4 * 5, (32, 32): 3 * 4 * 2 * 5 + 3 * 4 + 20}
