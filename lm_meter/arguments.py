"""The arguments of the command line: what each command takes, with an example."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from . import __version__, commands, eval_command
from .checkpoint_arguments import add_convert, add_quantize
from .compare_command import add_compare
from .entry_arguments import add_entry
from .report_command import add_report
from .shared_arguments import add_context, add_format, add_max_tolerance, add_profile, command, file_name
from .verify_command import add_verify

# Written out here, not imported: --help must not wait for the modules that define them. A test compares.
ENTRY_NAMES = ("lstm-baseline", "transformer-small")
TASK_NAMES = ("wikitext-103", "cifar-100", "imagenet")


class _Parser(argparse.ArgumentParser):
    """Errors in one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit with status 2."""
        self.exit(2, f"lm-meter: error: {' '.join(message.splitlines())}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; the chosen command is ``options.command``."""
    whole = _Parser(
        prog="lm-meter",
        description="Run a language model on-line over a text and meter every operation in the same pass.",
        epilog="example: lm-meter eval --checkpoint model.npz --text book.txt",
    )
    whole.add_argument("--version", action="version", version=f"lm-meter {__version__}")
    group = whole.add_subparsers(metavar="COMMAND", required=True)
    for add in (
        _add_eval,
        _add_validate,
        add_convert,
        add_quantize,
        _add_count,
        _add_inspect,
        _add_bench,
        _add_score,
        _add_rescore,
        _add_rank,
        add_compare,
        add_report,
        add_verify,
        _add_selftest,
    ):
        add(group)
    return whole


def _add_eval(group: argparse._SubParsersAction) -> None:
    parser = command(
        group,
        "eval",
        "perplexity, operations, storage and speed of a checkpoint, from one on-line pass over a text",
        "lm-meter eval --checkpoint model.npz --corpus wikitext-103 --split test --output result.json",
    )
    several: dict[str, Any] = {"nargs": "+", "action": "extend"}
    parser.add_argument(
        "--checkpoint",
        type=file_name,
        metavar="CKPT.npz",
        help="default: the one that ships with lm-meter; each of several is run over each text",
        **several,
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--text", type=file_name, metavar="FILE", help="UTF-8 text, one line of words a line; or several", **several
    )
    source.add_argument("--corpus", choices=("wikitext-103",), help="a public corpus; downloaded if it is not here")
    parser.add_argument("--split", choices=("test", "valid"), help="parts of the corpus (default: test)", **several)
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N word tokens")
    parser.add_argument(
        "--block",
        type=int,
        default=64,
        metavar="N",
        help="predictions read out together (default: 64); Ctrl-C waits for the end of a block",
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="default: as many as the first blocks show are fastest"
    )
    add_profile(parser)
    parser.add_argument(
        "--first-token", choices=("score", "skip"), default="score", help="predict the first token or not"
    )
    parser.add_argument("--oov", choices=("error", "unk"), default="error", help="what an unknown word is")
    add_context(parser)
    parser.add_argument(
        "--continuous-cache",
        metavar="SIZE,THETA,LAMBDA",
        help="mix the predictions with a cache of past outputs, or 'off' (default: the checkpoint's own)",
    )
    parser.add_argument(
        "--output",
        type=file_name,
        metavar="FILE.json",
        help="also write the result document; {checkpoint} and {text} in a name stand for those of each run",
    )
    parser.add_argument(
        "--records",
        type=file_name,
        metavar="FILE",
        help="also write a row for each prediction, as .npz, .csv or .parquet: log-probability, rank, operations ...",
    )
    parser.add_argument(
        "--state",
        type=file_name,
        metavar="FILE",
        help="save the pass here now and then, on Ctrl-C and SIGTERM; the same command goes on from it",
    )
    parser.add_argument(
        "--save-every", type=float, default=30.0, metavar="SECONDS", help="between two savings (default: 30)"
    )
    add_entry(parser)
    add_format(parser, ("jsonl", "markdown", "csv"))
    parser.add_argument("--quiet", action="store_true", help="no progress and no notes")
    parser.set_defaults(command=eval_command.run_eval)


