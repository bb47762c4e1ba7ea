"""Checkpoints: format versions 1 and 2, as specified in ``checkpoints/README.md``.

A checkpoint is everything inference needs in one file: a configuration, the weights, the tokenizer. It is read in
this order, and each step trusts only what the steps before have checked: container, configuration, the table of
expected arrays against the headers, and at last the data.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .compilation import check_kernels
from .continuous_cache import ContinuousCache
from .errors import CheckpointError, ConfigError
from .even_grid import Evenness
from .format_parser import parse_weight_format
from .grid import read_evenness
from .kept import Kept, read_kept
from .npz import MappedArray, Npz
from .strict_json import parse_json
from .weight_format import FLOATS, Stored, WeightFormat, entry_format

FORMAT = "lm-meter/checkpoint"
_OWNERS = {
    "scales": "scales are", "offsets": "offsets are", "codebook": "a code book is", "mask": "a mask is",
    "bytes": "bytes are",
}  # fmt: skip
PLAIN_VERSION, VERSION = 1, 2  # version 1 knows floating-point formats only


@dataclass(frozen=True)
class Expected:
    """What an architecture expects of one array: its shape (None: any length) and whether it is a weight."""

    shape: tuple[int | None, ...]
    is_weight: bool = True


class Checkpoint:
    """An open checkpoint whose headers agree with its configuration.

    Attributes
    ----------
    path : Path
    config : dict
        The configuration, as parsed from JSON.
    formats : dict of str to WeightFormat
        Declaration of each weight array.
    parts : dict of str to dict of str to Stored
        Arrays in which each weight array is stored.
    model_config : object
        The architecture's own checked configuration.
    """

    def __init__(self, path: str | Path) -> None:
        from .models import architecture_named

        if not isinstance(path, str | os.PathLike):
            raise ConfigError(f"checkpoint is {path!r:.60}; expected the name of a file, or an lm_meter.Checkpoint")
        check_kernels()  # of the weights too, which they look at
        self.path = Path(path)
        self._npz = Npz(self.path)
        self.config = _parse_config(self._npz.config_text, str(self.path))
        self.architecture = architecture_named(self.config["architecture"], str(self.path))
        self.model_config = self.architecture.parse_config(self.config, str(self.path))
        self._compare(self.architecture.expected_arrays(self.model_config, str(self.path)))

    def with_continuous_cache(self, settings: ContinuousCache) -> Checkpoint:
        """The same checkpoint with another continuous cache than it has itself, or none."""
        other = copy.copy(self)
        ends = dataclasses.replace(self.model_config.ends, continuous=settings)
        other.model_config = dataclasses.replace(self.model_config, ends=ends)
        return other

    def _compare(self, expected: Mapping[str, Expected]) -> None:
        path, found, declared = str(self.path), self._npz.arrays, self.config["formats"]
        # Only arrays that hold no weights have any length.
        weights = {name: wanted.shape for name, wanted in expected.items() if wanted.is_weight}
        self._shapes = {name: tuple(n for n in shape if n is not None) for name, shape in weights.items()}
        self.formats: dict[str, WeightFormat] = {}
        self._kept: dict[str, Kept] = {}
        self._evenness: dict[str, Evenness] = {}
        self._verified: set[str] = set()
        self.parts: dict[str, dict[str, Stored]] = {}
        arrays: dict[str, Stored] = {}
        for name, wanted in expected.items():
            if wanted.is_weight:
                self.formats[name] = parse_weight_format(declared.get(name), name, self.shape(name), path)
                self.parts[name] = self.formats[name].stored(name, self.shape(name))
                arrays |= self.parts[name]
            else:
                arrays[name] = Stored(wanted.shape, np.dtype("u1"), "bytes")
        for name in arrays:
            if name not in found:
                raise CheckpointError(f"{self.path}: array {name} is missing; the configuration needs it")
        for name in found:
            if name not in arrays:
                raise CheckpointError(f"{self.path}: surplus array {name:.60}; the configuration does not use it")
        for name, stored in arrays.items():
            _compare_array(path, found[name], stored, declared.get(name))
        for name in declared:
            if name not in self.formats:
                raise CheckpointError(
                    f"{self.path}: config.json declares a format for {name:.60}, which is no weight here"
                )
            if self.config["version"] == PLAIN_VERSION and not self.formats[name].is_plain:
                raise CheckpointError(
                    f"{self.path}: array {name}: format version {PLAIN_VERSION} knows {', '.join(FLOATS)} only; "
                    f"expected version {VERSION}"
                )

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a weight array, whatever it is stored in."""
        return self._shapes[name]

    def kept(self, name: str) -> Kept:
        """Which weights of a pruned array are kept."""
        if name not in self._kept:
            self._kept[name] = read_kept(self, name)
        return self._kept[name]

    def evenness(self, name: str) -> Evenness:
        """What the values of an array's declared grid are; CheckpointError where they are more than it has."""
        if name not in self._evenness:
            self._evenness[name] = read_evenness(self, name)
        return self._evenness[name]

    def values(self, name: str) -> int:
        """How many weights of an array the file holds: those that were pruned are not there."""
        return self.kept(name).total if self.formats[name].block else prod(self.shape(name))

    def stored_shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array of the file, from its header."""
        return self._npz.arrays[name].shape

    def verified(self, name: str) -> MappedArray:
        """An array whose data have been compared with the archive's checksum."""
        array = self._npz.arrays[name]
        if name not in self._verified:
            self._npz.verify(array)
            self._verified.add(name)
        return array

    def view(self, array: MappedArray) -> np.ndarray:
        """Mapped data of an array."""
        return self._npz.view(array)

    def weight_bits(self, array: MappedArray) -> np.ndarray:
        """Mapped bit patterns of a weight array, as unsigned integers of its size."""
        return self._npz.view(array).view(f"<u{array.dtype.itemsize}")

    def forget(self, array: MappedArray) -> None:
        """Drop the array's pages from the resident set; they are read again when touched."""
        self._npz.forget(array.offset, array.offset + array.nbytes)

    def bytes(self, name: str) -> bytes:
        """Content of a uint8 array, as bytes."""
        return self._npz.view(self.verified(name)).tobytes()

    def sha256(self) -> str:
        """SHA-256 of the whole file: of the one that was opened, whatever lies under its name by now."""
        return self._npz.sha256()


