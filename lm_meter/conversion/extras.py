"""Packages that only some conversions need."""

from __future__ import annotations

import importlib
from types import ModuleType

from ..errors import ConfigError

# What each of these extras of pyproject.toml installs. Its name would be of no use: no index has lm-meter itself.
PACKAGES = {"huggingface": "safetensors tokenizers", "pytorch": "'torch>=2.10'"}


def needed(module: str, extra: str) -> ModuleType:
    """Import a package; ConfigError says how to install it where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigError(
            f"this needs the package {module}, which is not installed; pip install {PACKAGES[extra]}"
        ) from None
