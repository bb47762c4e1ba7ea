"""``lm-meter verify`` of a foreign entry: the program is run again, whole, if whoever verifies names it.

A result may be a stranger's, and its command any: no program is run because a file says so.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .entry_program import ForeignEntry
from .errors import ConfigError
from .finding import Finding
from .foreign_entry import prepare_entry, rows_of, run_entry
from .profiles import profile_named
from .progress import on_stderr
from .record_findings import StoredRecords
from .repetition import given_options, text_of
from .result import Result
from .verification import compare_with_run, run_again

_SAME = ("name", "protocol", "values", "dtype", "claims", "sums")
_NOT_WHOLE = ("checkpoint", "fraction", "positions", "seed", "state", "block", "threads")


def check_entry_options(options: argparse.Namespace, document: Mapping[str, Any]) -> None:
    """Refuse options that do not go with a result.

    Raises
    ------
    ConfigError
    """
    entry = document["entry"]
    if entry is None:
        for name in ("entry", "vocabulary"):
            if getattr(options, name) is not None:
                raise ConfigError(
                    f"--{name}: {options.result} is of a checkpoint, not of a foreign entry; leave it away"
                )
        return
    for name in _NOT_WHOLE:
        if getattr(options, name) is not None:
            raise ConfigError(
                f"--{name}: {options.result} is of a foreign entry, whose program is run again from the start to the "
                "end; leave it away"
            )
    if options.entry is None:
        raise ConfigError(
            f"{options.result}: is of a foreign entry, whose program is run only where you name it; the result says "
            f"--entry {shlex.quote(entry['command'])}"
        )


def verify_entry(options: argparse.Namespace, result: Result, stored: StoredRecords | None) -> list[Finding]:
    """Run the program again over all that was scored, and compare every bit.

    Raises
    ------
    ConfigError, TextError, EntryError
        Text or vocabulary are others, or the program breaks the protocol.
    """
    document, folder = result.document, Path(options.result).parent
    said = document["entry"]
    entry = ForeignEntry(options.entry, _vocabulary(said, folder, options.vocabulary), said["timeout"])
    run = replace(given_options(document), threads=None)
    prepared = prepare_entry(entry, text_of(document, folder, options.text), run)
    found = prepared.vocabulary.sha256
    if found != said["vocabulary"]["sha256"]:
        raise ConfigError(
            f"{prepared.vocabulary.path}: is not the result's vocabulary: SHA-256 {found[:12]}..., expected "
            f"{said['vocabulary']['sha256'][:12]}...; name it with --vocabulary"
        )
    progress = None if options.quiet else on_stderr
    profile = profile_named(document["operations_per_token"]["profile"])

    prepared = prepared.first(document["text"]["scored"])
    made, records = run_again(lambda files: run_entry(prepared, profile, files, progress), stored is not None)
    findings = compare_with_run(result, made, (stored, rows_of(prepared, prepared.targets.size)), records)
    return [*_program(said, made["entry"]), *findings]


def _vocabulary(said: Mapping[str, Any], folder: Path, given: str | None) -> Path:
    """Where the vocabulary of a result lies: as it says, or beside it, or as is ``given``."""
    named = Path(said["vocabulary"]["path"])
    if given is not None:
        return Path(given)
    return next((path for path in (named, folder / named.name) if path.is_file()), named)


def _program(said: Mapping[str, Any], made: Mapping[str, Any]) -> list[Finding]:
    """What the program is, and says of itself, that it was not, and did not say, before."""
    found: list[tuple[str, Any, Any]] = [(f"entry.{name}", said[name], made[name]) for name in _SAME]
    sizes = (entry["vocabulary"]["size"] for entry in (said, made))
    found.append(("entry.vocabulary.size", *sizes))
    one, other = ([file["sha256"][:12] for file in entry["files"]] for entry in (said, made))
    found.append(("SHA-256 of the program and the files that its command names", one, other))
    return [
        Finding("figure", f"{name}: {one!r:.80} in the result, {other!r:.80} run again")
        for name, one, other in found
        if one != other
    ]
