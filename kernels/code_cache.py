"""Where the machine code of compiled kernels is kept, and what of it is believed.

Numba decides whether a cached function is fresh by looking at the one file that defines it; an edit of a kernel
that it *calls* would go unnoticed. Here the folder is named after a hash of every source file of this package, so
any edit leads to an empty folder. The locator belongs to our functions alone: no global Numba setting is touched.

Each file begins with the SHA-256 of the rest. What was cut, zeroed or otherwise damaged is taken for absent: the
function is compiled anew, and the file replaced. No damaged machine code is ever run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    NullCache,
    _cache_log,
    _CacheLocator,
)

_SEAL_BYTES = hashlib.sha256().digest_size


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


class _SealedFiles(IndexDataCacheFile):
    """The index of a function's versions and the files of their machine code, each behind its own hash."""

    def _save_index(self, overloads: dict[Any, str]) -> None:
        with self._open_for_write(self._index_path) as file:
            file.write(self._dump(overloads))

    def _load_index(self) -> dict[Any, str]:
        return _unsealed(self._index_path) or {}

    def _load_data(self, name: str) -> Any:
        path = self._data_path(name)
        data = _unsealed(path)
        if data is not None:
            _cache_log("[cache] data loaded from %r", path)
        return data

    def _dump(self, value: Any) -> bytes:
        data = super()._dump(value)
        return hashlib.sha256(data).digest() + data


def _unsealed(path: str) -> Any:
    """What was written to a file; None where it is not there, cannot be read, or is not as it was written."""
    try:
        raw = memoryview(Path(path).read_bytes())
    except OSError:
        return None
    seal, data = raw[:_SEAL_BYTES], raw[_SEAL_BYTES:]
    return pickle.loads(data) if hashlib.sha256(data).digest() == seal else None


class _KernelCache(FunctionCache):
    _impl_class = _KernelCacheImpl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file: Any = _SealedFiles(self.cache_path, self._impl.filename_base, sources_hash())

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        # Numba's own key has what a function is closed over, pickled: intrinsics differ in each process, so that a
        # function closed over them would never be found again. Ours are told apart by their names: see name_apart.
        return sig, codegen.magic_tuple()

    def save_overload(self, sig: Any, data: Any) -> None:
        # A cache that cannot be filled (a full disk, a read-only home) costs time, in the next process; the result is
        # the same.
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def kernel_cache(function: Callable[..., Any]) -> Any:
    """The cache of a function's machine code; one that keeps nothing where the user has no home."""
    try:
        return _KernelCache(function)
    except RuntimeError:
        return NullCache()
