"""What the CPU has that the kernels are compiled for."""

from __future__ import annotations

from llvmlite import binding
from numba.core import config


def has_feature(name: str) -> bool:
    """Whether Numba compiles for a CPU with this feature, by LLVM's name for it."""
    if config.CPU_FEATURES is not None:
        return f"+{name}" in config.CPU_FEATURES.split(",")
    return bool(binding.get_host_cpu_features().get(name, False))
