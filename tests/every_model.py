"""Parts of a small checkpoint of every architecture, for what must hold of all of them."""

from tiny import WORDS as TINY_WORDS
from tiny import integer_parts, tiny_parts
from tiny_transformer import KINDS, transformer_parts

WORDS = (*TINY_WORDS, *(f"w{n}" for n in range(400 - len(TINY_WORDS))))


def every_model():
    """Arguments of ``write_checkpoint``."""
    formats = {
        "embedding": {"format": "int8", "group": 8, "offsets": True},
        "lstm.0.weight": {"format": "codebook4", "activations": 8},
        "projection.weight": {"format": "float16", "block": (1, 4), "activations": 16},
        "softmax.weight": {"format": "int4"},
    }
    yield integer_parts(formats, projection=8)
    yield tiny_parts(architecture="gru", continuous_cache={"size": 9, "theta": 0.5, "lambda": 0.2})
    yield tiny_parts(architecture="qrnn", window=(2,), output_gate=True)
    for kind in KINDS:
        yield transformer_parts(kind, WORDS)
