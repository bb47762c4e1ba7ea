"""Tiny random transformer checkpoints of any configuration."""

import numpy as np
from tiny import stored, tiny_tokenizer

from lm_meter.models.transformer_config import parse_transformer_config, transformer_arrays

DIMENSIONS = {
    "width": 24, "layers": 2, "heads": 4, "key_value_heads": 2, "head_width": 6, "feed_forward": 20, "context": 9,
}  # fmt: skip
LLAMA = {
    "positions": {"kind": "rotary", "pairs": "halves", "base": 500.0, "rotated": 6},
    "norm": {"kind": "root_mean_square", "place": "before", "final": True, "bias": False, "epsilon": 1e-5},
    "feed_forward": {"activation": "silu", "gated": True},
    "tied": True,
}
GPT = {
    "positions": {"kind": "learned", "count": 9},
    "norm": {"kind": "layer", "place": "before", "final": True, "bias": True, "epsilon": 1e-5},
    "feed_forward": {"activation": "gelu_tanh", "gated": False},
    "bias": {"attention": True, "attention_output": True, "feed_forward": True, "softmax": False},
    "tied": True,
}
POST_NORM = {
    "dimensions": {"layers": 1, "key_value_heads": 4, "head_width": 17, "heads": 4},
    "positions": {"kind": "rotary", "pairs": "adjacent", "base": 10000.0, "rotated": 4},
    "norm": {"kind": "layer", "place": "after", "final": False, "bias": True, "epsilon": 1e-3},
    "attention": {"window": 4, "scale": 0.3},
    "feed_forward": {"activation": "gelu", "gated": False},
    "embedding": {"scale": 4.5},
    "bias": {"attention": False, "attention_output": False, "feed_forward": True, "softmax": True},
}
NO_POSITIONS = {
    "positions": {"kind": "none"},
    "norm": {"kind": "root_mean_square", "place": "before", "final": False, "bias": True, "epsilon": 1e-6},
    "attention": {"scale": 1.0},
    "feed_forward": {"activation": "relu", "gated": True},
}
MICRONET = {
    "dimensions": {"width": 16, "head_width": 5, "key_value_heads": 4, "feed_forward": 33},
    "positions": {"kind": "relative"},
    "norm": {"kind": "layer", "place": "before", "final": False, "bias": True, "epsilon": 1e-5},
    "attention": {"window": 3},
    "feed_forward": {"activation": "relu", "gated": False},
    "embedding": {"scale": 4.0},
    "tied": True,
}
_BINS = {"cutoffs": [50, 390], "widths": [16, 6, 2], "project_first": False}
ADAPTIVE = {
    **MICRONET,
    "adaptive": {
        "embedding": _BINS, "softmax": {**_BINS, "tail_bias": True, "charged": "all"}, "tied_projections": False,
    },
    "bias": {"attention": True, "attention_output": False, "feed_forward": True, "softmax": True},
}  # fmt: skip
CONTINUOUS = {**LLAMA, "continuous_cache": {"size": 4, "theta": 0.3, "lambda": 0.1}}
# Sections of 12 rows of 17 columns, 17 of 12 and 33 of 17: neither whole lanes nor whole row blocks.
GROUPED = {
    "dimensions": {"width": 34, "head_width": 6, "feed_forward": 66, "key_value_heads": 2},
    "positions": {"kind": "rotary", "pairs": "halves", "base": 500.0, "rotated": 6},
    "norm": {"kind": "layer", "place": "before", "final": True, "bias": True, "epsilon": 1e-5},
    "attention": {"groups": {"query": 2, "key": 2, "output": 2}},
    "feed_forward": {"activation": "silu", "gated": True, "groups": {"gate": 2, "input": 2, "output": 2}},
    "bias": {"attention": True, "attention_output": False, "feed_forward": True, "softmax": False},
}
# Of 16 rows of 8 to 32 columns, and of 3 rows of 2.
FINELY_GROUPED = {
    "dimensions": {"width": 48, "head_width": 8, "feed_forward": 96, "key_value_heads": 4},
    "positions": {"kind": "rotary", "pairs": "adjacent", "base": 500.0, "rotated": 6},
    "norm": {"kind": "root_mean_square", "place": "after", "final": False, "bias": False, "epsilon": 1e-5},
    "attention": {"groups": {"query": 2, "output": 16}},
    "feed_forward": {"activation": "gelu", "gated": False, "groups": {"input": 6, "output": 3}},
}
MIXTRAL = {
    **LLAMA,
    "feed_forward": {
        "activation": "silu", "gated": True,
        "experts": {"count": 5, "used": 2, "normalised": True, "bias": False},
    },
}  # fmt: skip
SWITCH = {
    **POST_NORM,
    "dimensions": {"layers": 2, "feed_forward": 21},
    "feed_forward": {
        "activation": "relu", "gated": False, "groups": {"input": 3},
        "experts": {"count": 18, "used": 1, "normalised": False, "bias": True},
    },
}  # fmt: skip
SINUSOIDAL = {
    "dimensions": {"width": 22},
    "positions": {"kind": "sinusoidal", "layout": "interleaved", "exponent": "i/half", "base": 10000.0, "first": 0},
    "norm": {"kind": "layer", "place": "after", "final": False, "bias": True, "epsilon": 1e-5},
    "feed_forward": {"activation": "relu", "gated": False},
    "embedding": {"scale": 22**0.5},
}
FAIRSEQ = {
    **SINUSOIDAL,
    "dimensions": {"width": 18},
    "positions": {"kind": "sinusoidal", "layout": "halves", "exponent": "i/(half-1)", "base": 500.0, "first": 2},
    "embedding": {"scale": 1.0},
    "attention": {"pattern": [{"kind": "local_global", "local": 1, "global": 2}, None]},
}
TRANSFORMER_XL = {
    "dimensions": {"key_value_heads": 4, "head_width": 5},
    "positions": {"kind": "transformer_xl", "shared_biases": False},
    "norm": {"kind": "layer", "place": "after", "final": False, "bias": True, "epsilon": 1e-5},
    "feed_forward": {"activation": "relu", "gated": False},
    "tied": True,
}
# Grouped keys, biases shared by the layers, a window, and a pattern.
SPARSE_XL = {
    **TRANSFORMER_XL,
    "dimensions": {"head_width": 7, "width": 20},
    "positions": {"kind": "transformer_xl", "shared_biases": True},
    "attention": {"window": 3, "scale": 1.0, "pattern": {"kind": "strided", "local": 0, "stride": 2}},
}
PER_HEAD = {
    **MICRONET,
    "positions": {"kind": "relative", "per_head": True},
    "attention": {"window": 6, "pattern": [{"kind": "fixed", "stride": 3, "summary": 1}, None]},
}
STRIDED = {**LLAMA, "attention": {"pattern": {"kind": "strided", "local": 1, "stride": 3}}}
FIXED = {**NO_POSITIONS, "attention": {"pattern": {"kind": "fixed", "stride": 3, "summary": 1}}}
GLOBAL = {**LLAMA, "attention": {"pattern": {"kind": "local_global", "local": 1, "global": 1}}}
# Heads whose values are mixed 64 at a time, and a rest.
WIDE_HEADS = {**NO_POSITIONS, "dimensions": {"layers": 1, "heads": 2, "key_value_heads": 1, "head_width": 69}}
KINDS = {
    "llama": LLAMA,
    "gpt": GPT,
    "post-norm": POST_NORM,
    "no positions": NO_POSITIONS,
    "micronet": MICRONET,
    "adaptive": ADAPTIVE,
    "continuous": CONTINUOUS,
    "wide heads": WIDE_HEADS,
    "grouped": GROUPED,
    "grouped finely": FINELY_GROUPED,
    "mixtral": MIXTRAL,
    "switch": SWITCH,
    "sinusoidal": SINUSOIDAL,
    "fairseq": FAIRSEQ,
    "transformer-xl": TRANSFORMER_XL,
    "sparse xl": SPARSE_XL,
    "per head": PER_HEAD,
    "strided": STRIDED,
    "fixed": FIXED,
    "global": GLOBAL,
}
_DEFAULTS = {
    "attention": {},
    "embedding": {"scale": 1.0},
    "bias": {"attention": False, "attention_output": False, "feed_forward": False, "softmax": False},
    "tied": False,
}


