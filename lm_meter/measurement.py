"""What one pass measured, before any price list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .activations import Activations
from .context import Context
from .continuous_cache import ContinuousCache
from .histogram import Overflow, Row
from .regions import Region
from .run_options import RunOptions
from .text import Text
from .tokenizers import Encoded, Tokenizer


@dataclass(frozen=True)
class Speed:
    """Speed of a pass: predictions a second, seconds, bytes of weights a token, and the rate of a plain reader."""

    tokens_per_second: float
    seconds: float
    load_seconds: float
    compile_seconds: float
    weight_bytes_per_token: float
    stream_bytes_per_second: float


@dataclass(frozen=True)
class Online:
    """How the on-line property was kept: block, positions recomputed alone, whether their bits agreed, and the context.

    No context: that of a recurrent state. ``own_context``: tokens of the checkpoint's own. ``softmax_bins``: which bins
    of an adaptive softmax were evaluated, ``all`` or those ``needed`` for the target; None of a plain one.
    ``continuous``: the cache of past outputs.
    """

    block: int
    positions_rechecked: int
    bits_equal: bool
    context: Context | None
    own_context: int | None
    softmax_bins: str | None
    continuous: ContinuousCache


@dataclass(frozen=True)
class Predicted:
    """What was predicted over which tokenizer's tokens, and how well. ``log_probs`` is (predictions,) float64 in nats.

    ``ranks``, (predictions,) int64, and ``records``, name and SHA-256 of their files: where these were wanted.
    ``sittings``: in how many the pass was made, more than one where it went on from a saved state.
    """

    text: Text
    encoded: Encoded
    tokenizer: Tokenizer
    options: RunOptions
    sittings: int
    log_probs: np.ndarray
    partial: bool


@dataclass(frozen=True)
class Measurement(Predicted):
    """The record of one pass."""

    rows: Sequence[Row]
    overflows: Sequence[Overflow]
    regions: Sequence[Region]
    activations: Activations
    speed: Speed
    online: Online
    threads: int
    ranks: np.ndarray | None = None
    records: dict[str, str | None] | None = None
