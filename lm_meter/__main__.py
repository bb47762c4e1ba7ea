"""``python -m lm_meter``."""

import sys

from .cli import program

sys.exit(program())
