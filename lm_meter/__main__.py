"""``python -m lm_meter``."""

import sys

from .cli import main

sys.exit(main())
