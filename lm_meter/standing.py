"""What a result's validation came to, and why it takes no rank among others where it takes none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .printable import counted
from .qualifiers import Qualifier, qualifiers_of
from .score_section import why_it_never_passes
from .verdicts import MAX_TOLERANCE, Validation

PASSES, FAILS, NOT_VALIDATED = "passes", "fails validation", "not validated"


@dataclass(frozen=True)
class Standing:
    """Of one result among others.

    Attributes
    ----------
    status : str
        ``passes``, ``fails validation`` (a claim, or the gate) or ``not validated``.
    excluded : str or None
        Why it takes no rank, and no place on the Pareto front (the first reason); None where it takes one.
    qualifiers : sequence of Qualifier
    """

    status: str
    excluded: str | None
    qualifiers: Sequence[Qualifier]


def standings(
    results: Sequence[tuple[Mapping[str, Any], Validation | None]], max_tolerance: float = MAX_TOLERANCE
) -> list[Standing]:
    """The standing of each of some priced results, each with the validation that it is of.

    Only what passes is ranked: no result that is partial, unmetered, of words that were replaced, that fails its
    validation or the gate. A plain result, which nobody validated, is ranked among its like only; so is one of which
    the gate is not asked.
    """
    some_validated = any(validation is not None for _, validation in results)
    some_asked = any(document["score"]["meets_gate"] is not None for document, _ in results)
    found = []
    for document, validation in results:
        qualifiers = qualifiers_of(document, validation, max_tolerance)
        reasons = [qualifier.label for qualifier in qualifiers if qualifier.excludes]
        if document["score"]["meets_gate"] is False:
            reasons.append("does not meet the gate")
        if some_asked and document["score"]["meets_gate"] is None:
            reasons.append("gate not asked")
        if some_validated and validation is None:
            reasons.append("not validated")
        status = NOT_VALIDATED
        if validation is not None:
            fails_gate = document["score"]["meets_gate"] is False or why_it_never_passes(document) is not None
            fails = validation.failed(max_tolerance) or fails_gate
            status = FAILS if fails else PASSES
        found.append(Standing(status, next(iter(reasons), None), qualifiers))
    return found


def scored_texts(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """The texts, or parts of them, that were scored, in words; one where all results are of the same.

    A text is its bytes, whatever it is called.
    """
    found: dict[tuple[str, str, int], str] = {}
    for text in (document["text"] for document in documents):
        found.setdefault((text["sha256"], text["first_token"], text["word_tokens"]), text["name"])
    return sorted(
        f"{name} ({counted(words, 'word token')}, SHA-256 {sha256[:12]})" for (sha256, _, words), name in found.items()
    )
