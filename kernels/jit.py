"""How kernels are compiled, and where compiled kernels are kept.

``kernel`` marks a function that is compiled into its callers, ``inlined`` one that is put into their very code.
``entry`` marks one that Python calls: its machine code is kept on disk, so that only the first run after an edit
compiles anything.

Numba decides whether a cached function is fresh by looking at the one file that defines it; an edit of a kernel
that it *calls* would go unnoticed. Here the folder is named after a hash of every source file of this package, so
any edit leads to an empty folder. The locator belongs to our functions alone: no global Numba setting is touched.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

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


# What Python calls, in this process: its machine code is not kept.
compiled = numba.njit(**_OPTIONS)
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


@functools.cache
def sources_hash() -> str:
    """Hash of every kernel source, of Numba's version and of Python's: the identity of the compiled code."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:2]}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:20]


def user_cache() -> Path:
    """The user's cache folder for everything of lm-meter; RuntimeError where the user has no home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lm-meter"


def cache_folder() -> Path:
    """Folder of this version's compiled kernels, below ``$LM_METER_CACHE`` or the user's cache folder."""
    own = os.environ.get("LM_METER_CACHE")
    return (Path(own) if own else user_cache()) / "kernels" / sources_hash()


class _KernelLocator(_CacheLocator):
    """Points Numba's cache at ``cache_folder()``; freshness is decided by the folder's name."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file
        self._line = py_func.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return sources_hash()

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _KernelLocator:
        return cls(py_func, py_file)


class _KernelCacheImpl(CompileResultCacheImpl):
    _locator_classes = [_KernelLocator]


class _KernelCache(FunctionCache):
    _impl_class = _KernelCacheImpl

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        # Numba's own key has what a function is closed over, pickled: intrinsics differ in each process, so that a
        # function closed over them would never be found again. Ours are told apart by their names: see name_apart.
        return sig, codegen.magic_tuple()

    def save_overload(self, sig: Any, data: Any) -> None:
        # A cache that cannot be filled (a full disk) costs time, in the next process; the result is the same.
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def entry(function: Callable[..., Any]) -> Any:
    """Compile ``function`` on its first call and keep the machine code in ``cache_folder()``.

    Where that folder cannot be written (a read-only home, or none), the function is compiled anew in each process.
    """
    dispatcher = compiled(function)
    try:
        cache = _KernelCache(function)
        cache._impl.locator.ensure_cache_path()
    except (OSError, RuntimeError):
        return dispatcher
    dispatcher._cache = cache
    return dispatcher


_natives: list[Any] = []  # a function's machine code lives as long as its object


def native_address(function: Callable[..., Any], suffix: str, signature: Any) -> int:
    """Compile ``function`` as a C function, keep the machine code as ``entry`` does, and return its address.

    ``suffix`` tells apart functions that are made by one ``def``. It must not raise: it runs without the interpreter.
    """
    name_apart(function, suffix)
    native: Any = CFunc(function, (signature.args, signature.return_type), {}, _OPTIONS)
    with contextlib.suppress(OSError, RuntimeError):
        cache = _KernelCache(function)
        cache._impl.locator.ensure_cache_path()
        native._cache = cache
    native.compile()
    _natives.append(native)
    return cast(int, native.address)
