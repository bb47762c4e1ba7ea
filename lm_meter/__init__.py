"""lm-meter: run a language model on-line over a text, and meter it in the same pass.

    import lm_meter
    result = lm_meter.evaluate("model.npz", text="book.txt")
    print(result.perplexity, result["operations_per_token"]["total"])

Names are imported when they are first used, so that ``import lm_meter`` and ``lm-meter --help`` do not wait for Numba.
"""

from __future__ import annotations

import importlib
import os

# In a clone the folders of two subpackages, kernels and checkpoints, lie beside this one: what is imported from the
# clone's root, or from anywhere else where it is first on the path, finds them there. Installed, they lie in here.
if not os.path.isdir(os.path.join(__path__[0], "kernels")):
    __path__.append(os.path.dirname(os.path.abspath(__path__[0])))

__version__ = "0.1.0"

# As type checkers know it. The import of typing takes milliseconds, in which ``__main__`` handles no signal yet.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .checkpoint import Checkpoint
    from .checkpoint_writer import write_checkpoint
    from .corpora import corpus
    from .entry_program import ForeignEntry
    from .errors import CheckpointError, ConfigError, EntryError, LmMeterError, MeterError, TextError
    from .evaluation import evaluate
    from .foreign_entry import evaluate_entry
    from .model import Model
    from .result import Result, load_result
    from .run_options import RunOptions
    from .text import Text, read_text

_HOME = {
    "Checkpoint": "checkpoint",
    "write_checkpoint": "checkpoint_writer",
    "corpus": "corpora",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "EntryError": "errors",
    "LmMeterError": "errors",
    "MeterError": "errors",
    "TextError": "errors",
    "RunOptions": "run_options",
    "evaluate": "evaluation",
    "evaluate_entry": "foreign_entry",
    "ForeignEntry": "entry_program",
    "Model": "model",
    "Result": "result",
    "load_result": "result",
    "Text": "text",
    "read_text": "text",
}
__all__ = [
    "Checkpoint",
    "CheckpointError",
    "ConfigError",
    "EntryError",
    "ForeignEntry",
    "LmMeterError",
    "MeterError",
    "Model",
    "Result",
    "RunOptions",
    "Text",
    "TextError",
    "corpus",
    "evaluate",
    "evaluate_entry",
    "load_result",
    "read_text",
    "write_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lm_meter' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