def transformer_config(kind="llama", words=None, **changes):
    """Configuration of a small transformer, the name of its tokenizer's array, and that array."""
    tokenizer, name, raw, vocabulary = tiny_tokenizer("word", words)
    config = {"architecture": "transformer", **_DEFAULTS, **KINDS[kind], "tokenizer": tokenizer, "origin": "tests"}
    sizes = {"vocabulary": vocabulary, **DIMENSIONS, **KINDS[kind].get("dimensions", {})}
    config["dimensions"] = {**sizes, **changes.pop("dimensions", {})}
    return {**config, **changes}, name, np.frombuffer(raw, np.uint8)


def transformer_parts(kind="llama", words=None, dtype="float32", seed=0, **changes):
    """Configuration and arrays of a small random transformer, as ``write_checkpoint`` takes them."""
    config, name, raw = transformer_config(kind, words, **changes)
    expected = transformer_arrays(parse_transformer_config(config, "tests"), "tests")
    rng, arrays = np.random.default_rng(seed), {}
    for array, wanted in expected.items():
        if not wanted.is_weight:
            continue
        values = rng.standard_normal(wanted.shape, np.float32) * np.float32(0.4)
        # The weights of a normalisation lie around 1.
        arrays[array] = stored(1 + values / 4 if "norm.weight" in array else values, dtype)
    config["formats"] = dict.fromkeys(arrays, dtype)
    return config, {**arrays, name: raw}
