"""Sinusoidal, Transformer-XL and relative positions and sparse patterns against dense PyTorch models of them.

``scripts/make_golden_positions.py`` made the file.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from lm_meter import Checkpoint, write_checkpoint
from lm_meter.context import Context
from lm_meter.threads import ThreadTeam

GOLDEN = Path(__file__).parent / "golden" / "positions.npz"
CASES = (
    "sinusoidal",
    "sinusoidal_fairseq",
    "transformer_xl",
    "transformer_xl_shared_biases",
    "relative_per_head",
    "patterns",
    "patterns_transformer_xl",
)


def _written(case, path):
    """Write the case's checkpoint; its tokens and their log-probabilities."""
    with np.load(GOLDEN) as golden:
        config = json.loads(golden[f"{case}/config"].tobytes())
        arrays = {
            name.partition("/array/")[2]: golden[name] for name in golden.files if name.startswith(f"{case}/array/")
        }
        tokens, expected = golden[f"{case}/tokens"], golden[f"{case}/log_probs"]
    words = [f"w{n}" for n in range(config["dimensions"]["vocabulary"])]
    config["tokenizer"] = {"kind": "word", "start": "w0", "end_of_line": "w0", "unknown": None}
    write_checkpoint(path, config, {**arrays, "tokenizer.words": np.frombuffer("\n".join(words).encode(), np.uint8)})
    return tokens, expected


@pytest.mark.parametrize("policy", ["cache", "segment"])
@pytest.mark.parametrize("case", CASES)
def test_log_probabilities_are_those_of_pytorch(case, policy, tmp_path):
    tokens, expected = _written(case, tmp_path / "m.npz")
    opened = Checkpoint(tmp_path / "m.npz")
    runtime = opened.architecture.load(opened, ThreadTeam(2), Context(policy, tokens.size))
    runtime.reserve(64)
    actual = runtime.run(tokens[:-1], tokens[1:], 64, runtime.new_tallies())
    assert actual.mean() == pytest.approx(expected.mean(), abs=1e-5)
    # Frequencies rounded otherwise, by some 2**-23, turn angles of up to 300 by some 1e-5; logits are some 10.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


def test_every_case_is_compared():
    with np.load(GOLDEN) as golden:
        assert {name.partition("/")[0] for name in golden.files} == set(CASES)
