"""What the arrays of a checkpoint mean, read once more and independently: weights for the scalar reference."""

import numpy as np
from reference import Integers

FLOATS = {"float32": 32, "float16": 16, "bfloat16": 16}


def _numbers(array, entry, count):
    """Stored weights as numbers: of 4-bit formats the first ``count``."""
    kind = entry["format"]
    if kind == "bfloat16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if kind in ("int4", "codebook4"):
        halves = np.stack([array & 15, array >> 4], axis=-1).reshape(*array.shape[:-1], -1).astype(int)[..., :count]
        return (halves ^ 8) - 8 if kind == "int4" else halves
    return array


def reference_weights(arrays, name, entry, shape):
    """A weight array as lists with None for what was pruned, or ``Integers``; and the width it is multiplied at."""
    block, kind = entry.get("block"), entry["format"]
    kept = np.ones(shape, bool)
    if block:
        down, across = shape[0] // block[0], shape[1] // block[1]
        bits = np.unpackbits(arrays[f"{name}.mask"], bitorder="little")[: down * across].reshape(down, across)
        kept = np.repeat(np.repeat(bits, block[0], axis=0), block[1], axis=1).astype(bool)
    numbers = _numbers(arrays[name], entry, int(kept.sum()) if block else shape[-1])
    if kind == "codebook4":
        numbers = arrays[f"{name}.codebook"][numbers]
    whole = np.full(shape, None)
    whole[kept] = numbers.reshape(-1).tolist()
    if kind in FLOATS:
        return whole.tolist(), FLOATS[kind]
    offsets = arrays.get(f"{name}.offset")
    bits = 4 if kind == "int4" else 8
    scales = arrays[f"{name}.scale"].tolist()
    return Integers(whole.tolist(), bits, scales, None if offsets is None else offsets.tolist()), bits