def _compare_array(path: str, array: MappedArray, wanted: Stored, declared: Any) -> None:
    where = f"{path}: array {array.name}"
    if array.dtype != wanted.dtype:
        owner = f"its declared format {entry_format(declared)} is" if wanted.role == "values" else _OWNERS[wanted.role]
        raise CheckpointError(f"{where}: is stored as {array.dtype}; {owner} stored as {wanted.dtype}")
    fits = len(array.shape) == len(wanted.shape) and all(
        size is None or size == found for size, found in zip(wanted.shape, array.shape, strict=True)
    )
    if not fits:
        shape = "(" + ", ".join("any" if n is None else str(n) for n in wanted.shape) + ")"
        raise CheckpointError(f"{where}: has shape {array.shape}; the configuration expects {shape}")


def _parse_config(text: str, path: str) -> dict[str, Any]:
    try:
        config = parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: config.json is not JSON ({error}); expected one JSON object") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: config.json holds a {type(config).__name__}; expected one JSON object")
    if config.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format is {config.get('format')!r:.60}; expected {FORMAT!r}")
    if type(config.get("version")) is not int or config["version"] not in (PLAIN_VERSION, VERSION):
        raise CheckpointError(
            f"{path}: format version is {config.get('version')!r:.60}; this lm-meter reads versions {PLAIN_VERSION} "
            f"and {VERSION}; update it or write the checkpoint again"
        )
    for key, kind in (("architecture", str), ("tokenizer", dict), ("formats", dict)):
        if not isinstance(config.get(key), kind):
            raise CheckpointError(f"{path}: config.json has no {key} ({kind.__name__}); see checkpoints/README.md")
    origin = config.get("origin", "")
    if not isinstance(origin, str) or len(origin.splitlines()) > 1:
        raise CheckpointError(f"{path}: origin is {origin!r:.40}; expected one line of text")
    return config
