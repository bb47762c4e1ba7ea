"""The result of a foreign entry: what was predicted is measured; what it cost is not, and is null, never zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .entry_program import ForeignEntry
from .entry_protocol import VERSION, Answer
from .entry_vocabulary import Vocabulary
from .environment import describe
from .measurement import Predicted
from .predicted_sections import predicted_sections
from .profiles import Profile
from .result import SCHEMA, Result, finished_result

ARCHITECTURE = "foreign entry"  # stands where a result has that of a checkpoint


@dataclass(frozen=True)
class EntryMeasurement(Predicted):
    """The record of a pass with somebody's program.

    ``files``: names and hashes of those in the command. ``sums``: smallest and largest sum of a distribution.
    ``ending``: how the program ended. ``seconds``: until the handshake was made, and of the predictions. ``ranks``,
    (predictions,) int64, and ``records``, name and SHA-256 of their file: where these were wanted.
    """

    entry: ForeignEntry
    files: list[tuple[str, str]]
    answer: Answer
    vocabulary: Vocabulary
    sums: tuple[float, float]
    ending: str
    seconds: tuple[float, float]
    ranks: np.ndarray | None
    records: dict[str, str | None] | None


def build_entry_result(measured: EntryMeasurement, profile: Profile) -> Result:
    """Put a document together."""
    load_seconds, seconds = measured.seconds
    document = {
        "schema": SCHEMA,
        "partial": measured.partial,
        "checkpoint": {"path": _printable(measured.entry.command), "sha256": None, "architecture": ARCHITECTURE},
        "entry": _entry_section(measured),
        **predicted_sections(measured),
        "histogram": [],
        "overflows": [],
        "regions": [],
        "calculation": None,
        "activations": None,
        "storage": {"bits": None, "tensors": []},
        "speed": {
            "tokens_per_second": measured.log_probs.size / seconds if seconds else 0.0,
            "seconds": seconds,
            "load_seconds": load_seconds,
            "compile_seconds": None,
            "weight_bytes_per_token": None,
            "stream_bytes_per_second": None,
            "bandwidth_fraction": None,
        },
        "online": {
            "block": 1,
            "positions_rechecked": 0,
            "bits_equal": None,
            "policy": None,
            "context": None,
            "own_context": None,
            "softmax_bins": None,
            "continuous_cache": None,
        },
        "memory": {"peak_resident_bytes": None},
        "environment": describe(1),
        "records": measured.records,
    }
    result = finished_result(document, measured.log_probs, profile)
    result.ranks = measured.ranks
    return result


def _entry_section(measured: EntryMeasurement) -> dict[str, Any]:
    answer, vocabulary = measured.answer, measured.vocabulary
    return {
        "command": _printable(measured.entry.command),
        "name": answer.name,
        "protocol": VERSION,
        "unmetered": True,
        "claims": answer.claims.to_json() if answer.claims else None,
        "values": answer.values,
        "dtype": answer.dtype,
        "vocabulary": {
            "path": _printable(str(vocabulary.path)),
            "sha256": vocabulary.sha256,
            "size": vocabulary.tokenizer.size,
        },
        "files": [{"name": _printable(name), "sha256": sha256} for name, sha256 in measured.files],
        "timeout": measured.entry.timeout,
        "sums": dict(zip(("low", "high"), measured.sums, strict=True)),
        "ending": measured.ending,
    }


def _printable(name: str) -> str:
    """The name of a file need not be UTF-8; what a report calls it must be."""
    return name.encode("utf-8", "replace").decode()
