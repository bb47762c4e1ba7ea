"""Mixtures of experts and grouped projections against what others say: the transformers library, and PyTorch itself.

``scripts/make_golden_mixtures.py`` made the file.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from test_golden_transformers import converted

from lm_meter import Checkpoint, write_checkpoint
from lm_meter.context import Context
from lm_meter.threads import ThreadTeam

GOLDEN = Path(__file__).parent / "golden" / "mixtures.npz"


def _compare(opened, tokens, expected):
    runtime = opened.architecture.load(opened, ThreadTeam(2), Context("cache", 512))
    runtime.reserve(64)
    actual = runtime.run(tokens[:-1], tokens[1:], 64, runtime.new_tallies())
    assert actual.mean() == pytest.approx(expected.mean(), abs=1e-5)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("case", ["mixtral", "mixtral_window"])
def test_a_converted_mixtral(case, tmp_path):
    pytest.importorskip("safetensors")
    pytest.importorskip("tokenizers")
    opened, tokens, expected = converted(case, tmp_path, GOLDEN)
    assert (opened.model_config.window == 19) == (case == "mixtral_window")
    _compare(opened, tokens, expected)


def test_a_switch_with_grouped_projections(tmp_path):
    prefix = "switch_grouped/arrays/"
    with np.load(GOLDEN) as golden:
        config = json.loads(golden["switch_grouped/config"].tobytes())
        arrays = {name.removeprefix(prefix): golden[name] for name in golden.files if name.startswith(prefix)}
        tokens, expected = golden["switch_grouped/tokens"], golden["switch_grouped/log_probs"]
    words = "\n".join(f"w{n}" for n in range(config["dimensions"]["vocabulary"]))
    config["tokenizer"] = {"kind": "word", "start": "w0", "end_of_line": "w0"}
    arrays["tokenizer.words"] = np.frombuffer(words.encode(), np.uint8)
    write_checkpoint(tmp_path / "m.npz", config, arrays)
    _compare(Checkpoint(tmp_path / "m.npz"), tokens, expected)
