"""``python -m lm_meter``, and what the command ``lm-meter`` runs.

Until the rest is imported there is nothing to be kept: Ctrl-C and SIGTERM end the process at once, without the
traceback of an import that was broken off. When the command has been carried out they change nothing any more.
"""

import signal
import sys

from .ending import end_at_once

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
for _number in _SIGNALS:
    if signal.getsignal(_number) is not signal.SIG_IGN:
        signal.signal(_number, end_at_once)

from .cli import program  # noqa: E402


def run() -> int:
    """Run the command; returns its exit status."""
    status = program()
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a handler of Python's does not last until the process has ended
    return status


if __name__ == "__main__":
    sys.exit(run())
