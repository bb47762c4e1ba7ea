"""``lm-meter compare``: two results over the same text beside each other."""

from __future__ import annotations

import argparse
from pathlib import Path

from .commands import print_document
from .output_files import check_writable, refuse_input
from .shared_arguments import add_format, add_profile, command, file_name


def add_compare(group: argparse._SubParsersAction) -> None:
    """The arguments of ``compare``."""
    parser = command(
        group,
        "compare",
        "two results over the same text: how far they differ in perplexity, with a paired interval, in operations, "
        "storage and speed, and where their losses differ most",
        "lm-meter compare first.json second.json --records first.npz second.npz",
    )
    parser.add_argument("results", nargs=2, type=file_name, metavar="RESULT.json", help="A and B")
    parser.add_argument(
        "--records",
        nargs=2,
        type=file_name,
        metavar="FILE",
        help="records of A and B (default: those that the results name, where they lie beside them)",
    )
    parser.add_argument(
        "--per-word", action="store_true", help="allow other tokenizations of the same text: compare word tokens"
    )
    add_profile(parser)
    parser.add_argument("--output", type=file_name, metavar="FILE.json", help="also write the document")
    add_format(parser)
    parser.set_defaults(command=run_compare)


def run_compare(options: argparse.Namespace) -> int:
    """Print how two results differ."""
    from .comparison import compare, read_compared
    from .comparison_table import comparison_table
    from .documents import save_document
    from .profiles import profile_named
    from .records import files_of_records

    records = options.records or [None, None]
    if options.output:
        check_writable(options.output)
        refuse_input(options.output, [Path(name) for name in (*options.results, *(options.records or []))])
    first, second = (read_compared(path, file) for path, file in zip(options.results, records, strict=True))
    if options.output:
        read = [file for each in (first, second) if each.records for file in files_of_records(each.records.path)]
        refuse_input(options.output, read)
    found = compare(first, second, profile_named(options.profile), options.per_word)
    if options.output:
        save_document(found, options.output)
    print_document(found, comparison_table(found), options.format)
    return 0
