"""What a run depended on: versions, processor, threads, commit."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import __version__
from .kernels.code_cache import sources_hash


def cpu_name() -> str:
    """Name of the processor, as the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """Commit of the source tree the package was installed from in place, None where that is not known."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def peak_resident_bytes() -> int:
    """Largest resident size of this process so far, weights included: activations alone are ``activations.py``."""
    with contextlib.suppress(OSError, ValueError):
        # ru_maxrss may be that of the process that started this one, from before it became Python.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def versions() -> dict[str, str]:
    """What the bits of a pass depend on beside its inputs: the version, and the hash of the kernels' sources."""
    return {"lm_meter": __version__, "kernels": sources_hash()}


def describe(threads: int) -> dict[str, Any]:
    """The ``environment`` section of a result."""
    packages = ("numpy", "numba", "llvmlite", "sentencepiece")
    return {
        "lm_meter": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
        "system": platform.platform(),
        "cpu": cpu_name(),
        "threads": threads,
        "commit": commit(),
    }
