"""What each subcommand does: call the library with the parsed options, print, return the exit status.

Everything that takes time to import is imported where it is used.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigError

if TYPE_CHECKING:
    from .checkpoint import Checkpoint
    from .text import Text

INTERRUPTED = 130  # exit status after Ctrl-C: 128 and the number of the signal


def run_eval(options: argparse.Namespace) -> int:
    """Make a pass and print its result."""
    from .evaluation import evaluate
    from .interrupt import deferred_interrupt
    from .progress import on_stderr
    from .report import result_table
    from .run_options import RunOptions

    run = RunOptions(
        block=options.block,
        threads=options.threads,
        first_token=options.first_token,
        limit=options.limit,
        oov=options.oov,
        policy=options.policy,
        context=options.context,
        continuous_cache=options.continuous_cache,
    )
    checkpoint = _checkpoint(options.checkpoint)
    if options.output:
        _check_writable(options.output)
        _refuse_input(options.output, [checkpoint.path, *_texts(options)])
    result = evaluate(
        checkpoint,
        text=_text(options),
        profile=options.profile,
        options=run,
        progress=None if options.quiet else on_stderr,
    )
    with deferred_interrupt():
        # A disk that filled up during a long run must not take the printed result with it, nor the other way round.
        unsaved = None
        try:
            if options.output:
                result.save(options.output)
        except ConfigError as error:
            unsaved = error
        try:
            _print(result.document, result_table(result), options.format)
        finally:
            if unsaved:
                raise unsaved
    return INTERRUPTED if result["partial"] else 0


def _texts(options: argparse.Namespace) -> list[Path]:
    """Files that a text may come from."""
    from .corpora import WIKITEXT_103, corpus_folders
    from .defaults import sample_path

    if options.text:
        return [Path(options.text)]
    files = [split.file for split in WIKITEXT_103.splits.values()]
    return [sample_path(), *(folder / file for folder in corpus_folders(WIKITEXT_103) for file in files)]


def _refuse_input(output: str, inputs: Sequence[Path], option: str = "--output") -> None:
    """A result must not replace what it was made from."""
    for given in inputs:
        with contextlib.suppress(OSError):  # one of them is not there, or cannot be looked at: not the same file
            if os.path.samefile(output, given):
                raise ConfigError(f"{option} {output}: is an input of this run; choose another name")


def _check_writable(output: str, option: str = "--output") -> None:
    """Find out before a long run, not after it, that its result could not be written."""
    import tempfile

    path = Path(os.path.realpath(output)) if os.path.islink(output) else Path(output)
    try:
        if path.is_dir() or output.endswith("/"):
            raise ConfigError(f"{option} {output}: is a folder; expected the name of a file")
        if path.exists() and not path.is_file():
            raise ConfigError(f"{option} {path}: is a device or pipe; expected the name of a file")
        if path.exists() and not os.access(path, os.W_OK):
            raise ConfigError(f"{option} {path}: is write-protected; choose another name")
        if not path.parent.is_dir():
            raise ConfigError(f"{option} {path}: there is no folder {path.parent}; make it first")
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".lm-meter."):
            pass
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be written ({error.strerror}); choose another place") from None


def _text(options: argparse.Namespace) -> Text:
    from .corpora import WIKITEXT_103, corpus, corpus_folders, find_split
    from .defaults import sample_text
    from .text import read_text

    if options.text:
        if options.split:
            raise ConfigError("--split is a part of a corpus; expected no --text beside it")
        return read_text(options.text)
    split = options.split or "test"
    if options.corpus:
        return corpus(options.corpus, split, progress=not options.quiet)
    found = find_split(WIKITEXT_103, split)
    if found is None:
        folder = next(reversed(corpus_folders(WIKITEXT_103)), f"$LM_METER_DATA/{WIKITEXT_103.name}")
        note = (
            f"text: the sample that ships with lm-meter; --corpus wikitext-103 downloads the {split} set, or put "
            f"{WIKITEXT_103.splits[split].file} into {folder}"
        )
    else:
        note = f"text: {found.name} from this machine; --text FILE evaluates another"
    if not options.quiet:
        print(note, file=sys.stderr)
    return found or sample_text()


def _checkpoint(path: str | None) -> Checkpoint:
    from .checkpoint import Checkpoint
    from .defaults import default_checkpoint

    return Checkpoint(path if path else default_checkpoint())


def _print(document: dict[str, Any], table: str, kind: str) -> None:
    import json

    if kind == "json":
        # JSON's own escapes, where the other side might not take UTF-8.
        encoding = (sys.stdout.encoding or "").lower().replace("-", "")
        table = json.dumps(document, indent=2, ensure_ascii=encoding != "utf8", allow_nan=False) + "\n"
    sys.stdout.write(table)
    sys.stdout.flush()


def run_convert(options: argparse.Namespace) -> int:
    """Write another program's model as a checkpoint and print what its first predictions lost."""
    from dataclasses import asdict

    from .conversion.convert import conversion_table, convert, inputs_of

    _check_writable(options.out, "OUT")
    _refuse_input(options.out, inputs_of(options.source, options.tokenizer), "OUT")
    done = convert(options.source, options.out, options.kind, options.tokenizer)
    _print(asdict(done), conversion_table(done, options.source, options.out), options.format)
    return 0


