"""Where the time of a run goes: a clock for each thread, read where the work of a region ends.

A run that is not timed asks an empty clock a few times for each token and segment of the vocabulary, which does not
show; a variant of all kernels without clocks would have to be compiled beside this one.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import kernel

_I64 = ir.IntType(64)
# A counter that user programs may read: of cycles at a fixed rate on x86, of a fixed-rate timer elsewhere.
_COUNTER = "llvm.readcyclecounter" if platform.machine() in ("x86_64", "AMD64") else "llvm.readsteadycounter"
_LINE = 8  # int64 of a cache line: two threads' clocks share none

# No clock at all.
UNTIMED = np.zeros(0, np.int64)
WAITING, MARK = -2, -1  # places behind the regions: time at barriers, and when the last lap ended


def new_clocks(threads: int, regions: int) -> np.ndarray:
    """A stopped clock for each thread: (threads, regions and waiting and mark, padded in front of these) int64."""
    return np.zeros((threads, -(-(regions + 2) // _LINE) * _LINE), np.int64)


@intrinsic
def _read_counter(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_I64, []), _COUNTER)
        return builder.call(function, [])

    return types.int64(), codegen


@kernel
def lap(clock, region):
    """Add the time since the last lap to a region, or to WAITING; nothing where the clock is UNTIMED."""
    if clock.size > 0:
        now = _read_counter()
        clock[region] += now - clock[MARK]
        clock[MARK] = now


@kernel
def start(clock):
    """Begin to measure: what lies before belongs to no region."""
    if clock.size > 0:
        clock[MARK] = _read_counter()
