"""The script that writes the full-size baseline, over a small vocabulary; what it refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hang import HANG

import lm_meter

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "make_baseline.py"


def make(counts, out, *options):
    command = [sys.executable, SCRIPT, "--vocab-counts", counts, "--out", out, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_unigram_weights_predict_the_counts(dtype, tmp_path):
    (tmp_path / "counts").write_text("<eos>\t5\n<unk>\t1\nthe\t10\n", encoding="utf-8")
    done = make(tmp_path / "counts", tmp_path / "m.npz", "--weights", "unigram", "--dtype", dtype)
    assert done.returncode == 0, done.stderr
    model = lm_meter.Model(tmp_path / "m.npz")
    # Logarithms of 0.06 to 0.7 rounded to float32, and one float32 exponential each.
    np.testing.assert_allclose(np.exp(model.log_probs()), [5 / 16, 1 / 16, 10 / 16], rtol=1e-6)


@pytest.mark.parametrize("line", ["the", "the\tmany", "the\t-1", "the\t0"])
def test_a_line_without_a_count(line, tmp_path):
    (tmp_path / "counts").write_text(f"<eos>\t5\n{line}\n", encoding="utf-8")
    done = make(tmp_path / "counts", tmp_path / "m.npz")
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / 'counts'}: line 2 is {line!r}; expected a word, a tab and its count\n"


@pytest.mark.parametrize("content", ["the\t1\n", "<eos>\t1\n<unk>\t1\n<eos>\t1\n", ""])
def test_words_that_make_no_vocabulary(content, tmp_path):
    (tmp_path / "counts").write_text(content, encoding="utf-8")
    done = make(tmp_path / "counts", tmp_path / "m.npz")
    assert done.stderr == f"{tmp_path / 'counts'}: expected every word once, <eos> and <unk> among them\n"


def test_files_that_are_not_there(tmp_path):
    (tmp_path / "counts").write_text("<eos>\t5\n", encoding="utf-8")
    assert "cannot be read" in make(tmp_path / "none", tmp_path / "m.npz").stderr
    done = make(tmp_path / "counts", tmp_path / "none" / "m.npz")
    assert done.stderr == f"{tmp_path / 'none' / 'm.npz'}: there is no such folder; make it first\n"
