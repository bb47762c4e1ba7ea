"""Character LSTMs of TensorFlow: a folder of dumped variables, as models for web pages were published.

The folder has ``manifest.json`` (file name and shape of each variable), ``vocab.json`` (number of each character), and
for each variable a file of raw little-endian float32 numbers. The variables are those of ``BasicLSTMCell``: a layer
computes ``[x, h] @ kernel + bias``, (inputs + H, 4 H) and (4 H,), its columns being the gates i, g, f, o (TensorFlow
calls g "j"), and adds 1.0 to the forget gate as it runs. A checkpoint holds [4 H, inputs + H] with rows i, f, g, o, and
nothing is added. The model has no start token: it is evaluated with ``--first-token skip``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..regular_file import open_regular
from .json_object import read_json_object
from .parts import Parts

# Added by the cell to the forget gate before its sigmoid (``forget_bias`` of BasicLSTMCell, its default).
_FORGET_BIAS = np.float32(1.0)
# Where the gates i, f, g, o stand among the source's i, g, f, o.
_GATES = [0, 2, 1, 3]
_FORGET = 1  # among ours
_MOST_MANIFEST_BYTES = 1 << 20  # that are looked at to recognise one
_CELL = "rnnlm/multi_rnn_cell/cell_{}/basic_lstm_cell/"


def is_tensorflow(path: Path) -> bool:
    """Whether a folder has a vocabulary and a manifest that names variables of BasicLSTMCell."""
    manifest = path / "manifest.json"
    if not (manifest.is_file() and (path / "vocab.json").is_file()):
        return False
    with open_regular(manifest) as file:
        return b"basic_lstm_cell" in file.read(_MOST_MANIFEST_BYTES)


class _Dump:
    """The variables of a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "manifest.json"
        self._manifest = read_json_object(self._file)
        self._taken: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether the manifest has a variable."""
        return name in self._manifest

    def shape(self, name: str) -> list[int]:
        """Shape of a variable, as the manifest has it."""
        return self._entry(name)[1]

    def take(self, name: str, *expected: int | str) -> np.ndarray:
        """A float32 variable of an expected shape, in which a letter stands for any size."""
        file, shape = self._entry(name)
        fits = len(shape) == len(expected) and all(
            isinstance(size, str) or size == found for size, found in zip(expected, shape, strict=True)
        )
        if not fits:
            wanted = ", ".join(str(size) for size in expected)
            raise CheckpointError(f"{self._file}: variable {name} has the shape {shape}; expected [{wanted}]")
        with open_regular(file) as opened:
            size, raw = os.fstat(opened.fileno()).st_size, b""
            if size == 4 * math.prod(shape):
                raw = opened.read(size)
        if len(raw) != size or size != 4 * math.prod(shape):
            raise CheckpointError(f"{file}: has {size} bytes; manifest.json gives it float32 numbers of shape {shape}")
        self._taken.add(name)
        return np.frombuffer(raw, "<f4").reshape(shape)

    def _entry(self, name: str) -> tuple[Path, list[int]]:
        if name not in self._manifest:
            raise CheckpointError(f"{self._file}: has no variable {name}; expected a dump of BasicLSTMCell")
        entry = self._manifest[name]
        file: Any = entry.get("filename") if isinstance(entry, dict) else None
        shape: Any = entry.get("shape") if isinstance(entry, dict) else None
        # The name of a file that stands in a document from elsewhere must not lead out of the folder.
        if not isinstance(file, str) or Path(file).name != file or "\0" in file or not _is_shape(shape):
            raise CheckpointError(
                f"{self._file}: variable {name} is {entry!r:.60}; expected the filename of one beside it, and a shape"
            )
        return self._folder / file, shape

    def all_taken(self) -> None:
        """Refuse variables that nobody took: they belong to another model. Scalars are training's counters."""
        for name, entry in self._manifest.items():
            if name not in self._taken and not (isinstance(entry, dict) and entry.get("shape") == []):
                raise CheckpointError(
                    f"{self._file}: has a variable {name!r:.80}, which no plain BasicLSTMCell model has"
                )


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)


def read_tensorflow(path: Path, tokenizer: Path | None) -> Parts:
    """Read a dump; its vocabulary is in the folder."""
    if tokenizer is not None:
        raise CheckpointError(
            f"--tokenizer {tokenizer}: a TensorFlow dump has its own vocab.json; leave the option away"
        )
    dump = _Dump(path)
    characters = _characters(path / "vocab.json")
    arrays = {"embedding": dump.take("embedding", len(characters), "E")}
    inputs = arrays["embedding"].shape[1]
    hidden: list[int] = []
    while not hidden or dump.has(_CELL.format(len(hidden)) + "kernel"):
        layer, cell = len(hidden), _CELL.format(len(hidden))
        units = math.prod(dump.shape(cell + "bias")) // 4
        kernel, bias = dump.take(cell + "kernel", inputs + units, 4 * units), dump.take(cell + "bias", 4 * units)
        weight, bias = _layer(kernel, bias)
        arrays |= {f"lstm.{layer}.weight": weight, f"lstm.{layer}.bias": bias}
        hidden.append(units)
        inputs = units
    arrays["softmax.weight"] = np.ascontiguousarray(dump.take("rnnlm/softmax_w", inputs, len(characters)).T)
    arrays["softmax.bias"] = dump.take("rnnlm/softmax_b", len(characters))
    dump.all_taken()
    config = {
        "architecture": "lstm",
        "dimensions": {
            "vocabulary": len(characters), "embedding": arrays["embedding"].shape[1], "hidden": hidden,
            "projection": None,
        },
        "tied": False,
        "bias": {"lstm": True, "projection": False, "softmax": True},
        "tokenizer": {"kind": "characters"},
        "formats": dict.fromkeys(arrays, "float32"),
    }  # fmt: skip
    arrays["tokenizer.characters"] = np.frombuffer(characters.encode(), np.uint8)
    return Parts(config, arrays, "the format has none")


def _layer(kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight [4 H, inputs + H] and bias [4 H] of a checkpoint from a kernel [inputs + H, 4 H] and its bias [4 H]."""
    units = bias.size // 4
    weight = kernel.T.reshape(4, units, -1)[_GATES].reshape(4 * units, -1)
    ours = bias.reshape(4, units)[_GATES]
    ours[_FORGET] += _FORGET_BIAS
    return weight, ours.reshape(-1)


def _characters(file: Path) -> str:
    """All characters in the order of their numbers."""
    numbers: Mapping[str, Any] = read_json_object(file)
    whole = all(type(number) is int for number in numbers.values())
    single = all(len(token) == 1 for token in numbers)
    if not whole or not single or sorted(numbers.values()) != list(range(len(numbers))):
        raise CheckpointError(f"{file}: expected single characters numbered from 0 without a gap")
    return "".join(sorted(numbers, key=numbers.__getitem__))
