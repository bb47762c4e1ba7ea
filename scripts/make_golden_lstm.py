"""Write tests/golden/lstm_torch.npz: what PyTorch says, in float64, about three small random LSTM language models.

    python scripts/make_golden_lstm.py

Needs PyTorch; the test that compares (``tests/test_golden_lstm.py``) does not. The file holds for each case, under
``CASE/``: ``config`` (a checkpoint's configuration, JSON as UTF-8 bytes), ``array/NAME`` (the checkpoint's arrays, as
``lm_meter.write_checkpoint`` takes them), ``tokens`` (n,) int64, ``log_probs`` (n,) float64 in nats, each token's after
``<eos>`` and the tokens before it, and ``mean_loss`` in nats.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from make_baseline import stored

from lm_meter.models.lstm_config import lstm_arrays, parse_lstm_config

TOKENS = 2000
END_OF_LINE = 0  # number of "<eos>"; word n is "wn"
# Spread of a weight times the square root of its matrix's columns. Larger, the recurrence would be chaotic and blow up
# every rounding; much smaller, all predictions would look alike.
_GAIN = 1.5
_BIAS_SPREAD = 0.3


@dataclass(frozen=True)
class Case:
    """A model: V, E, H of each layer and P (None without projection), its options, and its weights' format."""

    vocabulary: int
    embedding: int
    hidden: tuple[int, ...]
    projection: int | None
    tied: bool
    biases: bool
    weight_format: str
    seed: int


# Sizes that are no multiples of 16, but for one, so that the padding of every matrix is exercised.
CASES = {
    "two_layers_projection_tied": Case(103, 24, (40, 36), 24, True, True, "float32", 2),
    "one_layer_untied_no_bias": Case(61, 20, (33,), None, False, False, "float16", 3),
    "three_layers": Case(50, 16, (24, 31, 17), None, False, True, "bfloat16", 4),
}


def config_of(case: Case) -> dict:
    """The checkpoint's configuration."""
    config = {
        "architecture": "lstm",
        "dimensions": {
            "vocabulary": case.vocabulary,
            "embedding": case.embedding,
            "hidden": list(case.hidden),
            "projection": case.projection,
        },
        "tied": case.tied,
        "bias": {
            "lstm": case.biases,
            "projection": case.biases and case.projection is not None,
            "softmax": case.biases,
        },
        "tokenizer": {"kind": "word", "start": "<eos>", "end_of_line": "<eos>"},
        "origin": "scripts/make_golden_lstm.py",
    }
    names = _weight_shapes(config)
    return config | {"formats": dict.fromkeys(names, case.weight_format)}


def _weight_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    expected = lstm_arrays(parse_lstm_config(config, "golden case"), "golden case")
    return {name: array.shape for name, array in expected.items() if array.is_weight}


def arrays_of(case: Case, config: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random weights in the case's format, and the words."""
    arrays = {}
    for name, shape in _weight_shapes(config).items():
        spread = _BIAS_SPREAD if len(shape) == 1 else _GAIN / np.sqrt(shape[1])
        arrays[name] = stored((rng.standard_normal(shape) * spread).astype(np.float32), case.weight_format)
    words = ["<eos>", *(f"w{number}" for number in range(1, case.vocabulary))]
    arrays["tokenizer.words"] = np.frombuffer("\n".join(words).encode(), np.uint8)
    return arrays


def exact(values: np.ndarray) -> torch.Tensor:
    """A stored weight array in float64, without rounding."""
    if values.dtype == np.uint16:  # bfloat16
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return torch.from_numpy(values.astype(np.float64))


def torch_log_probs(case: Case, arrays: dict[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    """Log-probability of each token by PyTorch in float64: (n,), in nats."""
    weights = {name: exact(array) for name, array in arrays.items() if not name.startswith("tokenizer.")}
    inputs = torch.from_numpy(np.concatenate([[END_OF_LINE], tokens[:-1]]))
    with torch.no_grad():
        values = torch.nn.functional.embedding(inputs, weights["embedding"])
        for layer, units in enumerate(case.hidden):
            cell = torch.nn.LSTM(values.shape[1], units, bias=case.biases, dtype=torch.float64)
            joined = weights[f"lstm.{layer}.weight"]
            cell.weight_ih_l0.copy_(joined[:, : values.shape[1]])
            cell.weight_hh_l0.copy_(joined[:, values.shape[1] :])
            if case.biases:
                cell.bias_ih_l0.copy_(weights[f"lstm.{layer}.bias"])
                cell.bias_hh_l0.zero_()
            values = cell(values)[0]
        if case.projection is not None:
            values = torch.nn.functional.linear(values, weights["projection.weight"], weights.get("projection.bias"))
        softmax = weights["embedding" if case.tied else "softmax.weight"]
        logits = torch.nn.functional.linear(values, softmax, weights.get("softmax.bias"))
        chosen = torch.from_numpy(tokens)[:, None]
        return torch.log_softmax(logits, dim=1).gather(1, chosen)[:, 0].numpy()


def main() -> None:
    """Write the golden file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parent.parent / "tests" / "golden" / "lstm_torch.npz"
    parser.add_argument("--out", type=Path, default=default, metavar="FILE.npz", help="default: tests/golden/")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    golden: dict[str, np.ndarray] = {}
    for name, case in CASES.items():
        rng = np.random.default_rng(case.seed)
        config = config_of(case)
        arrays = arrays_of(case, config, rng)
        tokens = rng.integers(0, case.vocabulary, TOKENS)
        tokens[-1] = END_OF_LINE  # a text's last line ends
        log_probs = torch_log_probs(case, arrays, tokens)
        golden[f"{name}/config"] = np.frombuffer(json.dumps(config).encode(), np.uint8)
        golden |= {f"{name}/array/{key}": array for key, array in arrays.items()}
        golden |= {f"{name}/tokens": tokens, f"{name}/log_probs": log_probs}
        golden[f"{name}/mean_loss"] = np.array(-log_probs.mean())
        print(f"{name}: mean loss {-log_probs.mean():.9f} nats, from {-log_probs.max():.3f} to {-log_probs.min():.3f}")
    np.savez_compressed(out, **golden)
    print(f"{out}: {out.stat().st_size:,} bytes, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
