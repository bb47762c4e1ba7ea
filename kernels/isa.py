"""What the CPU has that the kernels are compiled for, and what it must have."""

from __future__ import annotations

import platform

from llvmlite import binding
from numba.core import config

# Of a CPU without them LLVM would call functions for each number, of which those for float16 are not there.
_NEEDED = ("f16c", "fma") if platform.machine() in ("x86_64", "AMD64") else ()


def has_feature(name: str) -> bool:
    """Whether Numba compiles for a CPU with this feature, by LLVM's name for it."""
    if config.CPU_FEATURES is not None:
        return f"+{name}" in config.CPU_FEATURES.split(",")
    return bool(binding.get_host_cpu_features().get(name, False))


def unusable() -> str | None:
    """Why the kernels cannot be compiled here, and what to do; None where they can."""
    if config.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT is set, but the kernels exist as compiled code only; unset it"
    missing = " and ".join(name for name in _NEEDED if not has_feature(name))
    if not missing:
        return None
    if config.CPU_FEATURES is None:
        return f"the kernels need a CPU with {' and '.join(_NEEDED)}; this one has no {missing}"
    # Of a CPU's name alone Numba would add this machine's features, but not of the name "generic".
    return (
        f"NUMBA_CPU_NAME is {config.CPU_NAME!r} and NUMBA_CPU_FEATURES {config.CPU_FEATURES!r}, without {missing}, "
        "which the kernels need; add them to NUMBA_CPU_FEATURES as '+f16c,+fma', or unset both"
    )
