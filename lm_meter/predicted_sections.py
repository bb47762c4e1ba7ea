"""The sections of a result that say what was predicted, and how well, whoever predicted it."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict
from typing import Any

import numpy as np

from .measurement import Predicted
from .online import RECHECK_SEED
from .run_options import RunOptions
from .spool import in_parts
from .text import Text
from .text_blocks import block_sums
from .text_in_tokens import LONG_TOKEN
from .tokenizers import Encoded, Tokenizer
from .uncertainty import mean_loss_interval


def predicted_sections(measured: Predicted) -> dict[str, Any]:
    """``text``, ``tokenizer``, ``run``, ``nll_nats``, ``perplexity`` and ``uncertainty``."""
    scored = measured.log_probs.size
    here = _pieces(measured.options, scored)
    text = text_section(measured.text, measured.encoded, measured.options, scored, measured.partial)
    words, size = text["word_tokens"], text["bytes"]
    nll = -math.fsum(itertools.chain.from_iterable(in_parts(measured.log_probs)))
    return {
        "text": text,
        "tokenizer": tokenizer_section(measured.tokenizer),
        "run": {"options": asdict(measured.options), "seed": RECHECK_SEED, "sittings": measured.sittings},
        "nll_nats": nll,
        "perplexity": {
            "word": _exp(nll / words) if words else None,
            "piece": _exp(nll / scored),
            "bits_per_byte": nll / math.log(2) / size if size else None,
        },
        "uncertainty": _uncertainty(measured, here),
    }


def text_section(text: Text, encoded: Encoded, options: RunOptions, scored: int, partial: bool) -> dict[str, Any]:
    """``text``, which needs no run: of the first so many predictions, and whether more were to be made."""
    here = _pieces(options, scored)
    sizes = encoded.sizes[here]
    return {
        "name": text.name,
        "sha256": text.sha256,
        "tokens_sha256": encoded.sha256(),
        "word_tokens": _sum(encoded.words[here]),
        "pieces": here.stop,
        "scored": scored,
        "bytes": _sum(sizes),
        "unscored_bytes": _sum(encoded.unscored[here]),
        "lost_characters": _sum(encoded.lost[here]),
        "longest_token": max((int(part.max()) for part in in_parts(sizes)), default=0),
        "bytes_in_long_tokens": sum(int(part[part > LONG_TOKEN].sum()) for part in in_parts(sizes)),
        "first_token": options.first_token,
        "whole": not partial and text.is_whole(),
        "replaced_by_unk": _sum(encoded.replaced[here]),
        "word_tokens_replaced": _sum(encoded.replaced_words[here]),
    }


def tokenizer_section(tokenizer: Tokenizer) -> dict[str, Any]:
    """``tokenizer``: what of it is stored."""
    tables = tokenizer.tables()
    return {
        "tokens": tokenizer.size,
        "longest_token": tables.longest_token,
        "bits": tables.bits,
        "vocabulary_bits": tables.vocabulary_bits,
        "merges_bits": tables.merges_bits,
        "scores_bits": tables.scores_bits,
        "rules_bits": tables.rules_bits,
        "is_given": tables.is_given,
    }


def _sum(column: np.ndarray) -> int:
    return sum(int(part.sum()) for part in in_parts(column))


def _pieces(options: RunOptions, scored: int) -> slice:
    """Which pieces of a text were predicted."""
    skipped = int(options.first_token == "skip")
    return slice(skipped, skipped + scored)


def _uncertainty(measured: Predicted, here: slice) -> dict[str, Any] | None:
    """The interval of the perplexity per word token; None of a text with too few blocks."""
    unit, log_probs, words = block_sums(measured.text, measured.encoded, here, measured.log_probs)
    found = mean_loss_interval(-log_probs, words, unit)
    return found.to_json() if found else None


def _exp(nats: float) -> float | None:
    """exp, or None (JSON has no infinity) where that overflows."""
    return math.exp(nats) if nats < 709 else None
