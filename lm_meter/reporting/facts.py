"""What a report is about: a result under a price list, its laws beside its histogram, and curves of its records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from ..calculation import Calculation, calculate
from ..histogram import Row, rows_from_json
from ..profiles import Profile
from ..qualifiers import Qualifier, qualifiers_of
from ..records import read_words
from ..result import load_result, price_result
from ..result_records import file_sha256, fitting_records, hashed_files, records_of
from ..storage import is_narrow, tensors_from_json
from ..verdicts import MAX_TOLERANCE, Validation
from .curves import Curves, curves_of


@dataclass(frozen=True)
class Facts:
    """One result.

    ``name``: of its file, as far as it tells it apart from the others in the report; ``curves``: None without
    ``records``, and ``why_no_curves`` says why; ``validation``: None where nobody validated it; ``max_tolerance``: the
    widest tolerance of its claims that may pass.
    """

    name: str
    document: Mapping[str, Any]
    profile: Profile
    calculation: Calculation | None
    curves: Curves | None
    why_no_curves: str
    records: Path | None = None
    validation: Validation | None = None
    max_tolerance: float = MAX_TOLERANCE

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
    def qualifiers(self) -> list[Qualifier]:
        """What has to be known of its figures beside them."""
        return qualifiers_of(self.document, self.validation, self.max_tolerance)

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
    place, why = _records_of(path, document) if records is None else (Path(records), "")
    curves = curves_of(fitting_records(document, place), read_words(place)) if place else None
    calculation = calculate(document, path)
    return Facts(Path(path).name, document, profile, calculation, curves, why, place, priced.validation)


def _records_of(path: str, document: Mapping[str, Any]) -> tuple[Path | None, str]:
    """The file that a result names, or None and why not."""
    named = document["records"]
    if named is None:
        return None, "the result names no file of records (eval --records)"
    place = records_of(document, path)
    if place is None:
        return None, f"the file of records, {Path(named['file']).name}, is not beside the result"
    for field, file in hashed_files(document, place):
        if not file.is_file():
            return None, f"the file of word tokens, {file.name}, is not beside the result"
        if file_sha256(file) != named[field]:
            return None, f"the file {file.name} is not the one that the result names: its SHA-256 is another"
    return place, ""
