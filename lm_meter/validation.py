"""Validating an entry: it is run on-line, and each claim is held against what was measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from .checkpoint import Checkpoint
from .corpora import corpus
from .entry import Entry
from .errors import ConfigError, TextError
from .evaluation import evaluate
from .preparation import as_run
from .printable import page
from .progress import Progress
from .qualifiers import qualifiers_of, sentences
from .report import columns, number
from .result import VALIDATION_SCHEMA, Result
from .score_section import why_it_never_passes
from .storage import tensors_of
from .text import Text, read_text
from .verdicts import MAX_TOLERANCE, check_max_tolerance, verdicts


def validate(
    entry: Entry, progress: Callable[[int], Progress] | None = None, max_tolerance: float = MAX_TOLERANCE
) -> dict[str, Any]:
    """Run an entry and compare.

    Parameters
    ----------
    entry : Entry
    progress : callable, optional
        Makes a ``Progress`` from the number of predictions to come.
    max_tolerance : float
        The widest tolerance that may pass, as a fraction of the claim: the entry's author chooses its tolerances,
        whoever runs it has the last word.

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
    check_max_tolerance(max_tolerance)
    checkpoint = Checkpoint(entry.checkpoint)
    _check_names(entry, as_run(checkpoint, entry.options))
    result = _evaluated(entry, checkpoint, progress)
    if result["partial"]:
        raise KeyboardInterrupt
    found = verdicts(entry, result.document, max_tolerance)
    gate = {
        "perplexity": result.perplexity,
        "meets": result["score"]["meets_gate"],
        "verdict": result["score"]["gate_verdict"],
    }
    all_pass = all(verdict.passes for part in found.values() for verdict in part)
    return {
        "schema": VALIDATION_SCHEMA,
        "entry": str(entry.path),
        "max_tolerance": max_tolerance,
        "passes": all_pass and gate["meets"] is not False and why_it_never_passes(result.document) is None,
        **{name: [asdict(verdict) for verdict in part] for name, part in found.items()},
        "gate": gate,
        "result": result.document,
    }


def _evaluated(entry: Entry, checkpoint: Checkpoint, progress: Callable[[int], Progress] | None) -> Result:
    """The run; no error shows what stands in a text that lies outside the entry's folder: it may be any file."""
    try:
        text: Text = corpus(*entry.corpus) if entry.corpus else read_text(entry.text or "")
        return evaluate(checkpoint, text=text, profile=entry.profile, options=entry.options, progress=progress)
    except TextError as error:
        if not entry.text_is_outside:
            raise
        line = re.match(re.escape(f"{entry.text}: ") + "line [0-9]+: ", str(error))
        raise TextError(
            f"{line[0] if line else f'{entry.text}: '}cannot be scored; what stands there is not shown, as the file "
            f"lies outside the folder of {entry.path}"
        ) from None


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


def validation_table(found: dict[str, Any]) -> str:
    """``validate`` as a table."""
    profile = found["result"]["operations_per_token"]
    most = found["max_tolerance"]
    lines = [
        f"{found['entry']}: {profile['profile']}, {profile['unit']}",
        f"tolerances are the entry's own; none of more than {100 * most:g} % passes (--max-tolerance)",
        *sentences(qualifiers_of(found["result"])),
        "",
    ]
    lines += _verdict_lines("claim", found["claims"], most)
    for name, title in (("regions", "operations of regions"), ("tensors", "numbers in tensors")):
        if found[name]:
            lines += ["", f"{title}, those that differ most first"]
            lines += _verdict_lines(name.removesuffix("s"), found[name], most)
    gate = {True: "met", False: "NOT MET", None: "not asked, not the whole test set as is"}[found["gate"]["meets"]]
    if found["gate"]["meets"] is None and found["gate"]["verdict"]:
        gate = found["gate"]["verdict"]
    measured = _shown(found["gate"]["perplexity"], 5)
    lines += ["", f"gate, word perplexity of 35 or less, measured {measured}: {gate}"]
    if reason := why_it_never_passes(found["result"]):
        lines.append(f"no claim passes, as {reason}")
    lines += ["PASS" if found["passes"] else "FAIL"]
    return page(lines)


def _verdict_lines(what: str, verdicts: Sequence[dict[str, Any]], most: float) -> list[str]:
    rows = [[what, "claimed", "measured", "difference", "allowed", ""]]
    for verdict in verdicts:
        digits = 5 if abs(verdict["claimed"]) < 10_000 else 1
        rows.append(
            [
                verdict["name"],
                *(_shown(verdict[key], digits) for key in ("claimed", "measured", "difference")),
                f"{100 * verdict['tolerance']:g} %",
                "PASS" if verdict["passes"] else "TOO WIDE" if verdict["tolerance"] > most else "FAIL",
            ]
        )
    return columns(rows)


def _shown(value: float | None, digits: int) -> str:
    """A rounded number; what is rounded to zero has no sign."""
    return number(None if value is None else round(value, digits) + 0.0, digits)
