"""Small random Hugging Face folders of a Llama over the 128 characters of ASCII."""

import json

import numpy as np

LLAMA = {
    "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
    "vocab_size": 128, "max_position_embeddings": 16, "tie_word_embeddings": True,
}  # fmt: skip


def tokenizer_json(tokens=128, **changes):
    """A ``tokenizer.json`` of single characters, with entries changed."""
    model = {"type": "BPE", "vocab": {chr(n): n for n in range(tokens)}, "merges": []}
    return json.dumps({"version": "1.0", "model": model, "decoder": {"type": "Fuse"}, **changes})


def llama_tensors(rows=128):
    """Tensors of the model that ``LLAMA`` describes, with so many rows of its embedding."""
    layer = "model.layers.0."
    shapes = {f"{layer}self_attn.{part}_proj.weight": (8, 8) for part in "qkvo"}
    shapes |= {f"{layer}mlp.{part}_proj.weight": (12, 8) for part in ("gate", "up")}
    shapes |= {f"{layer}mlp.down_proj.weight": (8, 12), "model.embed_tokens.weight": (rows, 8)}
    norms = ("model.norm", f"{layer}input_layernorm", f"{layer}post_attention_layernorm")
    shapes |= {f"{name}.weight": (8,) for name in norms}
    rng = np.random.default_rng(2)
    return {name: rng.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()}


def write_folder(path, tensors=None, tokenizer=None, **changes):
    """Write such a folder; ``changes`` are of its configuration."""
    from safetensors.numpy import save

    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({**LLAMA, **changes}), encoding="utf-8")
    (path / "model.safetensors").write_bytes(save(llama_tensors() if tensors is None else tensors))
    (path / "tokenizer.json").write_text(tokenizer or tokenizer_json(), encoding="utf-8")
    return path
