"""Validating an entry: it is run on-line, and each claim is held against what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .checkpoint import Checkpoint
from .corpora import corpus
from .entry import Claim, Entry
from .errors import ConfigError
from .evaluation import evaluate
from .preparation import as_run
from .printable import page
from .progress import Progress
from .report import columns, number
from .result import VALIDATION_SCHEMA, Result
from .storage import tensors_of
from .text import read_text


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
        ``claims``, ``regions`` and ``tensors`` (of both those that differ most first) with their verdicts, ``gate``,
        ``passes`` (all of them), and the whole ``result``.

    Raises
    ------
    CheckpointError, TextError, ConfigError, MeterError
    KeyboardInterrupt
        Where Ctrl-C came before the last prediction.
    """
    checkpoint = Checkpoint(entry.checkpoint)
    _check_names(entry, as_run(checkpoint, entry.options))
    text = corpus(*entry.corpus) if entry.corpus else read_text(entry.text or "")
    result = evaluate(checkpoint, text=text, profile=entry.profile, options=entry.options, progress=progress)
    if result["partial"]:
        raise KeyboardInterrupt
    found = verdicts(entry, result)
    gate = {"perplexity": result.perplexity, "meets": result["score"]["meets_gate"]}
    return {
        "schema": VALIDATION_SCHEMA,
        "entry": str(entry.path),
        "passes": all(verdict.passes for part in found.values() for verdict in part) and gate["meets"] is not False,
        **{name: [asdict(verdict) for verdict in part] for name, part in found.items()},
        "gate": gate,
        "result": result.document,
    }


def verdicts(entry: Entry, result: Result) -> dict[str, list[Verdict]]:
    """Verdicts on the ``claims``, and on those of ``regions`` and ``tensors``, largest difference first."""
    operations, storage = result["operations_per_token"], result["storage"]
    measured = {
        "perplexity": result.perplexity,
        "parameters": storage["parameters"],
        "operations": operations["total"],
        "matrix_vector": operations["matrix_vector"],
        "score": result["score"]["total"],
    }
    tensors = {tensor["name"]: tensor["count"] for tensor in storage["tensors"]}
    return {
        "claims": [judge(claim, measured[claim.name]) for claim in entry.claims],
        "regions": _largest_first(entry.regions, operations["by_region"]),
        "tensors": _largest_first(entry.tensors, tensors),
    }


def _check_names(entry: Entry, checkpoint: Checkpoint) -> None:
    """Refuse claims of regions and tensors that the model does not have, before it is run."""
    regions = [region.name for region in checkpoint.architecture.regions(checkpoint)]
    tensors = [tensor.name for tensor in tensors_of(checkpoint)]
    for what, claims, known in (("region", entry.regions, regions), ("tensor", entry.tensors, tensors)):
        for claim in claims:
            if claim.name not in known:
                raise ConfigError(
                    f"{entry.path}: claims.{what}s has {claim.name!r:.60}, which is no {what} of the model; expected "
                    f"one of {', '.join(known)}"
                )


def _largest_first(claims: Sequence[Claim], measured: Mapping[str, float]) -> list[Verdict]:
    found = [judge(claim, measured[claim.name]) for claim in claims]
    return sorted(found, key=lambda verdict: -abs(verdict.difference or 0.0))


def validation_table(found: dict[str, Any]) -> str:
    """``validate`` as a table."""
    profile = found["result"]["operations_per_token"]
    lines = [f"{found['entry']}: {profile['profile']}, {profile['unit']}", ""]
    lines += _verdict_lines("claim", found["claims"])
    for name, title in (("regions", "operations of regions"), ("tensors", "numbers in tensors")):
        if found[name]:
            lines += ["", f"{title}, those that differ most first"]
            lines += _verdict_lines(name.removesuffix("s"), found[name])
    gate = {True: "met", False: "NOT MET", None: "not asked, not the whole test set as is"}[found["gate"]["meets"]]
    measured = _shown(found["gate"]["perplexity"], 5)
    lines += ["", f"gate, word perplexity of 35 or less, measured {measured}: {gate}"]
    lines += ["PASS" if found["passes"] else "FAIL"]
    return page(lines)


def _verdict_lines(what: str, verdicts: Sequence[dict[str, Any]]) -> list[str]:
    rows = [[what, "claimed", "measured", "difference", "allowed", ""]]
    for verdict in verdicts:
        digits = 5 if abs(verdict["claimed"]) < 10_000 else 1
        rows.append(
            [
                verdict["name"],
                *(_shown(verdict[key], digits) for key in ("claimed", "measured", "difference")),
                f"{100 * verdict['tolerance']:g} %",
                "PASS" if verdict["passes"] else "FAIL",
            ]
        )
    return columns(rows)


def _shown(value: float | None, digits: int) -> str:
    """A rounded number; what is rounded to zero has no sign."""
    return number(None if value is None else round(value, digits) + 0.0, digits)
