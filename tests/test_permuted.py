"""Weights that are all there but in another order: such a checkpoint loads, and is reported as what it is."""

import json
import zipfile

import numpy as np
import pytest

import lm_meter
from lm_meter.defaults import default_checkpoint, sample_text


def _parts(path):
    """Configuration and arrays of a checkpoint, as ``write_checkpoint`` takes them."""
    with zipfile.ZipFile(path) as file:
        config = json.loads(file.read("config.json"))
    arrays = {name: array for name, array in np.load(path).items() if name != "config.json"}
    return {key: value for key, value in config.items() if key not in ("format", "version")}, arrays


@pytest.mark.parametrize("name", ["lstm-small", "transformer-small"])
def test_permuted_weights_are_a_bad_model_and_the_same_work(name, tmp_path):
    path = default_checkpoint().with_name(f"{name}.npz")
    config, arrays = _parts(path)
    rng = np.random.default_rng(0)
    arrays["embedding"] = arrays["embedding"][rng.permutation(len(arrays["embedding"]))]
    lm_meter.write_checkpoint(tmp_path / "permuted.npz", config, arrays)

    options = lm_meter.RunOptions(limit=300)
    reference = lm_meter.evaluate(path, text=sample_text(), options=options)
    actual = lm_meter.evaluate(tmp_path / "permuted.npz", text=sample_text(), options=options)

    # A model that knows nothing gives each of 6,144 pieces the same probability.
    assert actual["perplexity"]["piece"] > 6144 > 10 * reference["perplexity"]["piece"]
    assert actual["histogram"] == reference["histogram"]
    assert actual["storage"]["bits"] == reference["storage"]["bits"]
