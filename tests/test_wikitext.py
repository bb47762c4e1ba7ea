"""Known answers on the real WikiText-103 test set (shared data)."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hang import HANG

import lm_meter
from lm_meter.inspection import count_operations
from lm_meter.profiles import PROFILES
from lm_meter.text import read_text

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def counts(shared_data):
    lines = (shared_data / "wikitext-103" / "vocab_counts.tsv").read_text(encoding="utf-8").split("\n")
    return {word: int(count) for word, count in (line.rsplit("\t", 1) for line in lines if line)}


def test_unigram_model_of_the_full_vocabulary_has_its_known_perplexity(shared_data, counts, tmp_path):
    """The smallest LSTM that is a unigram model: one unit, zero weights, log counts as the softmax's bias."""
    vocabulary = len(counts)
    zeros = {"embedding": (vocabulary, 1), "lstm.0.weight": (4, 2), "softmax.weight": (vocabulary, 1)}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in zeros.items()}
    logs = np.log(np.array(list(counts.values()), np.float64)) - math.log(sum(counts.values()))
    arrays["softmax.bias"] = logs.astype(np.float32)
    arrays["tokenizer.words"] = np.frombuffer("\n".join(counts).encode(), np.uint8)
    config = {
        "architecture": "lstm",
        "dimensions": {"vocabulary": vocabulary, "embedding": 1, "hidden": [1], "projection": None},
        "tied": False,
        "bias": {"lstm": False, "projection": False, "softmax": True},
        "tokenizer": {"kind": "word", "start": "<eos>", "end_of_line": "<eos>", "unknown": "<unk>"},
    }
    lm_meter.write_checkpoint(tmp_path / "unigram.npz", config, arrays)
    text = read_text(shared_data / "wikitext-103" / "wiki.test.tokens")

    # The first 20,000 tokens here; scripts/make_baseline.py makes the full-size model for the whole set.
    result = lm_meter.evaluate(tmp_path / "unigram.npz", text=text, options=lm_meter.RunOptions(limit=20_000))

    words = [word for line, ended in text.lines() for word in [*line, *(["<eos>"] if ended else [])]]
    total = sum(counts.values())
    mean = -sum(math.log(counts[word] / total) for word in words[:20_000]) / 20_000
    # Logarithms of 3 to 18 are rounded to float32, by at most 2**-21, and less in the mean. 3e-7 is 0.0005 of 1595.6.
    assert result["nll_nats"] / 20_000 == pytest.approx(mean, abs=3e-7)
    # And over the whole set, by arithmetic alone, the counts give the stated 1595.615.
    whole = -sum(math.log(counts[word] / total) for word in words) / len(words)
    assert len(words) == 245_569
    assert f"{math.exp(whole):.3f}" == "1595.615"


def test_the_baseline_at_full_size_over_real_tokens(shared_data, counts, tmp_path):
    """159M parameters with unigram weights, the first two blocks of the test set: counts, storage, loss."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "make_baseline.py", "--weights", "unigram", "--dtype", "float16",
         "--vocab-counts", shared_data / "wikitext-103" / "vocab_counts.tsv", "--out", tmp_path / "baseline.npz"],
        capture_output=True, text=True, check=False, timeout=HANG,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = read_text(shared_data / "wikitext-103" / "wiki.test.tokens")

    result = lm_meter.evaluate(tmp_path / "baseline.npz", text=text, options=lm_meter.RunOptions(limit=128))

    operations, tensors = result["operations_per_token"], result["storage"]["tensors"]
    matrices = [tensor["count"] for tensor in tensors if len(tensor["shape"]) == 2]
    # RULES of the challenge: 2 * 159,100,416 with biases; LSTM gates 9 * 2048.
    assert operations["matrix_vector"] == 318_200_832
    assert operations["by_region"]["lstm.0.cell"] == 18_432
    assert sum(matrices) == 159_100_416
    assert sum(tensor["count"] for tensor in tensors) == 159_376_855
    law = count_operations(lm_meter.Checkpoint(tmp_path / "baseline.npz"), PROFILES["micronet-2019-06"])["histogram"]
    assert result["histogram"] == [{**row, "count": 128 * row["count"]} for row in law]
    words = [word for line, ended in text.lines() for word in [*line, *(["<eos>"] if ended else [])]][:128]
    mean = -sum(math.log(counts[word] / sum(counts.values())) for word in words) / 128
    assert result["nll_nats"] / 128 == pytest.approx(mean, abs=1e-6)  # logarithms rounded to float32, as above
