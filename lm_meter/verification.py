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
from .hash_chain import TOKENS_PER_LINK, HashChain
from .models.token_operations import token_operations
from .pass_files import PassFiles
from .preparation import Prepared
from .profiles import profile_named
from .progress import Progress
from .record_table import COLUMNS, Records
from .records import read_records
from .result import Result
from .saved_state import SavedState
from .slice_run import Slice, run_slice

VERIFICATION_SCHEMA = "lm-meter/verification/1"


@dataclass(frozen=True)
class Finding:
    """Something that differs.

    ``what``: chain, log_prob, count, figure, records or state; ``position``: the first one, where it is of some.
    """

    what: str
    message: str
    position: int | None = None


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
    records: Records | None = None,
    progress: Callable[[int], Progress] | None = None,
) -> list[Finding]:
    """Run all of it again and compare every figure that does not depend on the machine."""
    profile = profile_named(result["operations_per_token"]["profile"])
    with tempfile.TemporaryDirectory() as folder:
        place = None if records is None else Path(folder) / "records.npz"
        again = run_prepared(prepared, profile, PassFiles(records=place), progress)
        if again["text"]["scored"] < result["text"]["scored"]:
            raise KeyboardInterrupt
        log_probs = again.log_probs
        assert log_probs is not None  # of a pass that was just made
        found = compare_links(result["chain"]["links"], Slice(0, log_probs.size), log_probs, _skipped(result.document))
        if records is not None and place is not None:
            found += compare_records(records, read_records(place))
    return found + [_figure(message) for message in differences(result.document, again.document)]


def verify_slice(
    result: Result,
    prepared: Prepared,
    part: Slice,
    beside: tuple[SavedState | None, Records | None] = (None, None),
    progress: Callable[[int], Progress] | None = None,
) -> list[Finding]:
    """Run a part of it again and compare its links; ``beside``: a state that comes before it, and records."""
    (state, records), links = beside, result["chain"]["links"]
    if state is not None:
        own = np.asarray(state.arrays["log_probs"])
        found = compare_links(links, Slice(0, own.size // TOKENS_PER_LINK * TOKENS_PER_LINK), own, 0)
        if found:
            return [Finding("state", f"the state is of another run: {found[0].message}")]
    log_probs = run_slice(prepared, part, state, progress)
    skipped = _skipped(result.document)
    found = compare_links(links, part, log_probs, skipped)
    if records is not None:
        found += _compare_column("log_prob", records.log_prob[part.first : part.last], log_probs, part.first + skipped)
    return found


def compare_sum(result: Result, prepared: Prepared) -> list[Finding] | None:
    """The sum of all counts against the cost laws, which need no run; None of a model whose tokens they do not know."""
    try:
        laws = token_operations(prepared.checkpoint, prepared.context, prepared.inputs, prepared.targets)
    except ConfigError:
        return None
    expected, found = int(laws.sum()), sum(row["count"] for row in result["histogram"])
    if found == expected:
        return []
    return [Finding("count", f"all counts sum to {found:,} in the result, to {expected:,} by the cost laws")]


def compare_records(found: Records, again: Records) -> list[Finding]:
    """Of each column the first value that the run does not give, and what else of the file it does not."""
    start = int(again.position[0])
    columns = ((name, getattr(found, name), getattr(again, name)) for name in COLUMNS)
    differ = [finding for name, one, other in columns for finding in _compare_column(name, one, other, start)]
    for name in ("text_sha256", "checkpoint_sha256"):
        one, other = getattr(found, name), getattr(again, name)
        if one not in (None, other):  # a CSV file has none
            differ.append(Finding("records", f"{name} is {one!r:.60} in the records, {other!r} run again"))
    pieces = [dict(zip(r.token_id.tolist(), r.token_text.tolist(), strict=True)) for r in (found, again)]
    wrong = [token for token in sorted({*pieces[0], *pieces[1]}) if pieces[0].get(token) != pieces[1].get(token)]
    if wrong:
        one, other = (of.get(wrong[0]) for of in pieces)
        more = f"; {len(wrong) - 1:,} more differ behind it" if len(wrong) > 1 else ""
        message = f"the text of token {wrong[0]} is {one!r:.60} in the records, {other!r:.60} run again{more}"
        differ.append(Finding("records", message))
    return differ


def _compare_column(name: str, found: np.ndarray, again: np.ndarray, start: int) -> list[Finding]:
    """The first value of a column that differs, at its position, and how many do; ``start``: position of the first."""
    wrong = np.flatnonzero(found != again)
    if not wrong.size:
        return []
    at = int(wrong[0])
    one, other = (values[at].item() for values in (found, again))
    more = f"; {wrong.size - 1:,} more differ behind it" if wrong.size > 1 else ""
    message = f"position {start + at}: {name} is {one!r} in the records, {other!r} run again{more}"
    return [Finding("log_prob" if name == "log_prob" else "records", message, start + at)]


def check_records(result: Result, records: Records, found: str) -> list[Finding]:
    """Compare records with their result before anything is run; ``found``: SHA-256 of their file."""
    document = result.document
    if records.log_prob.size != document["text"]["scored"]:
        raise ConfigError(
            f"the records have {records.log_prob.size} rows, the result {document['text']['scored']} predictions; "
            "expected the records that were written with it"
        )
    wanted = document["records"]["sha256"] if document.get("records") else None
    if wanted in (None, found):
        return []
    return [Finding("records", f"the records have SHA-256 {found[:12]}..., the result says {wanted[:12]}...")]


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
