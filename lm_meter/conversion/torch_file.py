"""Tensors of a file that ``torch.save`` wrote, read as weights only: nothing in the file is ever run.

PyTorch's own reader does it, from 2.10 on: two flaws of older ones let a file run code although only weights were asked
for (CVE-2025-32434, CVE-2026-24747).
"""

from __future__ import annotations

import os
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np

from ..errors import CheckpointError, ConfigError
from ..regular_file import open_regular
from ..zip_directory import DAMAGED, members_of
from .extras import PACKAGES, needed

_SAFE = (2, 10)
_PICKLE = b"\x80"  # begins a pickle of protocol 2 or later, which is what torch.save wrote before it wrote archives
_MOST_NAMES = 16 << 20  # bytes: more than the names and shapes of any model; in older files the numbers come after them
_FLOATS = ("float32", "float16", "bfloat16")


def is_torch_file(path: Path) -> bool:
    """Whether a file is an archive as ``torch.save`` writes them, or a pickle."""
    with open_regular(path) as file:
        begin = file.read(2)
        if len(begin) == 2 and begin[:1] == _PICKLE and 2 <= begin[1] <= 5:
            return True
        try:
            return any(member.filename.endswith("/data.pkl") for member in members_of(file))
        except DAMAGED:
            return False


def names(path: Path, tensor: str) -> bool:
    """Whether the pickle in a file of PyTorch has the name of a tensor; it is searched, never read as a pickle."""
    with open_regular(path) as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return tensor.encode() in file.read(_MOST_NAMES)
        try:
            archive = zipfile.ZipFile(file)
            members = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            return any(tensor.encode() in archive.open(member).read(_MOST_NAMES) for member in members)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, RuntimeError, OSError, EOFError, zlib.error):
            return False


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, all of one type, which is float32, float16, or bfloat16 as bit patterns.

    Raises
    ------
    CheckpointError
        Where the file is none that ``torch.save`` writes, holds anything but tensors by name, or is damaged.
    ConfigError
        Where PyTorch is not installed, or is too old.
    """
    if not is_torch_file(path):
        raise CheckpointError(
            f"{path}: is no file that torch.save writes; expected torch.save(model.state_dict(), FILE)"
        )
    torch = needed("torch", "pytorch")
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < _SAFE:
        raise ConfigError(
            f"PyTorch {torch.__version__} is installed, which may run code that is hidden in a file of weights; "
            f"pip install {PACKAGES['pytorch']}"
        )
    with open_regular(path) as file, warnings.catch_warnings():
        size = os.fstat(file.fileno()).st_size
        _refuse_packed(file, path)
        warnings.simplefilter("ignore")  # what it says of a damaged file besides refusing it
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception:  # of a file from anywhere the reader may raise anything, in many lines
            raise _unread(path) from None
    named = isinstance(state, Mapping) and all(isinstance(name, str) for name in state)
    if not named or not state or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path}: holds no tensors by name alone; expected torch.save(model.state_dict(), FILE)")
    kinds = {name: _kind(tensor, torch) for name, tensor in state.items()}
    first = next(iter(kinds.values()))
    for name, kind in kinds.items():
        if kind != first or kind not in _FLOATS:
            raise CheckpointError(
                f"{path}: tensor {name} is {kind}; expected one of {', '.join(_FLOATS)}, the same for all tensors"
            )
    # One that repeats its numbers (a stride of 0) needs few of them in the file; two that are tied are there once.
    declared = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if declared > 2 * size:
        raise CheckpointError(
            f"{path}: its tensors have {declared} bytes, the file has {size}; expected at most two tensors that are one"
        )
    try:
        return {name: _bits(tensor.detach(), torch) for name, tensor in state.items()}
    except RuntimeError:  # a tensor that is another one's negative has no bits of its own
        raise _unread(path) from None


def _unread(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path}: PyTorch does not read it as weights only; it is damaged, or holds more than tensors (a whole model, "
        "or code, which was not run); expected torch.save(model.state_dict(), FILE)"
    )


def _refuse_packed(file: IO[bytes], path: Path) -> None:
    """Refuse an archive with packed members, which ``torch.save`` does not write: a small one could be large."""
    file.seek(0)
    if file.read(1) != _PICKLE:
        packed = next((info for info in members_of(file) if info.compress_type != zipfile.ZIP_STORED), None)
        if packed is not None:
            raise CheckpointError(
                f"{path}: its member {packed.filename:.60} is compressed; expected an archive as torch.save writes it"
            )
    file.seek(0)


def _kind(tensor: Any, torch: ModuleType) -> str:
    """Type of a tensor's numbers, or else what is special about it."""
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    if tensor.device.type != "cpu":
        return f"on the device {tensor.device}"
    return str(tensor.dtype).removeprefix("torch.")


def _bits(tensor: Any, torch: ModuleType) -> np.ndarray:
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()
