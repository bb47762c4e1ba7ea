"""Claims and what was measured: the verdicts of a validation, and those of a document that is read again.

How far a measured figure may be from a claim is said by whoever makes the claim; how far it may be at most, by whoever
runs it: a tolerance beyond that is no claim that can pass.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .entry import CLAIMS, Claim, Entry
from .errors import ConfigError

MAX_TOLERANCE = 0.01  # as a fraction of the claim, unless whoever runs it says another
_WRITTEN = "write it again with lm-meter validate --output"


@dataclass(frozen=True)
class Verdict:
    """A claim and what was measured: their difference, and whether it is within the tolerance."""

    name: str
    claimed: float
    measured: float | None
    difference: float | None
    tolerance: float
    passes: bool


@dataclass(frozen=True)
class Claimed:
    """The claims in a document of ``lm-meter validate``, as those of an ``Entry``."""

    claims: tuple[Claim, ...]
    regions: tuple[Claim, ...]
    tensors: tuple[Claim, ...]


@dataclass(frozen=True)
class Validation:
    """What became of an entry's claims, by their own tolerances: ``entry`` is the name of its file."""

    entry: str
    verdicts: tuple[Verdict, ...]

    def failed(self, max_tolerance: float) -> list[Verdict]:
        """Claims that do not hold, or whose tolerance is wider than ``max_tolerance``."""
        return [each for each in self.verdicts if not each.passes or each.tolerance > max_tolerance]

    @property
    def widest(self) -> float:
        """The widest tolerance of a claim."""
        return max(each.tolerance for each in self.verdicts)


def check_max_tolerance(value: float) -> None:
    """Refuse what is no fraction of a claim."""
    if not 0 <= value <= sys.float_info.max:
        raise ConfigError(f"max tolerance is {value!r}; expected a fraction of a claim, such as {MAX_TOLERANCE}")


def judge(claim: Claim, measured: float | None, max_tolerance: float = MAX_TOLERANCE) -> Verdict:
    """Compare a claim with a figure; one that the run does not have fails, as does one of too wide a tolerance."""
    if measured is None:
        return Verdict(claim.name, claim.value, None, None, claim.tolerance, False)
    difference = measured - claim.value
    passes = claim.tolerance <= max_tolerance and abs(difference) <= claim.tolerance * claim.value
    return Verdict(claim.name, claim.value, measured, difference, claim.tolerance, passes)


def verdicts(
    entry: Entry | Claimed, document: Mapping[str, Any], max_tolerance: float = MAX_TOLERANCE
) -> dict[str, list[Verdict]]:
    """Verdicts on the ``claims``, and on those of ``regions`` and ``tensors``, largest difference first.

    ``document``: of a result, priced under the profile of the claims.
    """
    operations, storage = document["operations_per_token"], document["storage"]
    measured = {
        "perplexity": document["perplexity"]["word"],
        "parameters": storage["parameters"],
        "operations": operations["total"],
        "matrix_vector": operations["matrix_vector"],
        "score": document["score"]["total"],
    }
    tensors = {tensor["name"]: tensor["count"] for tensor in storage["tensors"]}

    def judged(claims: Sequence[Claim], figures: Mapping[str, float | None]) -> list[Verdict]:
        return [judge(claim, figures.get(claim.name), max_tolerance) for claim in claims]

    def largest_first(found: list[Verdict]) -> list[Verdict]:
        return sorted(found, key=lambda verdict: -abs(verdict.difference or 0.0))

    return {
        "claims": judged(entry.claims, measured),
        "regions": largest_first(judged(entry.regions, operations["by_region"] or {})),
        "tensors": largest_first(judged(entry.tensors, tensors)),
    }


def read_validation(document: Mapping[str, Any], result: Mapping[str, Any], path: object) -> Validation:
    """The validation in a document that was read from ``path``; its verdicts are made again from claims and result.

    ``result``: the one in it, priced under its own profile.

    Raises
    ------
    ConfigError
        It has no claims, or some that are none.
    """
    entry = document.get("entry")
    if not isinstance(entry, str):
        raise ConfigError(f"{path}: entry is {entry!r:.40}; expected the name of a file; {_WRITTEN}")
    claimed = Claimed(*(_claims(document.get(part), part, path) for part in ("claims", "regions", "tensors")))
    for claim in claimed.claims:
        if claim.name not in CLAIMS:
            raise ConfigError(
                f"{path}: claims has {claim.name!r:.40}; expected some of {', '.join(CLAIMS)}; {_WRITTEN}"
            )
    # Each is held against its own tolerance here; the widest that may pass is up to who reads the validation.
    found = [verdict for part in verdicts(claimed, result, sys.float_info.max).values() for verdict in part]
    if not found:
        raise ConfigError(f"{path}: validates no claim; expected at least one; {_WRITTEN}")
    return Validation(entry, tuple(found))


def _claims(rows: Any, part: str, path: object) -> tuple[Claim, ...]:
    if not isinstance(rows, list):
        raise ConfigError(f"{path}: {part} is {rows!r:.40}; expected a list of claims; {_WRITTEN}")
    return tuple(_claim(row, f"{part}.{number}", path) for number, row in enumerate(rows))


def _claim(row: Any, where: str, path: object) -> Claim:
    fields = row if isinstance(row, dict) else {}
    name: Any = fields.get("name")
    claimed: Any = fields.get("claimed")
    tolerance: Any = fields.get("tolerance")
    if not (isinstance(name, str) and _is_figure(claimed) and _is_figure(tolerance)):
        raise ConfigError(
            f"{path}: {where} is {row!r:.60}; expected its name, and numbers for claimed and tolerance; {_WRITTEN}"
        )
    return Claim(name, float(claimed), float(tolerance))


def _is_figure(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max
