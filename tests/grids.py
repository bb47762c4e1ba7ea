"""Checkpoints whose weights all lie on declared grids, each another one, and what they are to the scalar reference."""

import itertools

import numpy as np
from reference import Integers, Steps
from tiny import stored

STORED_BITS = {"float32": 32, "float16": 16, "bfloat16": 16}
NUMBERS = ("signed", "negated", "unsigned", "odd", "whole", "any")


def numbers_of(kind, bits, shape, rng):
    """Random whole numbers of some bits: signed ones, the same negated, unsigned or odd ones."""
    end = 1 << bits
    if bits == 1 or kind == "odd":
        return 2 * rng.integers(0, end, shape) - end + 1
    if kind == "unsigned":
        return rng.integers(0, end, shape)
    signed = rng.integers(-end // 2, end // 2, shape)
    return -signed if kind == "negated" else signed


def _matrix(numbers, declared, steps):
    """Whole numbers and their steps, (rows, groups), as the reference has a matrix."""
    width, shared = STORED_BITS[declared["format"]], declared.get("group") == "tensor"
    return Integers(numbers.tolist(), declared["grid"], steps.tolist(), scale_bits=width, shared=shared)


def _vector(numbers, declared, steps):
    each = [(group, step) for group, step in enumerate(steps.tolist()) for _ in range(numbers.size // steps.size)]
    return Steps(numbers.tolist(), declared["grid"], each, STORED_BITS[declared["format"]])


def on_grids(config, arrays, seed=0):
    """A checkpoint's parts with every weight on a grid, and arrays and widths as the reference wants them."""
    rng, values, bits = np.random.default_rng(seed), {}, {}
    kinds = [*itertools.product(("float32", "float16", "bfloat16"), (1, 2, 3, 5, 4), NUMBERS, (None, "tensor", 1))]
    for number, name in enumerate(config["formats"]):
        kind, width, numbered, group = kinds[(seed + 7 * number) % len(kinds)]
        shape = arrays[name].shape
        if numbered == "any" and shape[-1] < 8:
            numbered = "signed"  # a few values, or one alone, may well be whole numbers times a step
        group = shape[-1] // (2 - shape[-1] % 2) if group == 1 else group
        declared = {"format": kind, "grid": width} | ({} if group is None else {"group": group})
        whole = numbers_of(numbered, width, shape, rng)
        whole.flat[0] = whole.flat[0] or 1  # zeros alone have no step
        groups = 1 if group in (None, "tensor") else shape[-1] // group
        # Three quarters, five quarters, ... of a power of two: no numbers but 0 are whole with such a step.
        steps = rng.choice([0.75, 1.25, 1.75], (1 if group == "tensor" or len(shape) == 1 else shape[0], groups)) / 64
        if numbered == "whole":
            steps[...] = 1
        weights = (whole.reshape(-1, shape[-1]) * np.repeat(steps, shape[-1] // groups, axis=-1)).reshape(shape)
        if numbered == "any":
            weights[:] = rng.choice(rng.standard_normal(1 << width).astype("f4"), shape)
        config["formats"][name], arrays[name] = declared, stored(weights.astype(np.float32), kind)
        values[name], bits[name] = weights.tolist(), STORED_BITS[kind] if numbered == "any" else width
        if numbered not in ("any", "whole"):
            steps = np.broadcast_to(steps, (shape[0] if len(shape) == 2 else 1, groups))
            bits[name] = STORED_BITS[kind]  # where a step stands inside a sum
            values[name] = _matrix(whole, declared, steps) if len(shape) == 2 else _vector(whole, declared, steps[0])
            if name.endswith("relative"):
                values[name] = [_vector(*row) for row in zip(whole, itertools.repeat(declared), steps, strict=False)]
    return config, arrays, values, bits
