"""GPT-2 and Llama models of the transformers library, converted, against what the library says about them.

``scripts/make_golden_transformers.py`` made the file.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from lm_meter import Checkpoint
from lm_meter.context import Context
from lm_meter.conversion.convert import convert
from lm_meter.threads import ThreadTeam

GOLDEN = Path(__file__).parent / "golden" / "transformers.npz"
CASES = ("gpt2", "gpt2_exact_gelu", "llama", "llama_tied_biases_wide_heads")


def converted(case, folder, golden=GOLDEN):
    """The case's checkpoint, its tokens and their log-probabilities."""
    with np.load(golden) as found:
        (folder / "config.json").write_bytes(found[f"{case}/config"].tobytes())
        (folder / "model.safetensors").write_bytes(found[f"{case}/weights"].tobytes())
        tokens, expected = found[f"{case}/tokens"], found[f"{case}/log_probs"]
    words = {f"w{n}": n for n in range(json.loads((folder / "config.json").read_bytes())["vocab_size"] - 128)}
    letters = {chr(n): len(words) + n for n in range(128)}
    model = {"type": "BPE", "vocab": words | letters, "merges": []}
    (folder / "tokenizer.json").write_text(
        json.dumps({"version": "1.0", "model": model, "decoder": {"type": "Fuse"}}), encoding="utf-8"
    )
    assert convert(folder, folder / "m.npz").source == "huggingface"
    return Checkpoint(folder / "m.npz"), tokens, expected


@pytest.mark.parametrize("case", CASES)
def test_log_probabilities_are_those_of_the_library(case, tmp_path):
    pytest.importorskip("safetensors")
    pytest.importorskip("tokenizers")
    opened, tokens, expected = converted(case, tmp_path)
    runtime = opened.architecture.load(opened, ThreadTeam(2), Context("cache", 512))
    runtime.reserve(64)
    actual = runtime.run(tokens[:-1], tokens[1:], 64, runtime.new_tallies())
    assert actual.mean() == pytest.approx(expected.mean(), abs=1e-6)
    # Logits of about 10 after some hundred float32 sums each.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)
