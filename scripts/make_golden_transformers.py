"""Write tests/golden/transformers.npz: what the ``transformers`` library says about small random models.

    python scripts/make_golden_transformers.py

Needs PyTorch and transformers; the test that compares (``tests/test_golden_transformers.py``) does not. The file holds
for each case, under ``CASE/``: ``config`` (the library's ``config.json``, as bytes), ``weights`` (its
``model.safetensors``, as bytes), ``tokens`` (512,) int64, and ``log_probs`` (511,) float64 in nats, the library's in
float64 from its float32 weights, of each token after the ones before it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from extras import extras


def parse_options() -> argparse.Namespace:
    """Options from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "tests" / "golden" / "transformers.npz"
    parser.add_argument("--out", type=Path, default=default, metavar="FILE.npz", help="default: tests/golden/")
    return parser.parse_args()


OPTIONS = parse_options() if __name__ == "__main__" else None

with extras("torch transformers"):
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedConfig

TOKENS = 512
VOCABULARY = 131
_GPT2 = {"vocab_size": VOCABULARY, "n_positions": TOKENS, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
_LLAMA = {"vocab_size": VOCABULARY, "max_position_embeddings": TOKENS}
CASES = {
    "gpt2": GPT2Config(n_embd=48, n_layer=3, n_head=4, **_GPT2),
    "gpt2_exact_gelu": GPT2Config(
        n_embd=40, n_layer=2, n_head=5, n_inner=56, activation_function="gelu", layer_norm_epsilon=1e-3, **_GPT2
    ),
    "llama": LlamaConfig(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, intermediate_size=80,
        **_LLAMA,
    ),
    "llama_tied_biases_wide_heads": LlamaConfig(
        hidden_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, head_dim=14,
        intermediate_size=33, attention_bias=True, mlp_bias=True, tie_word_embeddings=True, rms_norm_eps=1e-3,
        rope_theta=500.0, **_LLAMA,
    ),
}  # fmt: skip
# Spread of the weights: predictions differ visibly from uniform ones.
_SPREAD = 0.25


def golden_case(name: str, config: PreTrainedConfig, seed: int) -> dict[str, np.ndarray]:
    """A random model's files, tokens, and what the library says about them."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    if config.model_type == "mixtral":
        model.set_experts_implementation("eager")  # the others know no float64
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            centre = 1.0 if parameter.dim() == 1 and key.endswith("weight") else 0.0
            parameter.copy_(centre + _SPREAD * torch.randn_like(parameter))
    tokens = torch.randint(0, VOCABULARY, (TOKENS,))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, safe_serialization=True)
        files = {key: (Path(folder) / key).read_bytes() for key in ("config.json", "model.safetensors")}
    with torch.no_grad():
        logits = model.double()(tokens[None]).logits[0]
    found = torch.log_softmax(logits[:-1], dim=-1).gather(1, tokens[1:, None])[:, 0]
    return {
        f"{name}/config": np.frombuffer(files["config.json"], np.uint8),
        f"{name}/weights": np.frombuffer(files["model.safetensors"], np.uint8),
        f"{name}/tokens": tokens.numpy(),
        f"{name}/log_probs": found.numpy(),
    }


def main(out: Path) -> None:
    """Write the file."""
    arrays: dict[str, np.ndarray] = {}
    for seed, (name, config) in enumerate(CASES.items(), start=1):
        arrays |= golden_case(name, config, seed)
    np.savez_compressed(out, **arrays)


if __name__ == "__main__":
    main(OPTIONS.out)
