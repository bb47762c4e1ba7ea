"""What each subcommand does: call the library with the parsed options, print, return the exit status.

Everything that takes time to import is imported where it is used.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any

from .errors import ConfigError
from .output_files import check_writable, refuse_input

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


def opened_checkpoint(path: str | None) -> Checkpoint:
    """The checkpoint at a path, or one that ships: by its name, or by default."""
    from .checkpoint import Checkpoint
    from .defaults import checkpoint_path, default_checkpoint

    return Checkpoint(checkpoint_path(path) if path else default_checkpoint())


def print_document(document: dict[str, Any], table: str, kind: str) -> None:
    """Print a table, or the document that it is of."""
    sys.stdout.write(json_text(document) if kind == "json" else table)
    sys.stdout.flush()


def json_text(value: Any, indent: int | None = 2) -> str:
    """A value as JSON for standard output: with JSON's own escapes, where that might not take UTF-8."""
    import json

    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return json.dumps(value, indent=indent, ensure_ascii=encoding != "utf8", allow_nan=False) + "\n"


def run_convert(options: argparse.Namespace) -> int:
    """Write another program's model as a checkpoint and print what its first predictions lost."""
    from dataclasses import asdict

    from .conversion.convert import conversion_table, convert, inputs_of

    check_writable(options.out, "OUT")
    texts = [options.text] if options.text else []
    refuse_input(options.out, [*inputs_of(options.source, options.tokenizer), *texts], "OUT")
    done = convert(options.source, options.out, options.kind, options.tokenizer, options.start, options.text)
    print_document(asdict(done), conversion_table(done, options.source, options.out), options.format)
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
    entry = read_entry(entry_path(options.entry), options.checkpoint, options.allow_outside)
    if options.output:
        check_writable(options.output)
        refuse_input(options.output, [entry.path, entry.checkpoint, *([entry.text] if entry.text else [])])
    found = validate(entry, None if options.quiet else on_stderr, options.max_tolerance)
    if options.output:
        save_document(found, options.output)
    print_document(found, validation_table(found), options.format)
    return 0 if found["passes"] else 1


def run_rank(options: argparse.Namespace) -> int:
    """Print saved results in the order of their scores."""
    from .profiles import profile_named
    from .ranking import rank, ranking_table
    from .result import load_result

    loaded = [(path, load_result(path)) for path in options.results]
    found = rank(loaded, profile_named(options.profile), options.max_tolerance)
    print_document(found, ranking_table(found), options.format)
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
    checkpoint = opened_checkpoint(options.checkpoint)
    check_writable(options.out, "OUT")
    refuse_input(options.out, [checkpoint.path], "OUT")
    done = quantize(checkpoint, options.out, plan, None if options.quiet else _say_tensor)
    print_document(asdict(done), changes_table(done), options.format)
    return 0


def _say_tensor(name: str) -> None:
    print(name, file=sys.stderr, flush=True)


def run_count(options: argparse.Namespace) -> int:
    """Print a checkpoint's operations from the cost laws."""
    from .inspection import count_operations, count_table
    from .profiles import profile_named

    checkpoint, profile = opened_checkpoint(options.checkpoint), profile_named(options.profile)
    counted = count_operations(checkpoint, profile, options.policy, options.context)
    print_document(counted, count_table(counted), options.format)
    return 0


def run_inspect(options: argparse.Namespace) -> int:
    """Print what a checkpoint contains."""
    from .inspection import inspect_checkpoint, inspection_table

    found = inspect_checkpoint(opened_checkpoint(options.checkpoint))
    print_document(found, inspection_table(found), options.format)
    return 0


def run_bench(options: argparse.Namespace) -> int:
    """Print how fast a checkpoint runs here."""
    from .benchmark import BenchOptions, bench, bench_table

    context = {"policy": options.policy, "context": options.context}
    chosen = BenchOptions(options.block, options.threads, options.repeats, **context)
    found = bench(opened_checkpoint(options.checkpoint), chosen)
    print_document(found, bench_table(found), options.format)
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
    print_document(result.document, result_table(result), options.format)
    return 0


def run_selftest(options: argparse.Namespace) -> int:
    """Print the checks; status 1 if any fails."""
    from .selftest import checks_table, run_checks

    checks = run_checks()
    sys.stdout.write(checks_table(checks))
    return 0 if all(check.passed for check in checks) else 1
