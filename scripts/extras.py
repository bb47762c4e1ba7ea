"""What a script needs beyond lm-meter itself: said in one line where it is not installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def extras(install: str) -> Iterator[None]:
    """Around imports that may fail: status 2, and what pip must install.

    They follow the parsing of the options, so that ``--help`` needs nothing of it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        print(f"{Path(sys.argv[0]).name}: needs {error.name}; pip install {install}", file=sys.stderr)
        raise SystemExit(2) from None
