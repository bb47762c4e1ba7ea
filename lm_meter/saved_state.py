"""The state of a pass on disk: written whole or not at all, checked when it is read, the one before kept.

A file is MAGIC, the size of the header (8 bytes, little-endian), the header, the arrays one behind the other, and the
SHA-256 of all this. The header is a JSON object: ``run``, what the state belongs to; ``progress``, plain numbers; and
``arrays``, their ``name``, ``dtype`` and ``shape``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .atomic_file import atomic_file
from .errors import StateError
from .regular_file import open_regular
from .strict_json import parse_json

MAGIC = b"lm-meter state 1\n"
_HASH_BYTES = 32
_START = len(MAGIC) + 8
WRITTEN_BY_EVAL = "expected a file written by eval --state"
_LARGEST_HEADER = 1 << 22
_MOST_DIMENSIONS = 8
_DTYPES = ("float32", "float64", "int64", "int32", "uint8")


@dataclass(frozen=True)
class SavedState:
    """What a pass needs to go on, and the run that it belongs to."""

    run: dict[str, Any]
    progress: dict[str, Any]
    arrays: Mapping[str, np.ndarray]


def previous_path(path: Path) -> Path:
    """Where the state before the last one is kept."""
    return path.with_name(path.name + ".previous")


def save_state(state: SavedState, path: Path) -> None:
    """Write a state; the file that was there becomes the one before.

    Raises
    ------
    OSError
        Of the disk; the states that were there are intact.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in state.arrays.items()}
    table = [{"name": name, "dtype": array.dtype.name, "shape": list(array.shape)} for name, array in arrays.items()]
    header = json.dumps({"run": state.run, "progress": state.progress, "arrays": table}, allow_nan=False).encode()
    with atomic_file(path, _keep) as file:
        digest = hashlib.sha256()
        parts: list[Any] = [MAGIC, len(header).to_bytes(8, "little"), header]
        parts += [array.reshape(-1).view(np.uint8) for array in arrays.values()]
        for part in parts:
            digest.update(part)
            file.write(part)
        file.write(digest.digest())


def _keep(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, previous_path(path))


def read_state(path: Path) -> SavedState:
    """Read and check one state.

    Raises
    ------
    FileNotFoundError
    StateError
        In one line, what is wrong with the file.
    """
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size < _START + _HASH_BYTES:
                raise StateError(f"{path}: is too short for a state; {WRITTEN_BY_EVAL}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
                return _parsed(raw, path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror}); {WRITTEN_BY_EVAL}") from None


def _parsed(raw: mmap.mmap, path: Path) -> SavedState:
    if raw[: len(MAGIC)] != MAGIC:
        raise StateError(f"{path}: is no state of lm-meter; {WRITTEN_BY_EVAL}")
    end = len(raw) - _HASH_BYTES
    if hashlib.sha256(memoryview(raw)[:end]).digest() != raw[end:]:
        raise StateError(f"{path}: the checksum is wrong: the file was cut or changed after it was written")
    size = int.from_bytes(raw[len(MAGIC) : _START], "little")
    if size > min(end - _START, _LARGEST_HEADER):
        raise StateError(f"{path}: its header has {size} bytes; expected at most {_LARGEST_HEADER}, inside the file")
    try:
        header = parse_json(raw[_START : _START + size])
        arrays, at = {}, _START + size
        for entry in header["arrays"]:
            if not isinstance(entry["name"], str) or entry["name"] in arrays:
                raise ValueError(f"array {entry['name']!r:.40} has no name of its own")
            array = _array(raw, entry, at, end)
            arrays[entry["name"]], at = array, at + array.nbytes
        if at != end:
            raise ValueError("bytes behind the last array")
        for part in ("run", "progress"):
            if not isinstance(header[part], dict):
                raise ValueError(f"{part} is {header[part]!r:.40}")
        return SavedState(header["run"], header["progress"], arrays)
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"{path}: its header is not a state's ({error}); write it again with eval --state") from None


def _array(raw: mmap.mmap, entry: dict[str, Any], at: int, end: int) -> np.ndarray:
    shape = entry["shape"]
    if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS or entry["dtype"] not in _DTYPES:
        raise ValueError(f"array {entry['name']!r:.40}")
    if not all(type(length) is int and 0 <= length <= end for length in shape):  # else NumPy may refuse an empty one
        raise ValueError(f"array {entry['name']!r:.40} has the shape {shape!r:.40}")
    dtype = np.dtype(entry["dtype"])
    if math.prod(shape) * dtype.itemsize > end - at:
        raise ValueError(f"array {entry['name']!r:.40} is larger than the file")
    return np.frombuffer(raw[at : at + math.prod(shape) * dtype.itemsize], dtype).reshape(shape).copy()
