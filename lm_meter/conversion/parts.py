"""What a reader of another format hands over: a configuration and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Parts:
    """A checkpoint that is not written yet: as ``write_checkpoint`` takes it, without its origin.

    ``start_from``: what says which token stands before a text. ``notes``: what was decided where the source leaves a
    choice, a sentence each.
    """

    config: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    start_from: str
    notes: tuple[str, ...] = ()


# Floating-point types as others name them: our format, and how its numbers are stored.
FLOATS = {"F32": ("float32", "<f4"), "F16": ("float16", "<f2"), "BF16": ("bfloat16", "<u2")}
# A Llama: root mean square norms before each part, gated silu, rotary positions, no biases (Touvron et al., 2023).
LLAMA = {
    "architecture": "transformer",
    "attention": {},
    "feed_forward": {"activation": "silu", "gated": True},
    "embedding": {"scale": 1.0},
    "bias": {"attention": False, "attention_output": False, "feed_forward": False, "softmax": False},
}


def llama_norm(epsilon: float) -> dict[str, Any]:
    """Its normalisations."""
    return {"kind": "root_mean_square", "place": "before", "final": True, "bias": False, "epsilon": epsilon}
