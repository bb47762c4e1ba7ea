"""What a report is about: a result under a price list, its laws beside its histogram, and curves of its records."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from ..calculation import Calculation, calculate
from ..errors import ConfigError
from ..histogram import Row, rows_from_json
from ..profiles import Profile
from ..record_table import Records
from ..records import read_records, read_words
from ..result import load_result, price_result
from ..storage import is_narrow, tensors_from_json
from .curves import Curves, curves_of


@dataclass(frozen=True)
class Facts:
    """One result.

    ``name``: of its file; ``curves``: None without ``records``, and ``why_no_curves`` says why.
    """

    name: str
    document: Mapping[str, Any]
    profile: Profile
    calculation: Calculation | None
    curves: Curves | None
    why_no_curves: str
    records: Path | None = None

    @property
    def per(self) -> int:
        """Tokens that operations are given for: word tokens, or predictions where there are none."""
        text = self.document["text"]
        return int(text["word_tokens"] or text["scored"])

    @property
    def token(self) -> str:
        """What these are."""
        return "word token" if self.document["text"]["word_tokens"] else "piece"

    def rows(self) -> list[Row]:
        """The histogram."""
        return rows_from_json(self.document["histogram"])

    def price(self, kind: str, bits_a: int, bits_b: int) -> Fraction:
        """Of an operation."""
        return self.profile.operation(kind, bits_a, bits_b, self.is_narrow)

    def price_of_parameter(self, bits: int) -> Fraction:
        """Of a number of these bits."""
        return self.profile.parameter(bits, self.is_narrow)

    @cached_property
    def is_narrow(self) -> bool:
        """Whether anything is quantised below 16 bits."""
        return is_narrow(tensors_from_json(self.document["storage"]["tensors"]))

    @property
    def is_unmetered(self) -> bool:
        """Whether a foreign program was run, whose operations and storage are its own claims."""
        return self.document.get("entry") is not None


def read_facts(path: str, profile: Profile, records: str | None = None) -> Facts:
    """Read a result and its records.

    ``records``: a file of them; by default the one that the result names, beside it, if it is there and the same.

    Raises
    ------
    ConfigError
        Where a file cannot be read, or the records that were asked for are those of another run.
    """
    priced = price_result(load_result(path), profile)
    document = priced.document
    place, why = _records_of(path, document.get("records")) if records is None else (Path(records), "")
    curves = _curves(place, document) if place else None
    return Facts(Path(path).name, document, profile, calculate(document, path), curves, why, place)


def _records_of(path: str, named: Mapping[str, str] | None) -> tuple[Path | None, str]:
    """The file that a result names, or None and why not."""
    if named is None:
        return None, "the result names no file of records (eval --records)"
    place = Path(path).parent / Path(named["file"]).name
    if not place.is_file():
        return None, f"the file of records, {place.name}, is not beside the result"
    if hashlib.sha256(place.read_bytes()).hexdigest() != named["sha256"]:
        return (
            None,
            f"the file {place.name} beside the result is not the one that the result names: its SHA-256 is another",
        )
    return place, ""


def _curves(path: Path, document: Mapping[str, Any]) -> Curves:
    records = read_records(path)
    scored = document["text"]["scored"]
    if records.position.size != scored:
        raise ConfigError(
            f"{path}: has {records.position.size} rows, but the result has {scored} predictions; expected the records "
            "of the same run"
        )
    for what, found, wanted in (
        ("text", records.text_sha256, document["text"]["sha256"]),
        ("checkpoint", records.checkpoint_sha256, document["checkpoint"]["sha256"]),
    ):
        if found is not None and found != wanted:
            raise ConfigError(
                f"{path}: holds records of another {what} than the result; expected those of the same run"
            )
    found = _sums(records, document)
    if found:
        raise ConfigError(f"{path}: {found}; expected the records of the same run")
    return curves_of(records, read_words(path))


def _sums(records: Records, document: Mapping[str, Any]) -> str | None:
    """What the sums of records say against the result."""
    nats = -math.fsum(records.log_prob)
    if not math.isclose(nats, document["nll_nats"], rel_tol=1e-9):
        return f"the losses sum to {nats:.10g} nats, but the result has {document['nll_nats']:.10g}"
    executed = sum(row["count"] for row in document["histogram"])
    operations = sum(records.operations.tolist())
    # A foreign program's are not known.
    if document.get("entry") is None and operations != executed:
        return f"{operations} operations are in its rows, but {executed} in the result's histogram"
    return None