def run_validate(options: argparse.Namespace) -> int:
    """Run an entry, print the verdicts on its claims; 1 where not all pass."""
    from .defaults import entry_path
    from .documents import save_document
    from .entry import TEMPLATE, read_entry
    from .progress import on_stderr
    from .validation import validate, validation_table

    if options.template:
        sys.stdout.write(TEMPLATE)
        return 0
    if not options.entry:
        raise ConfigError("validate: names no entry; expected ENTRY.toml, or --template for an example")
    entry = read_entry(entry_path(options.entry), options.checkpoint)
    if options.output:
        _check_writable(options.output)
        _refuse_input(options.output, [entry.path, entry.checkpoint, *([entry.text] if entry.text else [])])
    found = validate(entry, None if options.quiet else on_stderr)
    if options.output:
        save_document(found, options.output)
    _print(found, validation_table(found), options.format)
    return 0 if found["passes"] else 1


def run_rank(options: argparse.Namespace) -> int:
    """Print saved results in the order of their scores."""
    from .profiles import profile_named
    from .ranking import rank, ranking_table
    from .result import load_result

    found = rank([(path, load_result(path)) for path in options.results], profile_named(options.profile))
    _print(found, ranking_table(found), options.format)
    return 0


def run_quantize(options: argparse.Namespace) -> int:
    """Write a smaller checkpoint and print what it cost."""
    from dataclasses import asdict

    from .quantization.convert import changes_table, quantize
    from .quantization.specification import Plan, parse_pattern, specification_of

    keys = ("activations", "group", "accumulator", "overflow", "prune", "block")
    chosen = {key: value for key in keys if (value := getattr(options, key)) is not None}
    default = specification_of(options.weights, chosen | ({"offsets": ""} if options.offsets else {}))
    plan = Plan(default, tuple(parse_pattern(text) for text in options.tensor))
    checkpoint = _checkpoint(options.checkpoint)
    _check_writable(options.out, "OUT")
    _refuse_input(options.out, [checkpoint.path], "OUT")
    done = quantize(checkpoint, options.out, plan, None if options.quiet else _say_tensor)
    _print(asdict(done), changes_table(done), options.format)
    return 0


def _say_tensor(name: str) -> None:
    print(name, file=sys.stderr, flush=True)


def run_count(options: argparse.Namespace) -> int:
    """Print a checkpoint's operations from the cost laws."""
    from .inspection import count_operations, count_table
    from .profiles import profile_named

    checkpoint, profile = _checkpoint(options.checkpoint), profile_named(options.profile)
    counted = count_operations(checkpoint, profile, options.policy, options.context)
    _print(counted, count_table(counted), options.format)
    return 0


def run_inspect(options: argparse.Namespace) -> int:
    """Print what a checkpoint contains."""
    from .inspection import inspect_checkpoint, inspection_table

    found = inspect_checkpoint(_checkpoint(options.checkpoint))
    _print(found, inspection_table(found), options.format)
    return 0


def run_bench(options: argparse.Namespace) -> int:
    """Print how fast a checkpoint runs here."""
    from .benchmark import BenchOptions, bench, bench_table

    context = {"policy": options.policy, "context": options.context}
    chosen = BenchOptions(options.block, options.threads, options.repeats, **context)
    found = bench(_checkpoint(options.checkpoint), chosen)
    _print(found, bench_table(found), options.format)
    return 0


def run_score(options: argparse.Namespace) -> int:
    """Print a score."""
    from fractions import Fraction

    from .profiles import profile_named
    from .score import score, task_of

    numbers = []
    for name in ("parameters", "operations"):
        given = getattr(options, name)
        plain = given.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+", given) else given
        try:
            value = float(plain)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise ConfigError(f"--{name} is {given!r}; expected a number of 0 or more, such as 159e6 or 159,000,000")
        numbers.append(Fraction(value))
    result = score(task_of(profile_named(options.profile), options.task), *numbers)
    print(f"storage     {float(result.storage_ratio):.6f}")
    print(f"operations  {float(result.operations_ratio):.6f}")
    print(f"score       {float(result.total):.6f}")
    return 0


def run_rescore(options: argparse.Namespace) -> int:
    """Print a saved result under another price list."""
    from .profiles import profile_named
    from .report import result_table
    from .result import load_result, price_result

    result = price_result(load_result(options.result), profile_named(options.profile))
    _print(result.document, result_table(result), options.format)
    return 0


def run_selftest(options: argparse.Namespace) -> int:
    """Print the checks; status 1 if any fails."""
    from .selftest import checks_table, run_checks

    checks = run_checks()
    sys.stdout.write(checks_table(checks))
    return 0 if all(check.passed for check in checks) else 1
