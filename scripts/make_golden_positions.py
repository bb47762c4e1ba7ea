"""Write tests/golden/positions.npz: what PyTorch says about small random models with other positions and patterns.

    python scripts/make_golden_positions.py

Needs PyTorch; the test that compares (``tests/test_golden_positions.py``) does not. Each model is run here over its
whole text at once, in float64 from float32 weights: attention is a dense matrix of scores under a mask, and
Transformer-XL's scores of distances are moved into place by its authors' ``rel_shift`` (Dai et al., 2019, appendix B).
The file holds for each case, under ``CASE/``: ``config`` (of a checkpoint, as JSON), ``array/NAME`` float32, ``tokens``
(N,) int64, and ``log_probs`` (N - 1,) float64 in nats, of each token after the ones before it.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from extras import extras


def parse_options() -> argparse.Namespace:
    """Options from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "tests" / "golden" / "positions.npz"
    parser.add_argument("--out", type=Path, default=default, metavar="FILE.npz", help="default: tests/golden/")
    return parser.parse_args()


OPTIONS = parse_options() if __name__ == "__main__" else None

with extras("torch"):
    import torch
    from torch.nn import functional

TOKENS = 300
VOCABULARY = 97
# Spread of the weights: predictions differ visibly from uniform ones.
_SPREAD = 0.25
_NORM = {"kind": "layer", "place": "after", "final": False, "bias": True, "epsilon": 1e-5}
_XL = {"kind": "transformer_xl", "shared_biases": False}
_SINUSOIDAL = {"kind": "sinusoidal", "layout": "interleaved", "exponent": "i/half", "base": 10000.0, "first": 0}
_FAIRSEQ = {**_SINUSOIDAL, "layout": "halves", "exponent": "i/(half-1)", "first": 2}
_PER_HEAD = {"kind": "relative", "per_head": True}
_PATTERNS = [
    {"kind": "strided", "local": 9, "stride": 10},
    {"kind": "fixed", "stride": 20, "summary": 3},
    {"kind": "local_global", "local": 12, "global": 5},
]
# Width, layers, positions, attention.
CASES: dict[str, tuple[int, int, dict[str, Any], dict[str, Any]]] = {
    "sinusoidal": (30, 2, _SINUSOIDAL, {}),
    "sinusoidal_fairseq": (44, 2, _FAIRSEQ, {}),
    "transformer_xl": (40, 3, _XL, {"window": 70}),
    "transformer_xl_shared_biases": (36, 2, {**_XL, "shared_biases": True}, {}),
    "relative_per_head": (32, 2, _PER_HEAD, {"window": 60}),
    "patterns": (28, 3, _SINUSOIDAL, {"pattern": _PATTERNS}),
    "patterns_transformer_xl": (36, 2, _XL, {"window": 110, "pattern": _PATTERNS[:2]}),
}
_HEADS, _HEAD_WIDTH, _FEED_FORWARD = 4, 9, 50


def make_case(name: str, seed: int) -> tuple[dict[str, Any], dict[str, torch.Tensor], torch.Tensor]:
    """Configuration, random weights and tokens."""
    torch.manual_seed(seed)
    width, layers, positions, attention = CASES[name]
    inside = _HEADS * _HEAD_WIDTH
    shapes: dict[str, tuple[int, ...]] = {"embedding": (VOCABULARY, width), "softmax.weight": (VOCABULARY, width)}
    for layer in range(layers):
        part = f"layers.{layer}"
        for kind in ("query", "key", "value"):
            shapes[f"{part}.attention.{kind}.weight"] = (inside, width)
        shapes[f"{part}.attention.output.weight"] = (width, inside)
        shapes[f"{part}.feed_forward.input.weight"] = (_FEED_FORWARD, width)
        shapes[f"{part}.feed_forward.output.weight"] = (width, _FEED_FORWARD)
        for block in ("attention", "feed_forward"):
            shapes |= {f"{part}.{block}.norm.weight": (width,), f"{part}.{block}.norm.bias": (width,)}
        if positions["kind"] == "relative":
            shapes[f"{part}.attention.relative"] = (attention["window"] + 1, inside)
        if positions["kind"] == "transformer_xl":
            shapes[f"{part}.attention.distance.weight"] = (inside, width)
            where = "attention" if positions["shared_biases"] else f"{part}.attention"
            shapes |= {f"{where}.key_bias": (inside,), f"{where}.distance_bias": (inside,)}
    arrays = {key: _SPREAD * torch.randn(shape) + float("norm.weight" in key) for key, shape in shapes.items()}
    config = {
        "architecture": "transformer",
        "dimensions": {
            "vocabulary": VOCABULARY, "width": width, "layers": layers, "heads": _HEADS, "key_value_heads": _HEADS,
            "head_width": _HEAD_WIDTH, "feed_forward": _FEED_FORWARD, "context": TOKENS,
        },
        "positions": positions, "attention": attention, "norm": _NORM, "tied": False,
        "feed_forward": {"activation": "relu", "gated": False}, "embedding": {"scale": math.sqrt(width)},
        "bias": {"attention": False, "attention_output": False, "feed_forward": False, "softmax": False},
    }  # fmt: skip
    return config, arrays, torch.randint(0, VOCABULARY, (TOKENS,))


