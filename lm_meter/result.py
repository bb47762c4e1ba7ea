"""The result document, schema ``lm-meter/result/1``.

One JSON document holds everything a pass measured. README.md describes each field. ``price_result`` prices the raw
histogram in it again under another profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .calculation import calculation_to_json, macs_of
from .checkpoint import Checkpoint
from .context import Context
from .documents import document_json, save_document
from .environment import describe, peak_resident_bytes
from .errors import ConfigError
from .hash_chain import TOKENS_PER_LINK
from .histogram import Row, rows_from_json, rows_to_json
from .measurement import Measurement
from .predicted_sections import predicted_sections
from .profiles import Profile, profile_named
from .regions import Region
from .regular_file import open_stream
from .result_fields import check_document
from .run_identity import document_chain, seen
from .score import price
from .score_section import Figures, score_section, unmetered_sections
from .spool import in_parts
from .storage import (
    is_narrow,
    priced_parameters,
    priced_tables,
    tensors_from_json,
    tensors_of,
    tensors_to_json,
    total_bits,
)
from .strict_json import read_json
from .verdicts import Validation, read_validation

SCHEMA = "lm-meter/result/1"
VALIDATION_SCHEMA = "lm-meter/validation/1"  # of a document that has a result in it


def _read_only(values: np.ndarray | None) -> np.ndarray | None:
    if values is None:
        return None
    view = values.view()
    view.flags.writeable = False
    return view


class Result(Mapping[str, Any]):
    """A result: the document, and the log-probability of every scored token where the pass was just made.

    It is a mapping, the document's: ``result["perplexity"]["word"]`` reads it, and ``dict(result)`` has its sections.
    ``result.log_probs`` is (scored,) float64 in nats, or None for a result that was read from a file. ``result.ranks``
    is (scored,) int64 where records were written, else None. Both are read-only: those of a long text lie in an unnamed
    file, which is open as long as the result is kept.
    ``result.validation`` is what became of an entry's claims, where it was read from a document of ``validate``.
    """

    def __init__(
        self, document: dict[str, Any], log_probs: np.ndarray | None = None, ranks: np.ndarray | None = None
    ) -> None:
        self.document = document
        self.validation: Validation | None = None
        self.log_probs, self.ranks = _read_only(log_probs), _read_only(ranks)

    def __getitem__(self, key: str) -> Any:
        return self.document[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.document)

    def __len__(self) -> int:
        return len(self.document)

    @property
    def perplexity(self) -> float:
        """Perplexity per word token."""
        return self.document["perplexity"]["word"]

    def to_json(self) -> str:
        """The document as text."""
        return document_json(self.document)

    def save(self, path: str | Path) -> None:
        """Write the document; the file appears only when complete."""
        save_document(self.document, path)


def build_result(checkpoint: Checkpoint, measured: Measurement, profile: Profile) -> Result:
    """Put a document together from what a pass measured."""
    known = checkpoint_sections(checkpoint, measured.online.context, measured.regions)
    predicted = predicted_sections(measured)
    macs = mean_macs(checkpoint, measured.online.context, predicted["text"], measured.rows)
    speed, stream = measured.speed, measured.speed.stream_bytes_per_second
    document = {
        "schema": SCHEMA,
        "partial": measured.partial,
        "checkpoint": known["checkpoint"],
        "entry": None,
        **predicted,
        "histogram": rows_to_json(measured.rows),
        "operations_per_token": {"macs": macs},
        "overflows": [asdict(overflow) for overflow in measured.overflows],
        "regions": known["regions"],
        "calculation": known["calculation"],
        "activations": measured.activations.to_json(),
        "storage": known["storage"],
        "speed": {
            "tokens_per_second": speed.tokens_per_second,
            "seconds": speed.seconds,
            "load_seconds": speed.load_seconds,
            "compile_seconds": speed.compile_seconds,
            "weight_bytes_per_token": speed.weight_bytes_per_token,
            "stream_bytes_per_second": stream,
            "bandwidth_fraction": speed.weight_bytes_per_token * speed.tokens_per_second / stream if stream else None,
        },
        "online": {
            "block": measured.online.block,
            "positions_rechecked": measured.online.positions_rechecked,
            "bits_equal": measured.online.bits_equal,
            "softmax_bins": measured.online.softmax_bins,
            "own_context": measured.online.own_context,
            **seen(measured.online.context, measured.online.continuous),
        },
        "memory": {"peak_resident_bytes": peak_resident_bytes()},
        "environment": describe(measured.threads),
        "records": measured.records,
    }
    result = finished_result(document, measured.log_probs, profile)
    result.ranks = measured.ranks
    return result


def checkpoint_sections(checkpoint: Checkpoint, context: Context | None, regions: Sequence[Region]) -> dict[str, Any]:
    """``checkpoint``, ``regions``, ``calculation`` and ``storage``, which need no run."""
    tensors = tensors_of(checkpoint)
    return {
        "checkpoint": {
            "path": str(checkpoint.path).encode("utf-8", "replace").decode(),
            "sha256": checkpoint.sha256(),
            "architecture": checkpoint.config["architecture"],
        },
        "regions": [{"name": r.name, "role": r.role, "moves": list(r.moves)} for r in regions],
        "calculation": calculation_to_json(*checkpoint.architecture.described(checkpoint, context)),
        "storage": {"bits": total_bits(tensors), "tensors": tensors_to_json(tensors)},
    }


def mean_macs(
    checkpoint: Checkpoint, context: Context | None, text: Mapping[str, Any], rows: Sequence[Row]
) -> float | None:
    """Multiply-accumulates per word token of a run over a ``text`` section; None where they are not determined."""
    macs = macs_of(*checkpoint.architecture.described(checkpoint, context), rows)
    return None if macs is None else float(Fraction(macs, text["word_tokens"] or text["scored"]))


def finished_result(document: dict[str, Any], log_probs: np.ndarray, profile: Profile) -> Result:
    """A document with what follows from it: the chain of hashes, and the prices."""
    chain = document_chain(document)
    for part in in_parts(log_probs):
        chain.add(part)
    document["chain"] = {"tokens_per_link": TOKENS_PER_LINK, "links": chain.links()}
    return price_result(Result(document, log_probs), profile)


def price_result(result: Result, profile: Profile) -> Result:
    """The same measurement under a price list; nothing is run again."""
    document = dict(result.document)
    if document["entry"] is not None:
        return _like(result, document | unmetered_sections(document, profile))
    tensors = tensors_from_json(document["storage"]["tensors"])
    narrow = is_narrow(tensors)
    roles = {region["name"]: region["role"] for region in document["regions"]}
    priced = price(rows_from_json(document["histogram"]), roles, profile, narrow)
    parameters = priced_parameters(tensors, profile)
    words, scored = document["text"]["word_tokens"], document["text"]["scored"]
    per = words or scored

    counted = document.get("operations_per_token")
    macs = counted.get("macs") if isinstance(counted, dict) else None  # a count, whatever the price list

    def mean(value: Fraction) -> float:
        return float(value / per)

    document["operations_per_token"] = {
        "profile": profile.name,
        "unit": profile.unit,
        "total": mean(priced.total),
        "matrix_vector": mean(priced.matrix_vector),
        "macs": macs,
        "by_kind": {kind: mean(value) for kind, value in priced.by_kind.items()},
        "by_region": {region: mean(value) for region, value in priced.by_region.items()},
        "per_piece": float(priced.total / scored),
    }
    document["storage"] = {**document["storage"], "parameters": float(parameters)}
    tables = priced_tables(document["tokenizer"], profile)
    document["score"] = score_section(document, profile, Figures(parameters, tables, priced.total / per))
    return _like(result, document)


def _like(result: Result, document: dict[str, Any]) -> Result:
    """The same run with another document."""
    found = Result(document, result.log_probs, result.ranks)
    found.validation = result.validation
    return found


def load_result(path: str | Path) -> Result:
    """Read a result document, or the one in a document of ``lm-meter validate``, and check that it is one."""
    path = Path(path)
    whole = document = read_json(path, ConfigError, "a result written by --output", open_stream)
    if _schema(whole) == VALIDATION_SCHEMA:
        document = whole.get("result")
    found = _schema(document)
    if found != SCHEMA:
        raise ConfigError(f"{path}: schema is {found!r:.60}; expected {SCHEMA!r}, written by lm-meter eval --output")
    check_document(document, path)
    try:
        price_result(Result(document), profile_named("flops"))
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise ConfigError(
            f"{path}: contradicts itself ({type(error).__name__}: {error!s:.80}); write it again with eval --output"
        ) from None
    result = Result(document)
    if whole is not document:
        result.validation = read_validation(whole, _priced_as_saved(result).document, path)
    return result


def _priced_as_saved(result: Result) -> Result:
    """A result that was read, priced anew under the profile that it says it has."""
    return price_result(result, profile_named(result.document["operations_per_token"]["profile"]))


def _schema(document: Any) -> Any:
    return document.get("schema") if isinstance(document, dict) else None
