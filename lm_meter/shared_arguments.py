"""What several commands have in common on the command line."""

from __future__ import annotations

import argparse

# Written out here, not imported: --help must not wait for the modules that define them. A test compares.
MAX_TOLERANCE = 0.01
PROFILE_NAMES = ("micronet-2019-06", "micronet-2019-final", "flops", "macs", "bops")


def file_name(name: str) -> str:
    """An argument that names a file; an empty one is a script's unset variable, not a default."""
    if not name:
        raise argparse.ArgumentTypeError("the name of a file is empty; leave the option away or name a file")
    return name


def command(group: argparse._SubParsersAction, name: str, text: str, example: str) -> argparse.ArgumentParser:
    """The parser of a command, whose help ends in an example."""
    return group.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Which price list."""
    parser.add_argument(
        "--profile", choices=PROFILE_NAMES, default=PROFILE_NAMES[0], help="price list (default: %(default)s)"
    )


def add_format(parser: argparse.ArgumentParser, more: tuple[str, ...] = ()) -> None:
    """A table, or the document behind it, or one of ``more`` forms."""
    parser.add_argument("--format", choices=("table", "json", *more), default="table", help="what to print")


def add_max_tolerance(parser: argparse.ArgumentParser) -> None:
    """How far from a claim a figure may be, whatever its author allows."""
    parser.add_argument(
        "--max-tolerance",
        type=float,
        default=MAX_TOLERANCE,
        metavar="FRACTION",
        help="widest tolerance of an entry's claim that may pass, as a fraction of it (default: %(default)s)",
    )


def add_context(parser: argparse.ArgumentParser) -> None:
    """What a transformer sees."""
    parser.add_argument(
        "--policy",
        metavar="POLICY",
        help="what a transformer keeps of its context: cache, recompute, segment or segment:OVERLAP (default: cache, "
        "or segment where positions are learned)",
    )
    parser.add_argument("--context", type=int, metavar="N", help="tokens of it (default: the checkpoint's own)")
