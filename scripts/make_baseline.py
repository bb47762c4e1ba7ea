"""Write the MicroNet baseline at full size: 159M parameters over WikiText-103's 267,735 words.

    python scripts/make_baseline.py --weights unigram --vocab-counts vocab_counts.tsv --out baseline.npz

``random``: all weights random, for measuring counts and speed. ``unigram``: the same but for a zero projection and the
logarithms of the training counts as the softmax's bias, so that the model is a unigram model and its perplexity is
known from the counts alone (1595.615 on the test set).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from lm_meter import LmMeterError, write_checkpoint
from lm_meter.bfloat16 import to_bfloat16

EMBEDDING, HIDDEN = 512, 2048
_SEED = 159
_SCALE = 0.05  # spread of the random weights: small enough that no gate saturates
_ROWS = 1 << 14


def read_counts(path: Path) -> tuple[list[str], np.ndarray]:
    """Words and their training counts from a file of lines ``word<TAB>count``."""
    words, counts = [], []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            if line:
                word, tab, count = line.rpartition("\t")
                if not tab or not count.isdecimal() or int(count) == 0:
                    raise SystemExit(f"{path}: line {number} is {line!r:.60}; expected a word, a tab and its count")
                words.append(word)
                counts.append(int(count))
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: cannot be read ({error}); expected a file of words and counts") from None
    if len(set(words)) != len(words) or not {"<eos>", "<unk>"} <= set(words):
        raise SystemExit(f"{path}: expected every word once, <eos> and <unk> among them")
    return words, np.array(counts, np.float64)


def stored(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 values in a weight format; bfloat16 is rounded to nearest even and kept as bit patterns."""
    return to_bfloat16(values) if dtype == "bfloat16" else values.astype(dtype)


def random_matrix(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Normal weights, made some rows at a time: the float32 original of a half-size matrix is never held whole."""
    out = np.empty(shape, np.uint16 if dtype == "bfloat16" else dtype)
    for first in range(0, shape[0], _ROWS):
        part = out[first : first + _ROWS]
        part[...] = stored(rng.standard_normal(part.shape, np.float32) * np.float32(_SCALE), dtype)
    return out


def baseline_arrays(kind: str, dtype: str, counts: np.ndarray) -> dict[str, np.ndarray]:
    """All weights of the baseline; biases are float32 whatever the format of the matrices."""
    rng = np.random.default_rng(_SEED)
    vocabulary = len(counts)
    arrays = {
        "embedding": random_matrix(rng, (vocabulary, EMBEDDING), dtype),
        "lstm.0.weight": random_matrix(rng, (4 * HIDDEN, EMBEDDING + HIDDEN), dtype),
        "lstm.0.bias": random_matrix(rng, (4 * HIDDEN,), "float32"),
        "projection.weight": random_matrix(rng, (EMBEDDING, HIDDEN), dtype),
        "projection.bias": random_matrix(rng, (EMBEDDING,), "float32"),
        "softmax.bias": random_matrix(rng, (vocabulary,), "float32"),
    }
    if kind == "unigram":
        arrays["projection.weight"][...] = 0
        arrays["projection.bias"][...] = 0
        # Any constant may be added to all logits; subtracting log(sum) leaves float32 the most digits.
        arrays["softmax.bias"][...] = np.log(counts) - math.log(counts.sum())
    return arrays


def main() -> None:
    """Parse the arguments and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", choices=("random", "unigram"), default="random")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--vocab-counts", type=Path, required=True, metavar="FILE.tsv", help="word, tab, count")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz")
    options = parser.parse_args()
    if not options.out.resolve().parent.is_dir():
        raise SystemExit(f"{options.out}: there is no such folder; make it first")
    words, counts = read_counts(options.vocab_counts)
    arrays = baseline_arrays(options.weights, options.dtype, counts)
    arrays["tokenizer.words"] = np.frombuffer("\n".join(words).encode(), np.uint8)
    config = {
        "architecture": "lstm",
        "dimensions": {
            "vocabulary": len(words),
            "embedding": EMBEDDING,
            "hidden": [HIDDEN],
            "projection": EMBEDDING,
        },
        "tied": True,
        "bias": {"lstm": True, "projection": True, "softmax": True},
        "tokenizer": {"kind": "word", "start": "<eos>", "end_of_line": "<eos>", "unknown": "<unk>"},
        "formats": dict.fromkeys(("embedding", "lstm.0.weight", "projection.weight"), options.dtype),
        "origin": f"scripts/make_baseline.py --weights {options.weights} --dtype {options.dtype}",
    }
    try:
        write_checkpoint(options.out, config, arrays)
    except LmMeterError as error:
        raise SystemExit(str(error)) from None
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
