"""GGUF files: metadata and places of tensors, read in one walk, every size held against the file's before it is used.

A file is ``GGUF``, its version (uint32), the numbers of tensors and of metadata entries (uint64), the entries, the
tensors' descriptions, and, aligned, their data. A text is its length (uint64) and UTF-8. An entry is its key, a type
(uint32) and a value; an array is the type of its values, their number (uint64), and the values. A tensor's description
is its name, the number of its dimensions (uint32), the dimensions (uint64), a type (uint32), and where its data begin,
counted from the first one's (uint64). All is little-endian. Source: docs/gguf.md of ggml.

As llama.cpp does, arrays of arrays, texts twice as key or name, and tensors of more than four dimensions are refused.
"""

from __future__ import annotations

import itertools
import math
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..regular_file import open_regular

_VERSIONS = (2, 3)
_START = struct.Struct("<4sIQQ")
_COUNT, _TYPE = struct.Struct("<Q"), struct.Struct("<I")
_SCALARS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8"}
_TEXT, _ARRAY = 8, 9
# Bytes that an entry, a tensor's description and a text take at least.
_LEAST_ENTRY, _LEAST_TENSOR, _LEAST_TEXT = 8 + 4 + 1, 8 + 4 + 4 + 8, 8
# In all arrays together: of published models the largest vocabularies have 262,144 tokens and 514,906 merges.
_MOST_VALUES = 1 << 22
_MOST_ENTRIES = _MOST_TENSORS = 1 << 16
_MOST_DIMENSIONS = 4
_LONGEST_NAME = (1 << 16) - 1  # bytes
_ALIGNMENT, _MOST_ALIGNMENT = 32, 1 << 20
# Of each type of tensor that can be converted: its number, and how many weights take how many bytes.
_TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q8_0": (8, 32, 34),
          "BF16": (30, 1, 2)}  # fmt: skip
