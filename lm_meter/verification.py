"""Verifying a saved result: it is run again, whole or in part, and every bit that it promises is compared.

Of the log-probabilities a result has a chain of hashes, and perhaps a file of records. A link that differs names 1,024
positions, records name the first one. A part is run from a saved state, if one is given that comes before it, or from
the start of the text; what lies before it only enters, and is not predicted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .document_differences import differences
from .errors import ConfigError
from .evaluation import run_prepared
from .finding import Finding
from .hash_chain import TOKENS_PER_LINK, HashChain
from .models.token_operations import token_operations
from .pass_files import PassFiles
from .pass_records import check_recordable, rows_of
from .preparation import Prepared
from .profiles import profile_named
from .progress import Progress
from .record_findings import PartRecords, StoredRecords, compare_records, compare_words
from .record_table import Records
from .records import read_records
from .result import Result
from .run_identity import contradicted_options
from .saved_state import SavedState
from .slice_run import Slice, run_slice
from .text_columns import TextColumns
from .unrun_figures import counts_beside_laws, figures_without_run

VERIFICATION_SCHEMA = "lm-meter/verification/1"


@dataclass(frozen=True)
class Beside:
    """What a part is verified with: a state that comes before it, records, and the operations of all predictions.

    ``operations``: (scored,) int64, by the cost laws; None where they do not know them.
    """

    state: SavedState | None = None
    stored: StoredRecords | None = None
    operations: np.ndarray | None = None


def slice_of(scored: int, fraction: float, seed: int) -> Slice:
    """Neighbouring links that hold at least this fraction of the predictions, at a random place.

    ``seed``: the place depends on it and the number of links alone.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"fraction is {fraction:g}; expected a number above 0, at most 1")
    links = -(-scored // TOKENS_PER_LINK)
    count = max(1, int(np.ceil(fraction * links)))
    first = int(np.random.default_rng(seed).integers(0, links - count + 1))
    return Slice(first * TOKENS_PER_LINK, min(scored, (first + count) * TOKENS_PER_LINK))


def verify_whole(
    result: Result,
    prepared: Prepared,
    stored: StoredRecords | None = None,
    progress: Callable[[int], Progress] | None = None,
) -> list[Finding]:
    """Run all of it again and compare every figure that does not depend on the machine."""
    profile = profile_named(result["operations_per_token"]["profile"])
    again, made = run_again(lambda files: run_prepared(prepared, profile, files, progress), stored is not None)
    rows = rows_of(prepared, prepared.targets.size)
    return compare_with_run(result, again, (stored, rows), made)


def run_again(run: Callable[[PassFiles], Result], recorded: bool) -> tuple[Result, Records | None]:
    """Make a run again, and its records if they are wanted: None where they could not be written."""
    with _temporary_folder() as folder:
        place = Path(folder) / "records.npz" if recorded else None
        again = run(PassFiles(records=place))
        return again, read_records(place) if place and again["records"] else None


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for the records of a run made again; ConfigError where there can be none."""
    try:
        return tempfile.TemporaryDirectory()
    except OSError as error:
        raise ConfigError(
            f"no folder for temporary files can be made ({error.strerror}); set TMPDIR to a folder on a disk with room"
        ) from None


def compare_with_run(
    result: Result, again: Result, kept: tuple[StoredRecords | None, TextColumns], made: Records | None
) -> list[Finding]:
    """Compare a result, and the records ``kept`` of it, with the run made again and its records.

    KeyboardInterrupt where Ctrl-C ended that, ConfigError where its records could not be written.
    """
    if again["text"]["scored"] < result["text"]["scored"]:
        raise KeyboardInterrupt
    log_probs, (stored, rows) = again.log_probs, kept
    assert log_probs is not None  # of a pass that was just made
    whole = Slice(0, log_probs.size)
    found = compare_links(result["chain"]["links"], whole, log_probs, _skipped(result.document))
    if stored is not None:
        if made is None:  # a pass whose records cannot be written only warns
            raise ConfigError(
                "the records of the run made again could not be kept in the folder for temporary files, so that the "
                "result's were not compared; set TMPDIR to a folder on a disk with room"
            )
        found += compare_records(stored.records, made, whole)
        found += compare_words(stored, rows)
    return found + [_figure(message) for message in differences(result.document, again.document, "run again")]


def verify_slice(
    result: Result,
    prepared: Prepared,
    part: Slice,
    beside: Beside,
    progress: Callable[[int], Progress] | None = None,
) -> list[Finding]:
    """Run a part of it again and compare its links; and all else that needs no run of the rest."""
    state, stored, links = beside.state, beside.stored, result["chain"]["links"]
    if state is not None:
        own = np.asarray(state.arrays["log_probs"])
        found = compare_links(links, Slice(0, own.size // TOKENS_PER_LINK * TOKENS_PER_LINK), own, 0)
        if found:
            return [Finding("state", f"the state is of another run: {found[0].message}")]
    if stored is not None:
        check_recordable(prepared)
    run = run_slice(prepared, part, state, stored is not None, progress)
    skipped = _skipped(result.document)
    found = compare_links(links, part, run.log_probs, skipped)
    if stored is not None and beside.operations is not None:
        again = PartRecords(prepared, beside.operations, part, run)
        found += compare_records(stored.records, again, part)
        found += _unrun_links(links, stored.records.log_prob, part, skipped)
        found += compare_words(stored, rows_of(prepared, stored.records.size))
    # The loss is the records', if nothing was found to differ in theirs.
    losses = stored.records if stored and not any(each.what in ("chain", "log_prob") for each in found) else None
    again_document = figures_without_run(result, prepared, losses)
    messages = [
        *counts_beside_laws(result.document, again_document),
        *differences(result.document, again_document, "made again"),
    ]
    return found + [_figure(message) for message in messages]


def _unrun_links(links: list[str], log_probs: np.ndarray, part: Slice, skipped: int) -> list[Finding]:
    """Links before and behind a part, against the log-probabilities of the records."""
    rest = (Slice(0, part.first), Slice(part.last, log_probs.size))
    return [
        Finding("chain", f"in the records: {each.message}", each.position)
        for other in rest
        if other.first < other.last
        for each in compare_links(links, other, log_probs[other.first : other.last], skipped)
    ]


def compare_options(result: Result, prepared: Prepared) -> list[Finding]:
    """What the options of a result give, before it is run, that is not what it says was run."""
    continuous = prepared.checkpoint.model_config.ends.continuous
    messages = contradicted_options(result.document, prepared.context, continuous)
    return [Finding("option", message) for message in messages]


def operations_by_laws(prepared: Prepared) -> np.ndarray | None:
    """Operations of each prediction, (n,) int64, which need no run; None of a model whose tokens have no law."""
    try:
        return token_operations(prepared.checkpoint, prepared.context, prepared.inputs, prepared.targets)
    except ConfigError:
        return None


def compare_sum(result: Result, operations: np.ndarray) -> list[Finding]:
    """The sum of all counts against that of the cost laws."""
    expected, found = int(operations.sum()), sum(row["count"] for row in result["histogram"])
    if found == expected:
        return []
    return [Finding("count", f"all counts sum to {found:,} in the result, to {expected:,} by the cost laws")]


def compare_links(links: list[str], part: Slice, log_probs: np.ndarray, skipped: int) -> list[Finding]:
    """What of a chain a part's log-probabilities do not give; ``skipped``: positions of the text before the first."""
    first = part.first // TOKENS_PER_LINK
    chain = HashChain.behind(links[first])
    chain.add(log_probs[: part.last - part.first])
    made = chain.links()[1:]
    given = links[first + 1 : first + 1 + len(made)]
    wrong = [number for number, (one, other) in enumerate(zip(given, made, strict=True)) if one != other]
    if not wrong:
        return []
    number = wrong[0]
    start = part.first + number * TOKENS_PER_LINK
    places = f"positions {start + skipped} to {min(part.last, start + TOKENS_PER_LINK) - 1 + skipped}"
    link = f"chain.links.{first + 1 + number}"
    if len(wrong) < len(made) - number:
        message = f"{link} is not the hash of {places}, but later links are as the run gives them: it was altered alone"
    else:
        message = f"{link} is not the run's: log-probabilities at {places} are other ones"
    return [Finding("chain", message, start + skipped)]


def _skipped(document: Mapping[str, Any]) -> int:
    return int(document["text"]["first_token"] == "skip")


def _figure(message: str) -> Finding:
    return Finding("count" if " operations in the result" in message else "figure", message)
