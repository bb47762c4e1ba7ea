"""The arguments of ``lm-meter eval`` for a foreign entry."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .errors import ConfigError
from .shared_arguments import file_name

if TYPE_CHECKING:
    from .entry_program import ForeignEntry

# Options of ``eval`` that mean something with one kind of model only.
_ONLY_ENTRY: tuple[str, ...] = ("vocabulary", "entry_timeout")
_ONLY_CHECKPOINT: tuple[str, ...] = ("checkpoint",)


def add_entry(parser: argparse.ArgumentParser) -> None:
    """Whose program predicts, over which vocabulary, how fast."""
    parser.add_argument(
        "--entry",
        metavar="'COMMAND'",
        help="instead of a checkpoint: somebody's program, which is sent one token at a time and predicts the next one "
        "before it is sent; lm_meter/entries/README.md is the protocol, bigram.py beside it an example",
    )
    parser.add_argument(
        "--vocabulary",
        type=file_name,
        metavar="FILE",
        help="of an --entry: words, one a line, a SentencePiece NAME.model, or a checkpoint NAME.npz, whose tokenizer "
        "is used (default: the checkpoint that ships with lm-meter)",
    )
    parser.add_argument(
        "--entry-timeout",
        type=float,
        metavar="SECONDS",
        help="for the handshake with an --entry, and for each of its distributions (default: 60)",
    )


def check_entry_options(options: argparse.Namespace) -> None:
    """Refuse options of a checkpoint beside an entry, and those of an entry without one."""
    if options.entry is None:
        wrong, reason = _ONLY_ENTRY, "is an option of a foreign entry; expected --entry 'COMMAND' beside it"
    else:
        if options.state is not None:
            raise ConfigError(
                "--state does not go with --entry: what a program holds in its own memory cannot be saved from here; "
                "leave --state away"
            )
        wrong, reason = _ONLY_CHECKPOINT, "does not go with --entry, whose program is the model; leave one of them away"
    for name in wrong:
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} {reason}")


def entry_of(options: argparse.Namespace) -> ForeignEntry:
    """The program that the options name."""
    from .entry_program import DEFAULT_TIMEOUT, ForeignEntry

    timeout = DEFAULT_TIMEOUT if options.entry_timeout is None else options.entry_timeout
    return ForeignEntry(options.entry, options.vocabulary, timeout)