# Names of the others, for messages.
_OTHERS = {
    6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
    16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
    24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """An entry of the metadata."""

    _contents: Callable[[], Any]

    def contents(self) -> Any:
        """A number, a truth value, a text, or a list of them; ValueError where a text is not UTF-8."""
        return self._contents()


@dataclass(frozen=True)
class TensorType:
    """Type of a tensor's numbers: its name in ggml, or ``type N`` where it is not known here."""

    name: str


@dataclass(frozen=True)
class Tensor:
    """A tensor: its name, type, dimensions from the one that changes fastest, and data.

    ``data``: (bytes,) uint8, mapped; empty where the type cannot be converted.
    """

    name: str
    tensor_type: TensorType
    shape: tuple[int, ...]
    data: np.ndarray


class GgufFile:
    """The metadata and the tensors of a file, which stays mapped.

    Attributes
    ----------
    fields : dict of str to Field
    tensors : list of Tensor

    Raises
    ------
    CheckpointError
        Where the file contradicts its size or itself, or has more than any model needs.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._values = path, 0, 0
        with open_regular(path) as file:
            try:
                self._raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise self._refused("it is empty") from None
        magic, version, tensors, entries = self._unpacked(_START)
        if magic != b"GGUF" or version not in _VERSIONS:
            raise self._refused(f"it begins {magic!r}, version {version}; versions 2 and 3, little-endian, can be read")
        self._check_count("metadata entries", entries, _LEAST_ENTRY, _MOST_ENTRIES)
        self.fields: dict[str, Field] = {}
        for _ in range(entries):
            key = self._name("a key", self.fields)
            self.fields[key] = Field(self._value(key, self._unpacked(_TYPE)[0]))
        self._check_count("tensors", tensors, _LEAST_TENSOR, _MOST_TENSORS)
        described: dict[str, tuple[int, tuple[int, ...], int]] = {}
        for _ in range(tensors):
            name = self._name("a tensor", described)
            described[name] = self._described(name)
        self.tensors = self._placed(described)

    def _refused(self, reason: str) -> CheckpointError:
        return CheckpointError(f"{self._path}: is no GGUF file that can be read ({reason})")

    def _past(self, size: int) -> int:
        """Go past so many bytes of the file, and return where they begin."""
        first = self._at
        if size > len(self._raw) - first:
            raise self._refused(f"{size} bytes from byte {first} on lie outside its {len(self._raw)}")
        self._at = first + size
        return first

    def _unpacked(self, what: struct.Struct) -> tuple[Any, ...]:
        return what.unpack_from(self._raw, self._past(what.size))

    def _check_count(self, what: str, count: int, least_bytes: int, most: int) -> None:
        left = len(self._raw) - self._at
        if count * least_bytes > left:
            raise self._refused(f"{count} {what} need more than the {left} bytes that are left of it")
        if count > most:
            raise self._refused(f"it has {count} {what}; at most {most} are read")

    def _name(self, what: str, known: dict[str, Any]) -> str:
        size = self._unpacked(_COUNT)[0]
        if size > _LONGEST_NAME:
            raise self._refused(f"{what} has {size} bytes; at most {_LONGEST_NAME} are read")
        first = self._past(size)
        try:
            name = self._raw[first : self._at].decode()
        except UnicodeDecodeError:
            raise self._refused(f"{what} is not UTF-8") from None
        if name in known:
            raise self._refused(f"it has {what} {name!r:.60} twice")
        return name

    def _value(self, key: str, kind: int) -> Callable[[], Any]:
        """Go past a value, and return what makes it from the bytes."""
        if kind == _TEXT:
            size = self._unpacked(_COUNT)[0]
            return partial(self._text, self._past(size), size)
        if kind == _ARRAY:
            return self._array(key)
        number = self._numbers(key, kind, 1)
        return lambda: number()[0]

    def _array(self, key: str) -> Callable[[], Any]:
        kind, count = *self._unpacked(_TYPE), *self._unpacked(_COUNT)
        least = _LEAST_TEXT if kind == _TEXT else self._width(key, kind)
        self._check_count(f"values of {key:.60}", count, least, _MOST_VALUES - self._values)
        self._values += count
        if kind != _TEXT:
            return self._numbers(key, kind, count)
        # A loop over all texts of a vocabulary, so without calls.
        raw, at, end = self._raw, self._at, len(self._raw) - _COUNT.size
        first, unpack = at, _COUNT.unpack_from
        for number in range(count):
            at = at + _COUNT.size + unpack(raw, at)[0] if at <= end else len(raw) + 1
            if at > len(raw):
                raise self._refused(f"value {number} of {key:.60} lies outside its {len(raw)} bytes")
        self._at = at
        return partial(self._texts, first, count)

    def _width(self, key: str, kind: int) -> int:
        if kind not in _SCALARS:
            what = "an array of arrays" if kind == _ARRAY else f"of type {kind}"
            raise self._refused(f"{key:.60} is {what}; numbers, truth values, texts and arrays of them can be read")
        return np.dtype(_SCALARS[kind]).itemsize

    def _numbers(self, key: str, kind: int, count: int) -> Callable[[], list[Any]]:
        first = self._past(count * self._width(key, kind))
        return lambda: np.frombuffer(self._raw, _SCALARS[kind], count, first).tolist()

    def _text(self, first: int, size: int) -> str:
        return self._raw[first : first + size].decode()

    def _texts(self, at: int, count: int) -> list[str]:
        found = []
        for _ in range(count):
            size = _COUNT.unpack_from(self._raw, at)[0]
            found.append(self._text(at + _COUNT.size, size))
            at += _COUNT.size + size
        return found

    def _described(self, name: str) -> tuple[int, tuple[int, ...], int]:
        """Type, dimensions and place of the next tensor."""
        dimensions = self._unpacked(_TYPE)[0]
        if dimensions > _MOST_DIMENSIONS:
            raise self._refused(f"tensor {name:.60} has {dimensions} dimensions; at most {_MOST_DIMENSIONS} are read")
        *shape, kind, place = self._unpacked(struct.Struct(f"<{dimensions}QIQ"))
        return kind, tuple(shape), place

    def _placed(self, described: dict[str, tuple[int, tuple[int, ...], int]]) -> list[Tensor]:
        """The tensors with their data: each has bytes of its own, or a small file would be many weights."""
        alignment = self.fields["general.alignment"].contents() if "general.alignment" in self.fields else _ALIGNMENT
        if type(alignment) is not int or not 1 <= alignment <= _MOST_ALIGNMENT or alignment & (alignment - 1):
            raise self._refused(f"general.alignment is {alignment!r:.40}; it has to be a power of two")
        begin = -(-self._at // alignment) * alignment
        names = {number: (kind, weights, size) for kind, (number, weights, size) in _TYPES.items()}
        found, places = [], []
        for name, (number, shape, place) in described.items():
            kind, weights, size = names.get(number, (_OTHERS.get(number, f"type {number}"), 1, 0))
            size = -(-math.prod(shape) // weights) * size
            if begin + place + size > len(self._raw):
                raise self._refused(
                    f"tensor {name:.60}, {kind} of {shape}, {size} bytes from byte {begin + place} on, lies outside "
                    f"its {len(self._raw)} bytes"
                )
            data = np.frombuffer(self._raw, np.uint8, size, begin + place) if size else np.zeros(0, np.uint8)
            found.append(Tensor(name, TensorType(kind), shape, data))
            if size:
                places.append((place, place + size, name))
        places.sort()
        for (_, end, _), (place, _, name) in itertools.pairwise(places):
            if place < end:
                raise self._refused(f"tensor {name:.60} overlaps another one")
        return found
