"""A barrier between the threads of one step: a thread that waits spins briefly, and then sleeps.

One step of a small model takes some tens of microseconds; waking a sleeping thread takes as long. So a thread spins at
first. A wait that is longer says that another program runs where the late thread should; who spins on keeps a
processor from both.

``sync`` is an int64 array of ``SYNC_WORDS``; the words in use lie on separate cache lines.
"""

from __future__ import annotations

import platform
import sys
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .clock import WAITING, lap
from .jit import kernel, name_apart
from .lanes import element_pointer

ARRIVED, GENERATION, ABORT, NEXT_ITEM, SLEEPING = 0, 16, 32, 48, 64
SYNC_WORDS = 80

# About 10 microseconds of polling before a thread sleeps.
_SPINS = 4000
# A thread that sleeps looks at ABORT so often, which nothing wakes it for.
_NAP_NANOSECONDS = 10_000_000
# Where the system cannot wake a thread when a word changes, it looks at the word so often.
_SHORT_NAP_MICROSECONDS = 50


class Team(NamedTuple):
    """One thread's place among the threads of a run."""

    sync: Any  # (SYNC_WORDS,) int64, shared
    thread: int
    threads: int
    clock: Any  # this thread's, of clock.py, or UNTIMED


_I32, _I64 = ir.IntType(32), ir.IntType(64)
# Linux: numbers of the system call futex, which glibc and musl have no function for, and what it is asked to do.
_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "loongarch64": 98, "ppc64le": 221}
_WAIT_PRIVATE, _WAKE_PRIVATE, _EVERY_THREAD = 128, 129, 0x7FFFFFFF
HAS_FUTEX = sys.platform == "linux" and platform.machine() in _FUTEX
_usleep = types.ExternalFunction("usleep", types.int32(types.uint32))


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


def _futex(builder: Any, word: Any, operation: int, value: Any, timeout: Any) -> Any:
    """Emit the system call on the low half of ``word``, which lies first: machines of ``_FUTEX`` are little-endian."""
    kinds = [_I64, _I64.as_pointer(), _I64, _I64, timeout.type]
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_I64, kinds), "syscall")
    number, operation = (ir.Constant(_I64, n) for n in (_FUTEX[platform.machine()], operation))
    return builder.call(function, [number, word, operation, value, timeout])


@intrinsic
def _futex_wait(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Sleep for _NAP_NANOSECONDS, or until woken; not at all where ``array[index]`` is no longer ``value``."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        timespec = ir.Constant(ir.ArrayType(_I64, 2), [0, _NAP_NANOSECONDS])
        timeout = cgutils.global_constant(builder.module, "nap", timespec)
        _futex(builder, _word(context, builder, signature, arguments), _WAIT_PRIVATE, arguments[2], timeout)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), codegen


@intrinsic
def futex_wake(typingctx: Any, array: Any, index: Any) -> Any:
    """Wake every thread that sleeps on ``array[index]``; returns how many."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, every = _word(context, builder, signature, arguments), ir.Constant(_I64, _EVERY_THREAD)
        return _futex(builder, word, _WAKE_PRIVATE, every, ir.Constant(_I64.as_pointer(), None))

    return types.int64(array, types.int64), codegen


def _sleeper(has_futex: bool) -> Any:
    """The function by which a thread sleeps until ``sync[GENERATION]`` is no longer what it was, or ABORT is set."""

    def sleep(sync, generation):
        atomic_add(sync, SLEEPING, 1)  # before the word is looked at again: who changes it afterwards sees this
        while atomic_load(sync, GENERATION) == generation and atomic_load(sync, ABORT) == 0:
            if has_futex:
                _futex_wait(sync, GENERATION, generation)
            else:
                _usleep(_SHORT_NAP_MICROSECONDS)
        atomic_add(sync, SLEEPING, -1)

    name_apart(sleep, "futex" if has_futex else "naps")
    return kernel(sleep)


sleep_in_naps = _sleeper(False)
_sleep = _sleeper(True) if HAS_FUTEX else sleep_in_naps


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
        if HAS_FUTEX and atomic_load(sync, SLEEPING) != 0:
            futex_wake(sync, GENERATION)
        return
    for _ in range(_SPINS):
        if atomic_load(sync, GENERATION) != generation:
            return
    _sleep(sync, generation)


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