def _add_validate(group: argparse._SubParsersAction) -> None:
    parser = command(
        group,
        "validate",
        "run an entry and hold its claims against what is measured; exit status 0 only if all pass",
        "lm-meter validate transformer-small\n  lm-meter validate entry.toml --output validation.json",
    )
    parser.add_argument(
        "entry",
        nargs="?",
        type=file_name,
        metavar="ENTRY.toml",
        help=f"a file, or the name of an entry that ships with lm-meter: {', '.join(ENTRY_NAMES)}",
    )
    parser.add_argument(
        "--checkpoint", type=file_name, metavar="CKPT.npz", help="run this one, not the one that the entry names"
    )
    parser.add_argument("--template", action="store_true", help="print an entry with comments, to be filled in")
    add_max_tolerance(parser)
    parser.add_argument(
        "--allow-outside",
        action="store_true",
        help="let the entry name a checkpoint and a text outside its own folder: any file of this machine",
    )
    parser.add_argument("--output", type=file_name, metavar="FILE.json", help="also write the document")
    add_format(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command=commands.run_validate)


def _add_count(group: argparse._SubParsersAction) -> None:
    parser = command(
        group,
        "count",
        "operations per piece from the cost laws, without running",
        "lm-meter count --checkpoint model.npz",
    )
    parser.add_argument(
        "--checkpoint", type=file_name, metavar="CKPT.npz", help="default: the one that ships with lm-meter"
    )
    add_context(parser)
    add_profile(parser)
    add_format(parser)
    parser.set_defaults(command=commands.run_count)


def _add_inspect(group: argparse._SubParsersAction) -> None:
    parser = command(
        group, "inspect", "architecture, tensors, widths and storage of a checkpoint", "lm-meter inspect model.npz"
    )
    parser.add_argument("checkpoint", type=file_name, metavar="CKPT.npz")
    add_format(parser)
    parser.set_defaults(command=commands.run_inspect)


def _add_bench(group: argparse._SubParsersAction) -> None:
    parser = command(
        group,
        "bench",
        "speed of a checkpoint against this machine's memory, time by region, the cost of metering",
        "lm-meter bench model.npz --block 64",
    )
    parser.add_argument(
        "checkpoint", type=file_name, nargs="?", metavar="CKPT.npz", help="default: the one that ships with lm-meter"
    )
    parser.add_argument("--block", type=int, default=64, metavar="N", help="compared with block 1 (default: 64)")
    parser.add_argument("--threads", type=int, metavar="N", help="default: every usable processor")
    add_context(parser)
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="of each timing (default: 7)")
    add_format(parser)
    parser.set_defaults(command=commands.run_bench)


def _add_score(group: argparse._SubParsersAction) -> None:
    parser = command(
        group,
        "score",
        "challenge score of a number of parameters and operations, in the profile's unit",
        "lm-meter score --task imagenet --parameters 3e6 --operations 500e6",
    )
    parser.add_argument("--task", choices=TASK_NAMES, required=True)
    parser.add_argument("--parameters", required=True, metavar="N")
    parser.add_argument("--operations", required=True, metavar="N", help="per input")
    add_profile(parser)
    parser.set_defaults(command=commands.run_score)


def _add_rescore(group: argparse._SubParsersAction) -> None:
    parser = command(
        group,
        "rescore",
        "price a saved result under other rules, without running again",
        "lm-meter rescore result.json --profile micronet-2019-final",
    )
    parser.add_argument("result", type=file_name, metavar="RESULT.json")
    add_profile(parser)
    add_format(parser)
    parser.set_defaults(command=commands.run_rescore)


def _add_rank(group: argparse._SubParsersAction) -> None:
    parser = command(
        group,
        "rank",
        "saved results beside each other: ranks by storage, operations and score, the gate, the distinctions",
        "lm-meter rank first.json second.json --profile micronet-2019-final",
    )
    parser.add_argument("results", nargs="+", type=file_name, metavar="RESULT.json")
    add_profile(parser)
    add_max_tolerance(parser)
    add_format(parser)
    parser.set_defaults(command=commands.run_rank)


def _add_selftest(group: argparse._SubParsersAction) -> None:
    parser = command(
        group, "selftest", "reproduce the baseline's counts and the rules' worked examples", "lm-meter selftest"
    )
    parser.set_defaults(command=commands.run_selftest)
