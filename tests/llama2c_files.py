"""Small random files of llama2.c: a model and a tokenizer."""

import struct

import numpy as np

SIZES = {"width": 8, "hidden": 12, "layers": 2, "heads": 4, "shared": 2, "vocabulary": 264, "context": 16}
ADDED = [b" ", b"a", b"b", b"ab", b" ab"]  # behind three specials and the 256 bytes


def llama2c_tokenizer(pieces=None):
    """Bytes of a tokenizer file, of (score, piece) pairs or of specials, bytes and a few pieces more."""
    named = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % n for n in range(256)), *ADDED]
    scored = [(float(n), piece) for n, piece in enumerate(named)] if pieces is None else pieces
    return struct.pack("<i", 8) + b"".join(struct.pack("<fi", score, len(p)) + p for score, p in scored)


def llama2c_model(tied=True, **changes):
    """Bytes of a small random model."""
    sizes = {**SIZES, **changes}
    width, hidden, layers, heads, shared, vocabulary, context = sizes.values()
    head = width // heads
    count = vocabulary * width + width + context * head + (0 if tied else vocabulary * width)
    count += layers * (2 * width + 2 * width * width + 2 * width * shared * head + 3 * width * hidden)
    values = np.random.default_rng(1).standard_normal(count).astype("<f4") * np.float32(0.3)
    header = (*list(sizes.values())[:5], vocabulary if tied else -vocabulary, context)
    return struct.pack("<7i", *header) + values.tobytes()
