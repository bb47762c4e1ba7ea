"""What a source is that no format fits: what it looks like, and what to do about it."""

from __future__ import annotations

from os.path import lexists
from pathlib import Path

from ..errors import LmMeterError
from ..npz import Npz
from ..regular_file import open_regular
from .huggingface_files import INDEX, WHOLE, has_weights, other_weights
from .llama2c import differs
from .torch_file import is_torch_file
from .word_language_model import TOLD_BY

_HEADER_SIZE = 8  # bytes that say how long the JSON at the beginning of a safetensors file is


def looks_like(path: Path) -> str:
    """What is said of a file or folder that is not recognised."""
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        return "it is neither a file nor a folder"
    if _is_checkpoint(path):
        return "it is a checkpoint of lm-meter already; eval takes it as it is"
    if _is_safetensors(path):
        return "it is a file of tensors alone; name the folder that has it, as model.safetensors, and config.json"
    if is_torch_file(path):
        return (
            f"it is a file of PyTorch without a tensor {TOLD_BY}, which state dicts of word_language_model have "
            "(torch.save(model.state_dict(), FILE)); other models are read from their Hugging Face folder, with "
            f"config.json and {WHOLE}"
        )
    return differs(path) or "it begins as none of them does; expected a model as one of these programs writes it"


def _of_folder(path: Path) -> str:
    if lexists(path / "config.json"):
        return other_weights(path)
    if has_weights(path):
        return "it has weights, but no config.json; expected both"
    inside = sorted(file.name for file in path.glob("*.gguf"))
    if inside:
        return f"it is a folder; name the file in it, {inside[0]}"
    return f"it is a folder without config.json beside {WHOLE} or {INDEX}, and without manifest.json beside vocab.json"


def _is_checkpoint(path: Path) -> bool:
    try:
        Npz(path)
    except LmMeterError:
        return False
    return True


def _is_safetensors(path: Path) -> bool:
    with open_regular(path) as file:
        begin = file.read(_HEADER_SIZE + 1)
    return begin[_HEADER_SIZE:] == b"{" and int.from_bytes(begin[:_HEADER_SIZE], "little") < path.stat().st_size