def waves(places: torch.Tensor, width: int, layout: str, steps: int) -> torch.Tensor:
    """Sinusoids of some places, in float32 as in training code: (n, width) float64."""
    frequencies = torch.exp(torch.arange(width // 2, dtype=torch.float32) * -(math.log(10000) / steps))
    angles = places.to(torch.float32)[:, None] * frequencies[None, :]
    parts = [torch.sin(angles), torch.cos(angles)]
    return (torch.stack(parts, -1).flatten(1) if layout == "interleaved" else torch.cat(parts, -1)).double()


def rel_shift(scores: torch.Tensor) -> torch.Tensor:
    """(heads, n, n) scores, column c for distance n - 1 - c, to column j for key j; j behind a query is junk."""
    heads, rows, columns = scores.shape
    padded = torch.cat([scores.new_zeros(heads, rows, 1), scores], dim=-1)
    return padded.view(heads, columns + 1, rows)[:, 1:].reshape(scores.shape)


def seen(count: int, attention: dict[str, Any], layer: int) -> torch.Tensor:
    """Which keys each query sees: (n, n) bool."""
    i, j = torch.arange(count)[:, None], torch.arange(count)[None, :]
    pattern = attention["pattern"][layer] if "pattern" in attention else {"kind": "dense"}
    near = i - j <= attention.get("window", count)
    if pattern["kind"] == "strided":
        near &= (i - j <= pattern["local"]) | ((i - j) % pattern["stride"] == 0)
    elif pattern["kind"] == "fixed":
        stride = pattern["stride"]
        near &= (i // stride == j // stride) | (j % stride >= stride - pattern["summary"])
    elif pattern["kind"] == "local_global":
        near = (near & (i - j <= pattern["local"])) | (j < pattern["global"])
    return near & (j <= i)


def attend(x: torch.Tensor, config: dict[str, Any], arrays: dict[str, torch.Tensor], layer: int) -> torch.Tensor:
    """A layer's attention over the whole text, up to its output matrix: (n, heads * head width)."""
    part, count, positions = f"layers.{layer}.attention", x.shape[0], config["positions"]

    def heads(rows: torch.Tensor) -> torch.Tensor:
        return rows.view(rows.shape[0], _HEADS, _HEAD_WIDTH).transpose(0, 1)

    query, key, value = (heads(x @ arrays[f"{part}.{kind}.weight"].T) for kind in ("query", "key", "value"))
    if positions["kind"] == "transformer_xl":
        where = "attention" if positions["shared_biases"] else part
        u, v = (arrays[f"{where}.{kind}_bias"].view(_HEADS, 1, _HEAD_WIDTH) for kind in ("key", "distance"))
        distances = waves(torch.arange(count - 1, -1, -1), x.shape[1], "halves", x.shape[1] // 2)
        far = heads(distances @ arrays[f"{part}.distance.weight"].T)
        scores = (query + u) @ key.transpose(1, 2) + rel_shift((query + v) @ far.transpose(1, 2))
    else:
        scores = query @ key.transpose(1, 2)
    if positions["kind"] == "relative":
        by_distance = query @ heads(arrays[f"{part}.relative"]).transpose(1, 2)
        distance = (torch.arange(count)[:, None] - torch.arange(count)[None, :]).clamp(0, by_distance.shape[2] - 1)
        scores = scores + by_distance.gather(2, distance.expand(_HEADS, -1, -1))
    scores = (scores / math.sqrt(_HEAD_WIDTH)).masked_fill(~seen(count, config["attention"], layer), -math.inf)
    return (torch.softmax(scores, dim=-1) @ value).transpose(0, 1).reshape(count, -1)


def log_probs(config: dict[str, Any], arrays: dict[str, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
    """Log-probability of each token after those before it."""
    width, positions = config["dimensions"]["width"], config["positions"]
    x = arrays["embedding"][tokens] * config["embedding"]["scale"]
    if positions["kind"] == "sinusoidal":
        steps = width // 2 - (positions["exponent"] == "i/(half-1)")
        x = x + waves(torch.arange(len(tokens)) + positions["first"], width, positions["layout"], steps)
    for layer in range(config["dimensions"]["layers"]):
        part = f"layers.{layer}"

        def norm(y: torch.Tensor, block: str, part: str = part) -> torch.Tensor:
            name = f"{part}.{block}.norm"
            return functional.layer_norm(y, (width,), arrays[f"{name}.weight"], arrays[f"{name}.bias"], 1e-5)

        x = norm(x + attend(x, config, arrays, layer) @ arrays[f"{part}.attention.output.weight"].T, "attention")
        hidden = torch.relu(x @ arrays[f"{part}.feed_forward.input.weight"].T)
        x = norm(x + hidden @ arrays[f"{part}.feed_forward.output.weight"].T, "feed_forward")
    logits = x @ arrays["softmax.weight"].T
    return torch.log_softmax(logits[:-1], dim=-1).gather(1, tokens[1:, None])[:, 0]


def main(out: Path) -> None:
    """Write the file."""
    found: dict[str, np.ndarray] = {}
    for seed, name in enumerate(CASES, start=1):
        config, arrays, tokens = make_case(name, seed)
        expected = log_probs(config, {key: array.double() for key, array in arrays.items()}, tokens)
        found |= {f"{name}/array/{key}": array.numpy() for key, array in arrays.items()}
        found[f"{name}/config"] = np.frombuffer(json.dumps(config).encode(), np.uint8)
        found |= {f"{name}/tokens": tokens.numpy(), f"{name}/log_probs": expected.numpy()}
    np.savez_compressed(out, **found)


if __name__ == "__main__":
    main(OPTIONS.out)
