"""A real character LSTM, trained elsewhere with TensorFlow, gives the loss it gave there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lm_meter

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = Path(os.environ.get("LM_METER_SHARED_DATA") or ROOT.parent / "shared" / "data")
SOURCE = SHARED_DATA / "char-lstm" / "charlotte_bronte"
CONVERTER = ROOT / "scripts" / "convert_char_lstm.py"
# Characters of text.txt: 20,001, of which the first is only context.
FIRST, LAST = 100_000, 120_000
# By the model's original code, from a zero state.
MEAN_LOSS = 1.275111303
PERPLEXITY = 3.579100


@pytest.fixture
def source():
    if not SOURCE.is_dir():
        pytest.skip(f"{SOURCE} is not on this machine (set LM_METER_SHARED_DATA to the folder that holds char-lstm)")
    return SOURCE


def convert(source, out):
    command = [sys.executable, str(CONVERTER), "--source", str(source), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_known_loss(source, tmp_path):
    done = convert(source, tmp_path / "model.npz")
    assert done.returncode == 0, done.stderr
    content = (source / "text.txt").read_bytes().decode("utf-8")[FIRST : LAST + 1]
    (tmp_path / "text").write_bytes(content.encode())

    result = lm_meter.evaluate(
        tmp_path / "model.npz", text=tmp_path / "text", options=lm_meter.RunOptions(first_token="skip")
    )

    assert result["text"]["scored"] == LAST - FIRST
    assert abs(result["nll_nats"] / (LAST - FIRST) - MEAN_LOSS) < 1e-6
    assert abs(result["perplexity"]["piece"] - PERPLEXITY) < 5e-7 + 1e-6 * PERPLEXITY


def test_a_folder_without_a_manifest(tmp_path):
    done = convert(tmp_path, tmp_path / "model.npz")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'manifest.json'}: cannot be read as JSON")
    assert not (tmp_path / "model.npz").exists()
