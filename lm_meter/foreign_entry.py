"""Foreign entries: somebody's program is sent one token at a time and predicts the next one before it is sent.

Its log-probabilities are measured here; what it computed for them is not. ``entry.py`` is something else: the TOML file
of ``lm-meter validate``.
"""

from __future__ import annotations

import hashlib
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .child_process import ChildProcess, printed_text
from .entry_protocol import (
    DTYPES,
    LONGEST_ANSWER,
    Answer,
    Checker,
    handshake,
    parse_answer,
    refuse_surplus,
    token_line,
)
from .entry_vocabulary import Vocabulary
from .errors import ConfigError, EntryError
from .progress import Progress
