"""How kernels are compiled.

``kernel`` marks a function that is compiled into its callers, ``inlined`` one that is put into their very code.
``entry`` marks one that Python calls: its machine code is kept on disk (``code_cache.py``), so that only the first
run after an edit compiles anything. Whoever listens to this module's logger at level INFO hears when a compilation
begins (``record.compiling`` is True) and when one has ended, or was not needed (False).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import numba
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from .code_cache import kernel_cache

_log = logging.getLogger(__name__)

# Divisions follow IEEE 754 instead of raising, and the interpreter lock is free while a kernel runs, so that
# ordinary Python threads can each run their share of the rows. No references are counted: nothing is allocated, and
# no array is returned to Python. Counting was half of the time of a step of a model of 260,000 weights.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "boundscheck": False, "_nrt": False}


class _Part(JITCodeLibrary):
    """Code that is only ever linked into its callers: by itself it is neither optimised nor made machine code.

    Numba does both for every function, which was half of the time of compiling a model's loop.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What Python gets that calls a part after all, as tests do: machine code of its own, made now."""
    return _whole(function)(*arguments)


class _PartCompiler(Compiler):
    """Numba's compiler for such code."""

    def compile_extra(self, func: Any) -> Any:
        self.state.flags.no_compile = True
        self.state.library = _Part(self.state.targetctx.codegen(), func.__qualname__)
        result = super().compile_extra(func)
        # What Python would call is also how a caller's code finds this one's.
        result = result._replace(entry_point=functools.partial(_call, func))
        result.target_context.insert_user_function(result.entry_point, result.fndesc, [result.library])
        return result


def _part(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    make = numba.njit(
        pipeline_class=_PartCompiler, no_cpython_wrapper=True, no_cfunc_wrapper=True, **options, **_OPTIONS
    )

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = make(function)

        def add_overload(result: Any) -> None:
            dispatcher.overloads[tuple(result.signature.args)] = result

        dispatcher.add_overload = add_overload
        return dispatcher

    return decorate


class _WholeCompiler(Compiler):
    """Numba's compiler, which says that it begins: what is found in the cache never comes here."""

    def compile_extra(self, func: Any) -> Any:
        _log.info("compiling %s", func.__qualname__, extra={"compiling": True})
        return super().compile_extra(func)


@contextlib.contextmanager
def _compilation() -> Iterator[None]:
    """Around making machine code, or reading it from the cache: signals wait for its end, which is said.

    LLVM calls Python back meanwhile, and what a signal's handler raises there is printed and lost.
    """
    came: list[int] = []
    before: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():  # the only one that handles signals
            for number in (int(signal.SIGINT), int(signal.SIGTERM)):
                handler = signal.getsignal(number)
                if callable(handler):  # not one that the system ends the process with, or that is ignored
                    before[number] = handler
                    signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _log.info("compiled", extra={"compiling": False})
        for number in came:
            signal.raise_signal(number)


_make = numba.njit(pipeline_class=_WholeCompiler, **_OPTIONS)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile ``function`` on its first call, for Python's calls in this process: its machine code is not kept."""
    if numba.config.DISABLE_JIT:  # nothing can be run then: see ``unusable`` of ``isa.py``
        return function
    dispatcher = _make(function)
    make = dispatcher.compile

    def compile_alone(signature: Any) -> Any:
        with _compilation():
            return make(signature)

    dispatcher.compile = compile_alone
    return dispatcher


_whole = functools.cache(compiled)
kernel = _part()
inlined = _part(forceinline=True)


def name_apart(function: Callable[..., Any], suffix: str) -> None:
    """Give a function that is made several times by one ``def`` a name of its own, before it is compiled.

    Compiled functions are linked by name: module, qualified name, argument types and a number that each process counts
    anew. Two closures of one ``def`` that were compiled and kept by different processes can so meet under the same
    name, and a call would reach the wrong one.
    """
    function.__qualname__ = f"{function.__qualname__}_{suffix}"
    function.__name__ = f"{function.__name__}_{suffix}"


def entry(function: Callable[..., Any]) -> Any:
    """Compile ``function`` on its first call and keep the machine code in ``cache_folder()``.

    Where that folder cannot be written (a read-only home, or none), what is not in it is compiled in each process.
    """
    dispatcher = compiled(function)
    if not numba.config.DISABLE_JIT:
        dispatcher._cache = kernel_cache(function)
    return dispatcher


_natives: list[Any] = []  # a function's machine code lives as long as its object


def native_address(function: Callable[..., Any], suffix: str, signature: Any) -> int:
    """Compile ``function`` as a C function, keep the machine code as ``entry`` does, and return its address.

    ``suffix`` tells apart functions that are made by one ``def``. It must not raise: it runs without the interpreter.
    """
    name_apart(function, suffix)
    types = (signature.args, signature.return_type)
    native: Any = CFunc(function, types, {}, _OPTIONS, pipeline_class=_WholeCompiler)
    native._cache = kernel_cache(function)
    with _compilation():
        native.compile()
    _natives.append(native)
    return cast(int, native.address)
