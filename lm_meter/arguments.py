"""The arguments of the command line: what each command takes, with an example."""

from __future__ import annotations

import argparse
from typing import NoReturn

from . import __version__, commands

# Written out here, not imported: --help must not wait for the modules that define them. A test compares.
PROFILE_NAMES = ("micronet-2019-06", "micronet-2019-final", "flops", "macs", "bops")
WEIGHT_NAMES = ("float32", "float16", "bfloat16", "int8", "int4", "codebook4", "keep")
SOURCE_NAMES = ("llama2c", "gguf", "huggingface", "tensorflow", "word-language-model")
ENTRY_NAMES = ("lstm-baseline", "transformer-small")
TASK_NAMES = ("wikitext-103", "cifar-100", "imagenet")


class _Parser(argparse.ArgumentParser):
    """Errors in one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit with status 2."""
        self.exit(2, f"lm-meter: error: {' '.join(message.splitlines())}; see {self.prog} --help\n")


def _file_name(name: str) -> str:
    """An argument that names a file; an empty one is a script's unset variable, not a default."""
    if not name:
        raise argparse.ArgumentTypeError("the name of a file is empty; leave the option away or name a file")
    return name


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
        _add_convert,
        _add_quantize,
        _add_count,
        _add_inspect,
        _add_bench,
        _add_score,
        _add_rescore,
        _add_rank,
        _add_selftest,
    ):
        add(group)
    return whole


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
    parser.add_argument(
        "--checkpoint", type=_file_name, metavar="CKPT.npz", help="default: the one that ships with lm-meter"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--text", type=_file_name, metavar="FILE", help="UTF-8 text, one line of words a line")
    source.add_argument("--corpus", choices=("wikitext-103",), help="a public corpus; downloaded if it is not here")
    parser.add_argument("--split", choices=("test", "valid"), help="part of the corpus (default: test)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N word tokens")
    parser.add_argument(
        "--block",
        type=int,
        default=64,
        metavar="N",
        help="predictions read out together (default: 64); Ctrl-C waits for the end of a block",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: every usable processor")
    _add_profile(parser)
    parser.add_argument(
        "--first-token", choices=("score", "skip"), default="score", help="predict the first token or not"
    )
    parser.add_argument("--oov", choices=("error", "unk"), default="error", help="what an unknown word is")
    _add_context(parser)
    parser.add_argument(
        "--continuous-cache",
        metavar="SIZE,THETA,LAMBDA",
        help="mix the predictions with a cache of past outputs, or 'off' (default: the checkpoint's own)",
    )
    parser.add_argument("--output", type=_file_name, metavar="FILE.json", help="also write the result document")
    _add_format(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress and no notes")
    parser.set_defaults(command=commands.run_eval)


def _add_convert(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group,
        "convert",
        "write the model of another program as a checkpoint, and run it over a few tokens",
        "lm-meter convert stories260K.bin stories.npz --tokenizer tok512.bin",
    )
    parser.add_argument(
        "source",
        type=_file_name,
        metavar="SRC",
        help="a model of llama2.c, a GGUF file, a Hugging Face folder, a folder of TensorFlow's dumped BasicLSTMCell "
        "variables, or a PyTorch state dict of the example word_language_model",
    )
    parser.add_argument("out", type=_file_name, metavar="OUT.npz")
    parser.add_argument("--from", dest="kind", choices=SOURCE_NAMES, help="its format (default: as it is recognised)")
    parser.add_argument(
        "--tokenizer",
        type=_file_name,
        metavar="FILE",
        help="its tokenizer, where that is not beside it; for word_language_model the words, one a line in order of "
        "their numbers",
    )
    _add_format(parser)
    parser.set_defaults(command=commands.run_convert)


def _add_validate(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group,
        "validate",
        "run an entry and hold its claims against what is measured; exit status 0 only if all pass",
        "lm-meter validate transformer-small\n  lm-meter validate entry.toml --output validation.json",
    )
    parser.add_argument(
        "entry",
        nargs="?",
        type=_file_name,
        metavar="ENTRY.toml",
        help=f"a file, or the name of an entry that ships with lm-meter: {', '.join(ENTRY_NAMES)}",
    )
    parser.add_argument(
        "--checkpoint", type=_file_name, metavar="CKPT.npz", help="run this one, not the one that the entry names"
    )
    parser.add_argument("--template", action="store_true", help="print an entry with comments, to be filled in")
    parser.add_argument("--output", type=_file_name, metavar="FILE.json", help="also write the document")
    _add_format(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command=commands.run_validate)


def _add_quantize(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group,
        "quantize",
        "write a checkpoint with narrower, clustered or pruned weights",
        "lm-meter quantize model.npz small.npz --weights int8 --activations 8 --tensor 'lstm.*=int4,group=32'",
    )
    parser.add_argument("checkpoint", type=_file_name, metavar="CKPT.npz")
    parser.add_argument("out", type=_file_name, metavar="OUT.npz")
    parser.add_argument(
        "--weights", choices=WEIGHT_NAMES, required=True, help="format of the matrices; biases stay as they are"
    )
    parser.add_argument(
        "--activations",
        choices=("8", "16", "32"),
        metavar="BITS",
        help="inputs of their products: 8, 16 or 32 (default)",
    )
    parser.add_argument("--group", metavar="N", help="columns that share a scale (default: a row)")
    parser.add_argument("--offsets", action="store_true", help="an offset for each scale")
    parser.add_argument("--accumulator", metavar="BITS", help="of integer sums, 8-bit activations only (default: 32)")
    parser.add_argument("--overflow", choices=("wrap", "saturate"), help="of an accumulator too narrow for some sums")
    parser.add_argument("--prune", metavar="FRACTION", help="leave out this part of the weights, the smallest ones")
    parser.add_argument("--block", metavar="RxC", help="prune blocks of R rows and C columns (default: 1x1)")
    parser.add_argument(
        "--tensor",
        action="append",
        default=[],
        metavar="PATTERN=SPEC",
        help="for tensors whose name matches this instead of all the above, the last match counts; SPEC: a format or "
        "'keep', then options as above, such as int4,group=64,activations=8,offsets or int8,prune=0.5,block=1x16",
    )
    _add_format(parser)
    parser.add_argument("--quiet", action="store_true", help="do not name each tensor on the way")
    parser.set_defaults(command=commands.run_quantize)


def _add_context(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policy",
        metavar="POLICY",
        help="what a transformer keeps of its context: cache, recompute, segment or segment:OVERLAP (default: cache, "
        "or segment where positions are learned)",
    )
    parser.add_argument("--context", type=int, metavar="N", help="tokens of it (default: the checkpoint's own)")


def _add_count(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group,
        "count",
        "operations per piece from the cost laws, without running",
        "lm-meter count --checkpoint model.npz",
    )
    parser.add_argument(
        "--checkpoint", type=_file_name, metavar="CKPT.npz", help="default: the one that ships with lm-meter"
    )
    _add_context(parser)
    _add_profile(parser)
    _add_format(parser)
    parser.set_defaults(command=commands.run_count)


def _add_inspect(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group, "inspect", "architecture, tensors, widths and storage of a checkpoint", "lm-meter inspect model.npz"
    )
    parser.add_argument("checkpoint", type=_file_name, metavar="CKPT.npz")
    _add_format(parser)
    parser.set_defaults(command=commands.run_inspect)


def _add_bench(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group,
        "bench",
        "speed of a checkpoint against this machine's memory, time by region, the cost of metering",
        "lm-meter bench model.npz --block 64",
    )
    parser.add_argument(
        "checkpoint", type=_file_name, nargs="?", metavar="CKPT.npz", help="default: the one that ships with lm-meter"
    )
    parser.add_argument("--block", type=int, default=64, metavar="N", help="compared with block 1 (default: 64)")
    parser.add_argument("--threads", type=int, metavar="N", help="default: every usable processor")
    _add_context(parser)
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="of each timing (default: 7)")
    _add_format(parser)
    parser.set_defaults(command=commands.run_bench)


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
    parser.add_argument("result", type=_file_name, metavar="RESULT.json")
    _add_profile(parser)
    _add_format(parser)
    parser.set_defaults(command=commands.run_rescore)


def _add_rank(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group,
        "rank",
        "saved results beside each other: ranks by storage, operations and score, the gate, the distinctions",
        "lm-meter rank first.json second.json --profile micronet-2019-final",
    )
    parser.add_argument("results", nargs="+", type=_file_name, metavar="RESULT.json")
    _add_profile(parser)
    _add_format(parser)
    parser.set_defaults(command=commands.run_rank)


def _add_selftest(group: argparse._SubParsersAction) -> None:
    parser = _command(
        group, "selftest", "reproduce the baseline's counts and the rules' worked examples", "lm-meter selftest"
    )
    parser.set_defaults(command=commands.run_selftest)
