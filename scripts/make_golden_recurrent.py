"""Write tests/golden/recurrent_torch.npz: what PyTorch says, in float64, about small random recurrent models.

    python scripts/make_golden_recurrent.py

Needs PyTorch; the test that compares (``tests/test_golden_recurrent.py``) does not. The file holds for each case, under
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
from extras import extras
from make_baseline import stored

from lm_meter.models.recurrent_config import parse_recurrent_config, recurrent_arrays


def parse_options() -> argparse.Namespace:
    """Options from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "tests" / "golden" / "recurrent_torch.npz"
    parser.add_argument("--out", type=Path, default=default, metavar="FILE.npz", help="default: tests/golden/")
    return parser.parse_args()


OPTIONS = parse_options() if __name__ == "__main__" else None

with extras("torch"):
    import torch

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
    architecture: str = "lstm"
    windows: tuple[int, ...] = ()  # of a QRNN
    cutoffs: tuple[int, ...] = ()  # of an adaptive embedding and softmax
    widths: tuple[int, ...] = ()  # of the embedding's bins; the softmax's are those of its divisor
    divisor: float = 2.0


# Sizes that are no multiples of 16, but for one, so that the padding of every matrix is exercised.
CASES = {
    "two_layers_projection_tied": Case(103, 24, (40, 36), 24, True, True, "float32", 2),
    "one_layer_untied_no_bias": Case(61, 20, (33,), None, False, False, "float16", 3),
    "three_layers": Case(50, 16, (24, 31, 17), None, False, True, "bfloat16", 4),
    "gru": Case(70, 19, (33, 24), 19, True, True, "float32", 5, "gru"),
    "gru_no_bias": Case(50, 16, (21,), None, False, False, "float16", 6, "gru"),
    "qrnn": Case(60, 18, (35, 20, 18), None, True, True, "float32", 7, "qrnn", (2, 1, 3)),
    "adaptive": Case(90, 21, (24,), None, False, True, "float32", 8, "lstm", (), (20, 55), (21, 10, 3)),
    "adaptive_no_bias": Case(70, 16, (18,), None, False, False, "float32", 9, "gru", (), (33,), (16, 5), 4.0),
}


