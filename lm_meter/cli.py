"""The command line: parse, call the library, print.

The only place that catches ``LmMeterError``: one line on standard error, exit status 2. Results go to standard output,
progress and notes to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from . import __version__, commands
from .errors import LmMeterError

# Written out here, not imported: --help must not wait for the modules that define them. A test compares.
PROFILE_NAMES = ("micronet-2019-06", "micronet-2019-final", "flops", "macs", "bops")
TASK_NAMES = ("wikitext-103", "cifar-100", "imagenet")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        status = command(options)
        sys.stdout.flush()  # a reader that has gone is noticed here, not in the interpreter's last moments
        return status
    except LmMeterError as error:
        # Names of files and members may contain line ends; the message stays one line.
        print("lm-meter: error: " + " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output has gone (| head); say nothing more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("lm-meter: interrupted before the first prediction", file=sys.stderr)
        return commands.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lm-meter",
        description="Run a language model on-line over a text and meter every operation in the same pass.",
        epilog="example: lm-meter eval --checkpoint model.npz --text book.txt",
    )
    parser.add_argument("--version", action="version", version=f"lm-meter {__version__}")
    group = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_eval, _add_count, _add_inspect, _add_score, _add_rescore, _add_selftest):
        add(group)
    return parser


def _command(group: argparse._SubParsersAction, name: str, text: str, example: str) -> argparse.ArgumentParser:
    return group.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile", choices=PROFILE_NAMES, default=PROFILE_NAMES[0], help="price list (default: %(default)s)"
    )


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("table", "json"), default="table", help="what to print")


def _add_eval(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group,
        "eval",
        "perplexity, operations, storage and speed of a checkpoint, from one on-line pass over a text",
        "lm-meter eval --checkpoint model.npz --corpus wikitext-103 --split test --output result.json",
    )
    parser.add_argument("--checkpoint", metavar="CKPT.npz", help="default: the one that ships with lm-meter")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--text", metavar="FILE", help="UTF-8 text, one line of words a line")
    source.add_argument("--corpus", choices=("wikitext-103",), help="a public corpus; downloaded if it is not here")
    parser.add_argument("--split", choices=("test", "valid"), default="test", help="part of the corpus")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N word tokens")
    parser.add_argument(
        "--block", type=int, default=64, metavar="N", help="predictions read out together (default: 64)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: every usable processor")
    _add_profile(parser)
    parser.add_argument(
        "--first-token", choices=("score", "skip"), default="score", help="predict the first token or not"
    )
    parser.add_argument("--oov", choices=("error", "unk"), default="error", help="what an unknown word is")
    parser.add_argument("--output", metavar="FILE.json", help="also write the result document")
    _add_format(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress and no notes")
    parser.set_defaults(command=commands.run_eval)


def _add_count(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group,
        "count",
        "operations per piece from the cost laws, without running",
        "lm-meter count --checkpoint model.npz",
    )
    parser.add_argument("--checkpoint", metavar="CKPT.npz", help="default: the one that ships with lm-meter")
    _add_profile(parser)
    _add_format(parser)
    parser.set_defaults(command=commands.run_count)


def _add_inspect(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group, "inspect", "architecture, tensors, widths and storage of a checkpoint", "lm-meter inspect model.npz"
    )
    parser.add_argument("checkpoint", metavar="CKPT.npz")
    _add_format(parser)
    parser.set_defaults(command=commands.run_inspect)


def _add_score(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group,
        "score",
        "challenge score of a number of parameters and operations, in the profile's unit",
        "lm-meter score --task imagenet --parameters 3e6 --operations 500e6",
    )
    parser.add_argument("--task", choices=TASK_NAMES, required=True)
    parser.add_argument("--parameters", required=True, metavar="N")
    parser.add_argument("--operations", required=True, metavar="N", help="per input")
    _add_profile(parser)
    parser.set_defaults(command=commands.run_score)


def _add_rescore(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group,
        "rescore",
        "price a saved result under other rules, without running again",
        "lm-meter rescore result.json --profile micronet-2019-final",
    )
    parser.add_argument("result", metavar="RESULT.json")
    _add_profile(parser)
    _add_format(parser)
    parser.set_defaults(command=commands.run_rescore)


def _add_selftest(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group, "selftest", "reproduce the baseline's counts and the rules' worked examples", "lm-meter selftest"
    )
    parser.set_defaults(command=commands.run_selftest)
