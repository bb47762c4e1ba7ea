"""A barrier between the threads of one step that does not put them to sleep.

One step of a small model takes some tens of microseconds; waking a sleeping thread takes as long. So a thread that
waits spins, and gives its processor away only when the wait is long (another program is running there).

``sync`` is an int64 array of ``SYNC_WORDS``; the words in use lie on separate cache lines.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .clock import WAITING, lap
from .jit import kernel
from .lanes import element_pointer

ARRIVED, GENERATION, ABORT, NEXT_ITEM = 0, 16, 32, 48
SYNC_WORDS = 64

# About 10 microseconds of polling before the first call of sched_yield.
_SPINS_BEFORE_YIELD = 4000


class Team(NamedTuple):
    """One thread's place among the threads of a run."""

    sync: Any  # (SYNC_WORDS,) int64, shared
    thread: int
    threads: int
    clock: Any  # this thread's, of clock.py, or UNTIMED


_I64 = ir.IntType(64)
_sched_yield = types.ExternalFunction("sched_yield", types.int32())


def _word(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    pointer = element_pointer(builder, context, signature.args[0], arguments[0], arguments[1], 8)
    return builder.bitcast(pointer, _I64.as_pointer())


@intrinsic
def atomic_add(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Add to ``array[index]`` (int64) indivisibly; returns the value before."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", _word(context, builder, signature, arguments), arguments[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), codegen


@intrinsic
def atomic_load(typingctx: Any, array: Any, index: Any) -> Any:
    """``array[index]`` (int64), with everything written before the matching store visible."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_word(context, builder, signature, arguments), "seq_cst", 8)

    return types.int64(array, types.int64), codegen


@intrinsic
def atomic_store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Set ``array[index]`` (int64) after everything written before."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[2], _word(context, builder, signature, arguments), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), codegen


@kernel
def wait(sync, threads):
    """Return when all ``threads`` threads have called this, or when ``sync[ABORT]`` is set. Resets NEXT_ITEM."""
    if threads == 1:
        sync[NEXT_ITEM] = 0
        return
    generation = atomic_load(sync, GENERATION)
    if atomic_add(sync, ARRIVED, 1) == threads - 1:
        atomic_store(sync, ARRIVED, 0)
        atomic_store(sync, NEXT_ITEM, 0)
        atomic_store(sync, GENERATION, generation + 1)
        return
    spins = 0
    while atomic_load(sync, GENERATION) == generation:
        spins += 1
        if spins > _SPINS_BEFORE_YIELD:
            if atomic_load(sync, ABORT) != 0:
                return
            _sched_yield()


@kernel
def meet(team):
    """``wait`` for all threads of a team; the time counts as waiting."""
    wait(team.sync, team.threads)
    lap(team.clock, WAITING)


@kernel
def next_item(sync):
    """The next item of work that no thread has taken yet, counted from 0 since the last ``wait``."""
    return atomic_add(sync, NEXT_ITEM, 1)


@kernel
def share(items, team):
    """First and last + 1 of this thread's part of ``items`` equal pieces of work."""
    return items * team.thread // team.threads, items * (team.thread + 1) // team.threads
