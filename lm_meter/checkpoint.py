"""Checkpoints: format version 1, as specified in ``checkpoints/README.md``.

A checkpoint is everything inference needs in one file: a configuration, the weights, the tokenizer. It is read in
this order, and each step trusts only what the steps before have checked: container, configuration, the table of
expected arrays against the headers, and at last the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CheckpointError
from .npz import MappedArray, Npz
from .strict_json import parse_json

FORMAT = "lm-meter/checkpoint"
VERSION = 1

# How a weight format is stored. bfloat16 has no NumPy type: its bit patterns are stored as uint16.
STORED_AS: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}
FORMAT_BITS = {"float32": 32, "float16": 16, "bfloat16": 16}


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
    formats : dict
        Weight format ("float32", "float16" or "bfloat16") of each weight array.
    model_config : object
        The architecture's own checked configuration.
    """

    def __init__(self, path: str | Path) -> None:
        from .models import architecture_named

        self.path = Path(path)
        self._npz = Npz(self.path)
        self.config = _parse_config(self._npz.config_text, str(self.path))
        self.architecture = architecture_named(self.config["architecture"], str(self.path))
        self.model_config = self.architecture.parse_config(self.config, str(self.path))
        self.formats: dict[str, str] = self.config["formats"]
        self._compare(self.architecture.expected_arrays(self.model_config, str(self.path)))

    def _compare(self, expected: Mapping[str, Expected]) -> None:
        found = self._npz.arrays
        for name in expected:
            if name not in found:
                raise CheckpointError(f"{self.path}: array {name} is missing; the configuration needs it")
        for name in found:
            if name not in expected:
                raise CheckpointError(f"{self.path}: surplus array {name}; the configuration does not use it")
        for name, wanted in expected.items():
            _compare_array(str(self.path), found[name], wanted, self.formats.get(name))
        for name in self.formats:
            if name not in expected or not expected[name].is_weight:
                raise CheckpointError(f"{self.path}: config.json declares a format for {name}, which is no weight here")

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array, from its header."""
        return self._npz.arrays[name].shape

    def verified(self, name: str) -> MappedArray:
        """An array whose data have been compared with the archive's checksum."""
        array = self._npz.arrays[name]
        self._npz.verify(array)
        return array

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


def _compare_array(path: str, array: MappedArray, wanted: Expected, weight_format: str | None) -> None:
    where = f"{path}: array {array.name}"
    if wanted.is_weight:
        if not isinstance(weight_format, str) or weight_format not in STORED_AS:
            raise CheckpointError(
                f"{where}: config.json declares format {weight_format!r}; expected one of {', '.join(STORED_AS)}"
            )
        dtype = STORED_AS[weight_format]
        if array.dtype != dtype:
            raise CheckpointError(
                f"{where}: is stored as {array.dtype}; its declared format {weight_format} is stored as {dtype}"
            )
    elif array.dtype != np.uint8:
        raise CheckpointError(f"{where}: is stored as {array.dtype}; expected uint8 (bytes)")
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
        raise CheckpointError(f"{path}: format is {config.get('format')!r}; expected {FORMAT!r}")
    if type(config.get("version")) is not int or config["version"] != VERSION:
        raise CheckpointError(
            f"{path}: format version is {config.get('version')!r}; this lm-meter reads version {VERSION}; update it or "
            "write the checkpoint again"
        )
    for key, kind in (("architecture", str), ("tokenizer", dict), ("formats", dict)):
        if not isinstance(config.get(key), kind):
            raise CheckpointError(f"{path}: config.json has no {key} ({kind.__name__}); see checkpoints/README.md")
    origin = config.get("origin", "")
    if not isinstance(origin, str) or len(origin.splitlines()) > 1:
        raise CheckpointError(f"{path}: origin is {origin!r:.40}; expected one line of text")
    return config
