"""The command line: parse, call the library, print.

The only place that catches ``LmMeterError``: one line on standard error, exit status 2. Results go to standard output,
progress and notes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .arguments import parser
from .compilation import said_compilation
from .errors import LmMeterError, RecordsWarning, StateWarning
from .interrupt import exit_status, forget_signals, obey_sigterm
from .printable import printable
from .streams import prepare_streams, silence

_OWN_WARNINGS = (StateWarning, RecordsWarning)


def program() -> int:
    """The command as a process of its own."""
    try:
        prepare_streams()
        obey_sigterm()
        return main()
    except KeyboardInterrupt:  # in the moment before ``main`` looks for it, or behind that
        return _interrupted()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    forget_signals()
    try:
        options = parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.command
        with _warnings_in_one_line(), said_compilation(getattr(options, "quiet", False)):
            status = command(options)
        sys.stdout.flush()  # a reader that has gone is noticed here, not in the interpreter's last moments
        return status
    except LmMeterError as error:
        return _refuse(str(error))
    except BrokenPipeError:
        # The reader of our output has gone (| head); say nothing more, not even at exit.
        silence(sys.stdout)
        return 1
    except OSError as error:
        if (
            error.errno not in (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT, errno.EBADF)
            or error.filename is not None
        ):
            raise
        silence(sys.stdout)
        return _refuse(f"the output cannot be written ({error.strerror}); make room, or send it elsewhere")
    except KeyboardInterrupt:
        return _interrupted()


def _interrupted() -> int:
    print("lm-meter: interrupted, no result", file=sys.stderr)
    return exit_status()


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Our own warnings, each time they come, like errors; those of others as they are."""
    with warnings.catch_warnings():
        for own in _OWN_WARNINGS:
            warnings.simplefilter("always", own)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, _OWN_WARNINGS):
                print(f"lm-meter: warning: {printable(str(message))}", file=sys.stderr)
            else:
                others(message, category, *place, **more)

        warnings.showwarning = show
        yield


def _refuse(message: str) -> int:
    print(f"lm-meter: error: {message}", file=sys.stderr)
    return 2
