"""Validating an entry: it is run on-line, and each claim is held against what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .checkpoint import Checkpoint
from .corpora import corpus
from .entry import Claim, Entry
from .errors import ConfigError
from .evaluation import evaluate
from .progress import Progress
from .report import columns, number
from .result import Result
from .text import read_text

SCHEMA = "lm-meter/validation/1"


@dataclass(frozen=True)
class Verdict:
    """A claim and what was measured: their difference, and whether it is within the tolerance."""

    name: str
    claimed: float
    measured: float | None
    difference: float | None
    tolerance: float
    passes: bool


def judge(claim: Claim, measured: float | None) -> Verdict:
    """Compare a claim with a figure; one that the run does not have fails."""
    if measured is None:
        return Verdict(claim.name, claim.value, None, None, claim.tolerance, False)
    difference = measured - claim.value
    passes = abs(difference) <= claim.tolerance * claim.value
    return Verdict(claim.name, claim.value, measured, difference, claim.tolerance, passes)


def validate(entry: Entry, progress: Callable[[int], Progress] | None = None) -> dict[str, Any]:
    """Run an entry and compare.

    Returns
    -------
    dict
        ``claims`` and ``regions`` (those that differ most first) with their verdicts, ``gate``, ``passes`` (all of
        them), and the whole ``result``.

    Raises
    ------
    CheckpointError, TextError, ConfigError, MeterError
    """
    checkpoint = Checkpoint(entry.checkpoint)
    text = corpus(*entry.corpus) if entry.corpus else read_text(entry.text or "")
    result = evaluate(checkpoint, text=text, profile=entry.profile, options=entry.options, progress=progress)
    if result["partial"]:
        raise ConfigError(f"{entry.path}: the run was interrupted; nothing is validated")
    claims, regions = verdicts(entry, result)
    gate = {"perplexity": result.perplexity, "meets": result["score"]["meets_gate"]}
    return {
        "schema": SCHEMA,
        "entry": str(entry.path),
        "passes": all(verdict.passes for verdict in [*claims, *regions]) and gate["meets"] is not False,
        "claims": [asdict(verdict) for verdict in claims],
        "regions": [asdict(verdict) for verdict in regions],
        "gate": gate,
        "result": result.document,
    }


def verdicts(entry: Entry, result: Result) -> tuple[list[Verdict], list[Verdict]]:
    """Verdicts on the claims, and on those of regions, largest difference first."""
    operations = result["operations_per_token"]
    measured = {
        "perplexity": result.perplexity,
        "parameters": result["storage"]["parameters"],
        "operations": operations["total"],
        "score": result["score"]["total"],
    }
    for claim in entry.regions:
        if claim.name not in operations["by_region"]:
            raise ConfigError(
                f"{entry.path}: claims.regions has {claim.name!r:.60}, which is no region of the model; expected one "
                f"of {', '.join(operations['by_region'])}"
            )
    regions = [judge(claim, operations["by_region"][claim.name]) for claim in entry.regions]
    regions.sort(key=lambda verdict: -abs(verdict.difference or 0.0))
    return [judge(claim, measured[claim.name]) for claim in entry.claims], regions


def validation_table(found: dict[str, Any]) -> str:
    """``validate`` as a table."""
    profile = found["result"]["operations_per_token"]
    lines = [f"{found['entry']}: {profile['profile']}, {profile['unit']}", ""]
    lines += _verdict_lines("claim", found["claims"])
    if found["regions"]:
        lines += ["", "operations of regions, those that differ most first"]
        lines += _verdict_lines("region", found["regions"])
    gate = {True: "met", False: "NOT MET", None: "not asked, not the whole test set as is"}[found["gate"]["meets"]]
    lines += ["", f"gate, word perplexity of 35 or less: {gate}", "PASS" if found["passes"] else "FAIL"]
    return "\n".join(lines) + "\n"


def _verdict_lines(what: str, verdicts: Sequence[dict[str, Any]]) -> list[str]:
    rows = [[what, "claimed", "measured", "difference", "allowed", ""]]
    for verdict in verdicts:
        exact = abs(verdict["claimed"]) < 1000
        shown = (lambda value: "-" if value is None else f"{value:,.5f}") if exact else number
        rows.append(
            [
                verdict["name"],
                *(shown(verdict[key]) for key in ("claimed", "measured", "difference")),
                f"{100 * verdict['tolerance']:g} %",
                "PASS" if verdict["passes"] else "FAIL",
            ]
        )
    return columns(rows)