def config_of(case: Case) -> dict:
    """The checkpoint's configuration."""
    config = {
        "architecture": case.architecture,
        "dimensions": {
            "vocabulary": case.vocabulary,
            "embedding": case.embedding,
            "hidden": list(case.hidden),
            "projection": case.projection,
        },
        "tied": case.tied,
        "bias": {
            case.architecture: case.biases,
            "projection": case.biases and case.projection is not None,
            "softmax": case.biases,
        },
        "tokenizer": {"kind": "word", "start": "<eos>", "end_of_line": "<eos>"},
        "origin": "scripts/make_golden_recurrent.py",
    }
    if case.architecture == "qrnn":
        config["dimensions"]["window"], config["output_gate"] = list(case.windows), True
    if case.cutoffs:
        softmax = [int(case.hidden[-1] // case.divisor**n) for n in range(len(case.cutoffs) + 1)]
        bins = {"cutoffs": list(case.cutoffs), "project_first": False}
        config["adaptive"] = {
            "embedding": {**bins, "widths": list(case.widths)},
            "softmax": {**bins, "widths": softmax, "tail_bias": False, "charged": "all"},
            "tied_projections": False,
        }
    names = _weight_shapes(config)
    return config | {"formats": dict.fromkeys(names, case.weight_format)}


def _weight_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    expected = recurrent_arrays(parse_recurrent_config(config["architecture"], config, "golden case"), "golden case")
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


def lstm_layer(
    case: Case, layer: int, units: int, weights: dict[str, torch.Tensor], values: torch.Tensor
) -> torch.Tensor:
    """Hidden states of ``torch.nn.LSTM``."""
    cell = torch.nn.LSTM(values.shape[1], units, bias=case.biases, dtype=torch.float64)
    joined = weights[f"lstm.{layer}.weight"]
    cell.weight_ih_l0.copy_(joined[:, : values.shape[1]])
    cell.weight_hh_l0.copy_(joined[:, values.shape[1] :])
    if case.biases:
        cell.bias_ih_l0.copy_(weights[f"lstm.{layer}.bias"])
        cell.bias_hh_l0.zero_()
    return cell(values)[0]


def gru_layer(
    case: Case, layer: int, units: int, weights: dict[str, torch.Tensor], values: torch.Tensor
) -> torch.Tensor:
    """Hidden states of ``torch.nn.GRU``."""
    cell = torch.nn.GRU(values.shape[1], units, bias=case.biases, dtype=torch.float64)
    cell.weight_ih_l0.copy_(weights[f"gru.{layer}.input.weight"])
    cell.weight_hh_l0.copy_(weights[f"gru.{layer}.hidden.weight"])
    if case.biases:
        cell.bias_ih_l0.copy_(weights[f"gru.{layer}.input.bias"])
        cell.bias_hh_l0.copy_(weights[f"gru.{layer}.hidden.bias"])
    return cell(values)[0]


def qrnn_layer(
    case: Case, layer: int, units: int, weights: dict[str, torch.Tensor], values: torch.Tensor
) -> torch.Tensor:
    """Hidden states of a QRNN layer as its paper defines it: a causal convolution, then pooling with output gates."""
    window, inputs = case.windows[layer], values.shape[1]
    kernel = weights[f"qrnn.{layer}.weight"].reshape(3 * units, window, inputs).transpose(1, 2)
    padded = torch.nn.functional.pad(values.T[None], (window - 1, 0))
    gates = torch.nn.functional.conv1d(padded, kernel, weights.get(f"qrnn.{layer}.bias"))[0].T
    candidate, forget, output = gates[:, :units].tanh(), *gates[:, units:].sigmoid().chunk(2, dim=1)
    cell, hidden = torch.zeros(units, dtype=torch.float64), []
    for z, f, o in zip(candidate, forget, output, strict=True):
        cell = f * cell + (1 - f) * z
        hidden.append(o * cell)
    return torch.stack(hidden)


def embedded(case: Case, weights: dict[str, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
    """Vectors of tokens; those of an adaptive embedding from the whole table, all bins projected."""
    if not case.cutoffs:
        return torch.nn.functional.embedding(tokens, weights["embedding"])
    rows = [weights["embedding.0"]]
    for number in range(1, len(case.widths)):
        rows.append(weights[f"embedding.{number}"] @ weights[f"embedding.{number}.projection"].T)
    return torch.nn.functional.embedding(tokens, torch.cat(rows))


def adaptive_log_probs(
    case: Case, weights: dict[str, torch.Tensor], values: torch.Tensor, tokens: torch.Tensor
) -> np.ndarray:
    """Log-probabilities of ``torch.nn.AdaptiveLogSoftmaxWithLoss``."""
    softmax = torch.nn.AdaptiveLogSoftmaxWithLoss(
        case.hidden[-1], case.vocabulary, list(case.cutoffs), case.divisor, case.biases, dtype=torch.float64
    )
    softmax.head.weight.copy_(torch.cat([weights["softmax.0.weight"], weights["softmax.clusters.weight"]]))
    if case.biases:
        softmax.head.bias.copy_(torch.cat([weights["softmax.0.bias"], weights["softmax.clusters.bias"]]))
    for number, (projection, tail) in enumerate(softmax.tail, 1):
        projection.weight.copy_(weights[f"softmax.{number}.projection"])
        tail.weight.copy_(weights[f"softmax.{number}.weight"])
    return softmax(values, tokens).output.numpy()


LAYERS = {"lstm": lstm_layer, "gru": gru_layer, "qrnn": qrnn_layer}


def torch_log_probs(case: Case, arrays: dict[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    """Log-probability of each token by PyTorch in float64: (n,), in nats."""
    weights = {name: exact(array) for name, array in arrays.items() if not name.startswith("tokenizer.")}
    inputs = torch.from_numpy(np.concatenate([[END_OF_LINE], tokens[:-1]]))
    with torch.no_grad():
        values = embedded(case, weights, inputs)
        for layer, units in enumerate(case.hidden):
            values = LAYERS[case.architecture](case, layer, units, weights, values)
        if case.projection is not None:
            values = torch.nn.functional.linear(values, weights["projection.weight"], weights.get("projection.bias"))
        if case.cutoffs:
            return adaptive_log_probs(case, weights, values, torch.from_numpy(tokens))
        softmax = weights["embedding" if case.tied else "softmax.weight"]
        logits = torch.nn.functional.linear(values, softmax, weights.get("softmax.bias"))
        chosen = torch.from_numpy(tokens)[:, None]
        return torch.log_softmax(logits, dim=1).gather(1, chosen)[:, 0].numpy()


def main(out: Path) -> None:
    """Write the golden file."""
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
    main(OPTIONS.out)
