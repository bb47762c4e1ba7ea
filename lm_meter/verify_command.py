"""``lm-meter verify``: a saved result is run again, and what differs is said."""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .commands import print_document
from .errors import ConfigError
from .printable import counted, page
from .shared_arguments import add_format, command, file_name

if TYPE_CHECKING:
    from .finding import Finding
    from .preparation import Prepared
    from .record_findings import StoredRecords
    from .result import Result
    from .saved_state import SavedState
    from .slice_run import Slice

_SEEDS = 1 << 31
_UNMETERED = "not metered"
# How counts were compared, and what a verification that found nothing says of them.
_COUNTS = {
    "run again": ", every count",
    "summed by the cost laws": ", and the sum of all counts, by the cost laws",
    _UNMETERED: "; a foreign entry's operations are not metered",
    "not compared": "; counts were not compared: the experts of the model differ",
}


def add_verify(group: argparse._SubParsersAction) -> None:
    """The arguments of ``verify``."""
    parser = command(
        group,
        "verify",
        "run a saved result again, whole or in part, and compare every bit; exit status 0 only if all are identical",
        "lm-meter verify result.json\n  lm-meter verify result.json --fraction 0.05 --checkpoint model.npz",
    )
    parser.add_argument("result", type=file_name, metavar="RESULT.json")
    parser.add_argument(
        "--checkpoint", type=file_name, metavar="CKPT.npz", help="where it lies now (default: as the result says)"
    )
    parser.add_argument(
        "--text", type=file_name, metavar="FILE", help="where it lies now (default: as the result says)"
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--fraction", type=float, metavar="F", help="only so much of it, at a random place")
    part.add_argument("--positions", metavar="FIRST:LAST", help="only the links that these positions are in")
    parser.add_argument(
        "--records", type=file_name, metavar="FILE", help="of eval --records (default: those that the result names)"
    )
    parser.add_argument(
        "--entry", metavar="'COMMAND'", help="of a foreign entry: its program, which is run only where this names it"
    )
    parser.add_argument(
        "--vocabulary", type=file_name, metavar="FILE", help="of a foreign entry (default: as the result says)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the random place, to choose it again")
    parser.add_argument("--state", type=file_name, metavar="FILE", help="of eval --state: a part is run from there")
    parser.add_argument("--block", type=int, metavar="N", help="default: the result's")
    parser.add_argument("--threads", type=int, metavar="N", help="default: as many as are fastest")
    add_format(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command=run_verify)


def run_verify(options: argparse.Namespace) -> int:
    """Verify, print what was found; 1 where anything differs."""
    from .preparation import prepare
    from .progress import on_stderr
    from .repetition import checkpoint_of, options_of, text_of
    from .result import load_result
    from .verification import (
        Beside,
        compare_options,
        compare_sum,
        operations_by_laws,
        verify_slice,
        verify_whole,
    )
    from .verify_entry import check_entry_options, verify_entry

    result, folder = load_result(options.result), Path(options.result).parent
    document = result.document
    check_entry_options(options, document)
    if document["entry"] is not None:
        stored, findings = _records(options, result)
        return _finish(options, result, (stored, findings + verify_entry(options, result, stored)), {})
    run = options_of(document, options.block, options.threads)
    checkpoint = checkpoint_of(document, folder, options.checkpoint)
    prepared = prepare(checkpoint, text_of(document, folder, options.text), run)
    scored = document["text"]["scored"]
    if prepared.targets.size < scored:
        raise ConfigError(
            f"{options.result}: text.scored is {scored}, but the text has {prepared.targets.size} predictions; write "
            "the result again with eval --output"
        )
    prepared, progress = prepared.first(scored), None if options.quiet else on_stderr
    part, seed = _part(options, document)
    state = _state(options.state, prepared, part) if part else None
    stored, findings = _records(options, result)
    findings = compare_options(result, prepared) + findings
    counts = "run again"
    if part is None:
        findings += verify_whole(result, prepared, stored, progress)
    else:
        operations = operations_by_laws(prepared)
        counts = "not compared" if operations is None else "summed by the cost laws"
        findings += [] if operations is None else compare_sum(result, operations)
        findings += verify_slice(result, prepared, part, Beside(state, stored, operations), progress)
    how = {
        "whole": part is None,
        "first": part.first if part else 0,
        "last": part.last if part else scored,
        "seed": seed,
        "counts": counts,
        "from_state": state.progress["done"] if state else None,
    }
    return _finish(options, result, (stored, findings), how)


def _finish(
    options: argparse.Namespace,
    result: Result,
    found: tuple[StoredRecords | None, list[Finding]],
    how: Mapping[str, Any],
) -> int:
    """Print what was found, and ``how``: those fields of the document that differ from run to run."""
    from .verification import VERIFICATION_SCHEMA

    (stored, findings), scored = found, result["text"]["scored"]
    done = {
        "schema": VERIFICATION_SCHEMA,
        "result": options.result,
        "identical": not findings,
        "whole": True,
        "first": 0,
        "last": scored,
        "scored": scored,
        "seed": None,
        "counts": _UNMETERED,
        "records": stored is not None,
        "missing_records": _missing(result.document, stored),
        "from_state": None,
        "findings": [asdict(finding) for finding in findings],
        **how,
    }
    print_document(done, _table(done), options.format)
    return 0 if done["identical"] else 1


def _records(options: argparse.Namespace, result: Result) -> tuple[StoredRecords | None, list[Finding]]:
    """Records that are named, or that the result names and that lie beside it; and what of them is not the result's."""
    from .record_findings import stored_records
    from .result_records import records_of

    path = Path(options.records) if options.records else records_of(result.document, options.result)
    return (None, []) if path is None else stored_records(result.document, path)


def _missing(document: dict[str, Any], stored: StoredRecords | None) -> str | None:
    """The file of records, or of word tokens, that the result names, where it was not compared."""
    named = document["records"]
    if stored is not None:
        return str(stored.missing) if stored.missing else None
    return named["file"] if named else None


def _part(options: argparse.Namespace, document: dict[str, Any]) -> tuple[Slice | None, int | None]:
    """The part that is wanted, None for all, and the seed of its place."""
    from .hash_chain import TOKENS_PER_LINK
    from .slice_run import Slice
    from .verification import slice_of

    scored = document["text"]["scored"]
    if options.fraction is not None:
        seed = random.randrange(_SEEDS) if options.seed is None else options.seed
        if not 0 <= seed < _SEEDS:
            raise ConfigError(f"seed is {seed}; expected 0 to {_SEEDS - 1}")
        return slice_of(scored, options.fraction, seed), seed
    if options.seed is not None:
        raise ConfigError("--seed chooses the place of a part; expected --fraction beside it")
    if options.positions is None:
        if options.state is not None:
            raise ConfigError("--state is where a part is run from; expected --fraction or --positions beside it")
        return None, None
    skipped = int(document["text"]["first_token"] == "skip")
    numbers = re.fullmatch(r"([0-9]{1,12}):([0-9]{1,12})", options.positions)
    first, last = (int(number) - skipped for number in numbers.groups()) if numbers else (1, 0)
    if not 0 <= first < last <= scored:
        raise ConfigError(
            f"--positions is {options.positions!r:.40}; expected FIRST:LAST, the second not included, inside "
            f"{skipped}:{scored + skipped}"
        )
    start = first // TOKENS_PER_LINK * TOKENS_PER_LINK
    return Slice(start, min(scored, -(-last // TOKENS_PER_LINK) * TOKENS_PER_LINK)), None


def _state(name: str | None, prepared: Prepared, part: Slice) -> SavedState | None:
    """The last state before a part, of the file and the one before it; None where both come later."""
    from .errors import StateError
    from .online import saved_log_probs
    from .saved_state import WRITTEN_BY_EVAL, previous_path
    from .state_keeper import run_state, state_identity

    if name is None:
        return None
    identity = state_identity(prepared)
    found = []
    for path in (Path(name), previous_path(Path(name))):
        state = run_state(path, identity)
        if state is None:
            continue
        try:
            saved_log_probs(state.progress, state.arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"{path}: its progress is not a pass's ({error}); {WRITTEN_BY_EVAL}") from None
        found.append(state)
    if not found:
        raise ConfigError(f"--state {name}: is not there; {WRITTEN_BY_EVAL}")
    usable = [state for state in found if state.progress["done"] <= part.first]
    return max(usable, key=lambda state: state.progress["done"], default=None)


def _table(done: dict[str, Any]) -> str:
    """A verification for a terminal."""
    if done["whole"]:
        lines = [f"{done['result']}: all of its {counted(done['scored'], 'prediction')} run again"]
    else:
        count = done["last"] - done["first"]
        place = f"{count:,} of its {done['scored']:,} predictions, from number {done['first']:,} on"
        start = "the start of the text" if done["from_state"] is None else f"a state behind {done['from_state']:,}"
        lines = [f"{done['result']}: {place}, run again from {start}"]
        if done["seed"] is not None:
            lines.append(f"the place is that of --seed {done['seed']}")
    lines += [f"  {finding['message']}" for finding in done["findings"]]
    if done["missing_records"]:
        lines.append(f"records {done['missing_records']} are not here and were not compared; name them with --records")
    if done["identical"]:
        lines.append(f"IDENTICAL: every bit of the log-probabilities{_COUNTS[done['counts']]}")
        if done["counts"] == _UNMETERED:
            lines.append("a program may have kept the text of an earlier run: verify where it has never run")
    else:
        lines.append("DIFFERENT")
        if done["counts"] == _UNMETERED:
            lines.append("a program may itself give other bits each time: verify again, and see whether it does")
    return page(lines)
