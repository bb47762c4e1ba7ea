"""The command line: parse, call the library, print.

The only place that catches ``LmMeterError``: one line on standard error, exit status 2. Results go to standard output,
progress and notes to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import ConfigError, LmMeterError

if TYPE_CHECKING:
    from .checkpoint import Checkpoint
    from .text import Text

# Written out here, not imported: --help must not wait for the modules that define them. A test compares.
PROFILE_NAMES = ("micronet-2019-06", "micronet-2019-final", "flops", "macs", "bops")
TASK_NAMES = ("wikitext-103", "cifar-100", "imagenet")
INTERRUPTED = 130


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
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lm-meter",
        description="Run a language model on-line over a text and meter every operation in the same pass.",
        epilog="example: lm-meter eval --checkpoint model.npz --text book.txt",
    )
    parser.add_argument("--version", action="version", version=f"lm-meter {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_eval, _add_count, _add_inspect, _add_score, _add_rescore, _add_selftest):
        add(commands)
    return parser


def _command(commands: argparse._SubParsersAction, name: str, text: str, example: str) -> argparse.ArgumentParser:
    return commands.add_parser(
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


def _add_eval(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
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
    parser.set_defaults(command=_eval)


def _add_count(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "count",
        "operations per piece from the cost laws, without running",
        "lm-meter count --checkpoint model.npz",
    )
    parser.add_argument("--checkpoint", metavar="CKPT.npz", help="default: the one that ships with lm-meter")
    _add_profile(parser)
    _add_format(parser)
    parser.set_defaults(command=_count)


def _add_inspect(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands, "inspect", "architecture, tensors, widths and storage of a checkpoint", "lm-meter inspect model.npz"
    )
    parser.add_argument("checkpoint", metavar="CKPT.npz")
    _add_format(parser)
    parser.set_defaults(command=_inspect)


def _add_score(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "score",
        "challenge score of a number of parameters and operations, in the profile's unit",
        "lm-meter score --task imagenet --parameters 3e6 --operations 500e6",
    )
    parser.add_argument("--task", choices=TASK_NAMES, required=True)
    parser.add_argument("--parameters", required=True, metavar="N")
    parser.add_argument("--operations", required=True, metavar="N", help="per input")
    _add_profile(parser)
    parser.set_defaults(command=_score)


def _add_rescore(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "rescore",
        "price a saved result under other rules, without running again",
        "lm-meter rescore result.json --profile micronet-2019-final",
    )
    parser.add_argument("result", metavar="RESULT.json")
    _add_profile(parser)
    _add_format(parser)
    parser.set_defaults(command=_rescore)


def _add_selftest(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands, "selftest", "reproduce the baseline's counts and the rules' worked examples", "lm-meter selftest"
    )
    parser.set_defaults(command=_selftest)


def _eval(options: argparse.Namespace) -> int:
    if options.output:
        _check_writable(Path(options.output))
    from .evaluation import RunOptions, evaluate
    from .progress import on_stderr
    from .report import result_table

    run = RunOptions(options.block, options.threads, options.first_token, options.limit, options.oov)
    result = evaluate(
        options.checkpoint,
        text=_text(options),
        profile=options.profile,
        options=run,
        progress=None if options.quiet else on_stderr,
    )
    try:
        if options.output:
            result.save(options.output)
    finally:  # a disk that filled up during a long run must not take the printed result with it
        sys.stdout.write(result.to_json() if options.format == "json" else result_table(result))
    return INTERRUPTED if result["partial"] else 0


def _check_writable(path: Path) -> None:
    """Find out before a long run, not after it, that its result could not be written."""
    import tempfile

    try:
        if path.is_dir():
            raise ConfigError(f"--output {path}: is a folder; expected the name of a file")
        if path.exists() and not path.is_file():
            raise ConfigError(f"--output {path}: is a device or pipe; expected the name of a file")
        if path.exists() and not os.access(path, os.W_OK):
            raise ConfigError(f"--output {path}: is write-protected; choose another name")
        if not path.parent.is_dir():
            raise ConfigError(f"--output {path}: there is no folder {path.parent}; make it first")
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise ConfigError(f"--output {path}: cannot be written ({error.strerror}); choose another place") from None


def _text(options: argparse.Namespace) -> Text:
    from .corpora import WIKITEXT_103, corpus, corpus_folders, find_split
    from .defaults import sample_text
    from .text import read_text

    if options.text:
        return read_text(options.text)
    if options.corpus:
        return corpus(options.corpus, options.split, progress=not options.quiet)
    found = find_split(WIKITEXT_103, options.split)
    if found is None:
        note = (
            f"text: the sample that ships with lm-meter; --corpus wikitext-103 downloads the {options.split} set, or "
            f"put {WIKITEXT_103.splits[options.split].file} into {corpus_folders(WIKITEXT_103)[-1]}"
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

    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n" if kind == "json" else table)


def _count(options: argparse.Namespace) -> int:
    from .inspection import count_operations, count_table
    from .profiles import profile_named

    counted = count_operations(_checkpoint(options.checkpoint), profile_named(options.profile))
    _print(counted, count_table(counted), options.format)
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from .inspection import inspect_checkpoint, inspection_table

    found = inspect_checkpoint(_checkpoint(options.checkpoint))
    _print(found, inspection_table(found), options.format)
    return 0


def _score(options: argparse.Namespace) -> int:
    from fractions import Fraction

    from .profiles import profile_named
    from .score import score, task_of

    numbers = []
    for name in ("parameters", "operations"):
        given = getattr(options, name)
        try:
            value = float(given.replace(",", ""))
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise ConfigError(f"--{name} is {given!r}; expected a number of 0 or more, such as 159e6")
        numbers.append(Fraction(value))
    result = score(task_of(profile_named(options.profile), options.task), *numbers)
    print(f"storage     {float(result.storage_ratio):.6f}")
    print(f"operations  {float(result.operations_ratio):.6f}")
    print(f"score       {float(result.total):.6f}")
    return 0


def _rescore(options: argparse.Namespace) -> int:
    from .profiles import profile_named
    from .report import result_table
    from .result import load_result, price_result

    result = price_result(load_result(options.result), profile_named(options.profile))
    sys.stdout.write(result.to_json() if options.format == "json" else result_table(result))
    return 0


def _selftest(options: argparse.Namespace) -> int:
    from .selftest import checks_table, run_checks

    checks = run_checks()
    sys.stdout.write(checks_table(checks))
    return 0 if all(check.passed for check in checks) else 1
