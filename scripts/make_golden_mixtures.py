"""Write tests/golden/mixtures.npz: what others say about small random mixtures of experts and grouped projections.

    python scripts/make_golden_mixtures.py

Needs PyTorch and transformers; the test that compares (``tests/test_golden_mixtures.py``) does not. Cases of the
``transformers`` library are as in ``make_golden_transformers.py``. ``switch_grouped`` is written out here in PyTorch: a
decoder whose feed-forward parts are switches (one expert a token, times its probability) and whose projections are
grouped convolutions of one position. Of it the file holds ``config`` (of a checkpoint, as bytes), the weights under
``arrays/NAME``, ``tokens`` (512,) int64, and ``log_probs`` (511,) float64 in nats, in float64 from float32 weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from extras import extras


def parse_options() -> argparse.Namespace:
    """Options from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "tests" / "golden" / "mixtures.npz"
    parser.add_argument("--out", type=Path, default=default, metavar="FILE.npz", help="default: tests/golden/")
    return parser.parse_args()


OPTIONS = parse_options() if __name__ == "__main__" else None

with extras("torch transformers"):
    import torch
    import torch.nn.functional as F
    from make_golden_transformers import TOKENS, VOCABULARY, golden_case
    from transformers import MixtralConfig

_SEED = 7
_SPREAD = 0.25
_SHAPE = {"vocab_size": VOCABULARY, "max_position_embeddings": TOKENS}
CASES = {
    "mixtral": MixtralConfig(
        hidden_size=48, intermediate_size=40, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
        num_local_experts=5, num_experts_per_tok=2, **_SHAPE,
    ),
    "mixtral_window": MixtralConfig(
        hidden_size=24, intermediate_size=17, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        num_local_experts=18, num_experts_per_tok=3, sliding_window=20, tie_word_embeddings=True, **_SHAPE,
    ),
}  # fmt: skip
WIDTH, HEADS, HIDDEN, LAYERS, EXPERTS, EPSILON = 36, 4, 54, 3, 6, 1e-5
GROUPS = {"query": 2, "key": 3, "value": 1, "output": 4}
FEED_GROUPS = {"input": 6, "output": 2}
SWITCH = {
    "architecture": "transformer",
    "dimensions": {
        "vocabulary": VOCABULARY, "width": WIDTH, "layers": LAYERS, "heads": HEADS, "key_value_heads": HEADS,
        "head_width": WIDTH // HEADS, "feed_forward": HIDDEN, "context": TOKENS,
    },
    "positions": {"kind": "learned", "count": TOKENS},
    "norm": {"kind": "layer", "place": "before", "final": True, "bias": True, "epsilon": EPSILON},
    "attention": {"groups": GROUPS},
    "feed_forward": {
        "activation": "relu", "gated": False, "groups": FEED_GROUPS,
        "experts": {"count": EXPERTS, "used": 1, "normalised": False, "bias": True},
    },
    "embedding": {"scale": 1.0},
    "bias": {"attention": True, "attention_output": True, "feed_forward": True, "softmax": False},
    "tied": True,
}  # fmt: skip


def _random_arrays() -> dict[str, torch.Tensor]:
    arrays = {}

    def add(name: str, *shape: int, centre: float = 0.0) -> None:
        arrays[name] = centre + _SPREAD * torch.randn(shape)

    def affine(name: str, rows: int, columns: int) -> None:
        add(f"{name}.weight", rows, columns)
        add(f"{name}.bias", rows)

    def norm(name: str) -> None:
        add(f"{name}.weight", WIDTH, centre=1.0)
        add(f"{name}.bias", WIDTH)

    add("embedding", VOCABULARY, WIDTH)
    add("positions", TOKENS, WIDTH)
    for layer in range(LAYERS):
        norm(f"layers.{layer}.attention.norm")
        norm(f"layers.{layer}.feed_forward.norm")
        for part, groups in GROUPS.items():
            affine(f"layers.{layer}.attention.{part}", WIDTH, WIDTH // groups)
        affine(f"layers.{layer}.feed_forward.router", EXPERTS, WIDTH)
        for expert in range(EXPERTS):
            place = f"layers.{layer}.feed_forward.experts.{expert}"
            affine(f"{place}.input", HIDDEN, WIDTH // FEED_GROUPS["input"])
            affine(f"{place}.output", WIDTH, HIDDEN // FEED_GROUPS["output"])
    norm("norm")
    return arrays


def switch_log_probs(arrays: dict[str, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
    """Log-probability of each token after the ones before it."""
    w = {name: array.double() for name, array in arrays.items()}

    def affine(name: str, x: torch.Tensor, groups: int = 1) -> torch.Tensor:
        return F.conv1d(x.T[None], w[f"{name}.weight"][:, :, None], w[f"{name}.bias"], groups=groups)[0].T

    def normed(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"], EPSILON)

    def heads(x: torch.Tensor) -> torch.Tensor:
        return x.reshape(len(x), HEADS, WIDTH // HEADS).transpose(0, 1)

    x = w["embedding"][tokens] + w["positions"][: len(tokens)]
    for layer in range(LAYERS):
        attention, feed = f"layers.{layer}.attention", f"layers.{layer}.feed_forward"
        source = normed(f"{attention}.norm", x)
        q, k, v = (heads(affine(f"{attention}.{p}", source, GROUPS[p])) for p in ("query", "key", "value"))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1).reshape(len(x), WIDTH)
        x = x + affine(f"{attention}.output", mixed, GROUPS["output"])
        source = normed(f"{feed}.norm", x)
        gates, chosen = affine(f"{feed}.router", source).softmax(dim=-1).max(dim=-1)
        out = torch.zeros_like(x)
        for expert in range(EXPERTS):
            own, place = chosen == expert, f"{feed}.experts.{expert}"
            if not own.any():
                continue
            hidden = affine(f"{place}.input", source[own], FEED_GROUPS["input"]).relu()
            out[own] = gates[own, None] * affine(f"{place}.output", hidden, FEED_GROUPS["output"])
        x = x + out
    logits = normed("norm", x) @ w["embedding"].T
    return torch.log_softmax(logits[:-1], dim=-1).gather(1, tokens[1:, None])[:, 0]


def switch_case(name: str) -> dict[str, np.ndarray]:
    """A random model, tokens, and what PyTorch says about them."""
    torch.manual_seed(_SEED)
    arrays, tokens = _random_arrays(), torch.randint(0, VOCABULARY, (TOKENS,))
    return {
        f"{name}/config": np.frombuffer(json.dumps(SWITCH).encode(), np.uint8),
        **{f"{name}/arrays/{key}": array.numpy() for key, array in arrays.items()},
        f"{name}/tokens": tokens.numpy(),
        f"{name}/log_probs": switch_log_probs(arrays, tokens).numpy(),
    }


def main(out: Path) -> None:
    """Write the file."""
    found: dict[str, np.ndarray] = {}
    for seed, (name, config) in enumerate(CASES.items(), start=1):
        found |= golden_case(name, config, seed)
    np.savez_compressed(out, **found, **switch_case("switch_grouped"))


if __name__ == "__main__":
    main(OPTIONS.out)
