"""``lm-meter report``: saved results as a document, for people."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from .errors import ConfigError
from .output_files import check_writable, refuse_input
from .shared_arguments import add_max_tolerance, add_profile, command, file_name


def add_report(group: argparse._SubParsersAction) -> None:
    """The arguments of ``report``."""
    parser = command(
        group,
        "report",
        "saved results as a document: the calculation in Markdown, or a page with drawings that needs nothing else",
        "lm-meter report result.json --markdown report.md\n"
        "  lm-meter report first.json second.json --html report.html --profile micronet-2019-final",
    )
    parser.add_argument("results", nargs="+", type=file_name, metavar="RESULT.json")
    parser.add_argument("--html", type=file_name, metavar="FILE", help="write a page of HTML")
    parser.add_argument("--markdown", type=file_name, metavar="FILE", help="write Markdown")
    parser.add_argument(
        "--records",
        action="append",
        default=[],
        type=file_name,
        metavar="FILE",
        help="of eval --records, once for each result, in their order (default: those that results name, beside them)",
    )
    add_profile(parser)
    add_max_tolerance(parser)
    parser.set_defaults(command=run_report)


def run_report(options: argparse.Namespace) -> int:
    """Write the documents that were asked for."""
    from .profiles import profile_named
    from .records import files_of_records
    from .reporting.document import report_of
    from .reporting.facts import read_facts
    from .reporting.html import html
    from .reporting.markdown import markdown
    from .short_names import short_names
    from .verdicts import check_max_tolerance

    writers = [(name, getattr(options, name), write) for name, write in (("html", html), ("markdown", markdown))]
    asked = [(f"--{name}", path, write) for name, path, write in writers if path]
    if not asked:
        raise ConfigError("report: is told no file to write; expected --html FILE, --markdown FILE or both")
    if options.records and len(options.records) != len(options.results):
        raise ConfigError(
            f"--records is given {len(options.records)} times for {len(options.results)} results; expected one for each"
        )
    inputs = [Path(name) for name in [*options.results, *options.records]]
    for option, path, _ in asked:
        check_writable(path, option)
        refuse_input(path, inputs, option)
    if len(asked) == 2 and Path(asked[0][1]).resolve() == Path(asked[1][1]).resolve():
        raise ConfigError(f"--html and --markdown name the same file, {asked[0][1]}; choose two names")
    profile = profile_named(options.profile)
    records = options.records or [None] * len(options.results)
    check_max_tolerance(options.max_tolerance)
    entries = [
        replace(read_facts(path, profile, of), name=name, max_tolerance=options.max_tolerance)
        for path, of, name in zip(options.results, records, short_names(options.results), strict=True)
    ]
    for option, path, _ in asked:
        refuse_input(
            path, [file for facts in entries if facts.records for file in files_of_records(facts.records)], option
        )
    report = report_of(entries)
    for _, path, write in asked:
        _save(write(report), path)
    return 0


def _save(text: str, path: str) -> None:
    from .atomic_file import atomic_file

    try:
        with atomic_file(Path(path)) as file:
            file.write(text.encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
