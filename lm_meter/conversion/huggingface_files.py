"""Which files of a Hugging Face folder are its model: the library's own rule, and nothing beside it.

``model.safetensors`` if it is there; else the files that ``model.safetensors.index.json`` names, each with exactly the
tensors that it is said to hold. Other safetensors files in the folder are of another save, or of another program.
"""

from __future__ import annotations

from collections.abc import Mapping
from os.path import lexists
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .json_object import read_json_object
from .safetensors_file import read_safetensors

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def has_weights(folder: Path) -> bool:
    """Whether a folder has the weights of a model, whole or in parts; what cannot be read says so when it is read."""
    return lexists(folder / WHOLE) or lexists(folder / INDEX)


def other_weights(folder: Path) -> str:
    """What is said of a folder that has not the weights that it should have."""
    expected = f"expected {WHOLE}, or {INDEX} and the files that it names"
    if any(folder.glob("pytorch_model*.bin")):
        return (
            f"it has its weights as pytorch_model.bin only; {expected}: write them with "
            "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER) of the transformers library"
        )
    others = sorted(file.name for file in folder.glob("*.safetensors"))
    if others:
        return f"it has {others[0]}, but nothing says that this is the whole model; {expected}"
    return f"it has no weights; {expected}"


def read_tensors(folder: Path) -> dict[str, Mapping[str, Any]]:
    """All tensors of the model by name: ``dtype``, ``shape`` and ``data`` of each.

    Raises
    ------
    CheckpointError
        Where there are no weights, a file is damaged or missing, or the index and its files do not agree.
    """
    if lexists(folder / WHOLE):
        return read_safetensors(folder / WHOLE)
    if not lexists(folder / INDEX):
        raise CheckpointError(f"{folder}: {other_weights(folder)}")
    places = _index(folder / INDEX)
    files = sorted(set(places.values()))
    missing = [name for name in files if not (folder / name).exists()]
    if missing:
        raise CheckpointError(
            f"{folder / INDEX}: names {missing[0]!r:.80}, which is not there ({len(missing)} of {len(files)} files are "
            "missing); expected all of them beside it"
        )
    tensors: dict[str, Mapping[str, Any]] = {}
    for name in files:
        found = read_safetensors(folder / name)
        for tensor in found:
            if places.get(tensor) != name:
                raise CheckpointError(
                    f"{folder / name}: has a tensor {tensor!r:.80}, which {INDEX} does not place there; expected "
                    "files and index of the same save"
                )
        tensors |= found
    for tensor, name in places.items():
        if tensor not in tensors:
            raise CheckpointError(
                f"{folder / name}: has no tensor {tensor!r:.80}, which {INDEX} places there; expected files and index "
                "of the same save"
            )
    return tensors


def _index(file: Path) -> dict[str, str]:
    """Name of the file in which each tensor is."""
    places = read_json_object(file).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{file}: weight_map is {places!r:.40}; expected a file name for each tensor")
    for tensor, name in places.items():
        # What stands in a document from elsewhere must not lead out of the folder.
        if not isinstance(name, str) or not name or name == ".." or Path(name).name != name or "\0" in name:
            raise CheckpointError(
                f"{file}: places {tensor!r:.60} in {name!r:.60}; expected the name of a file in the same folder"
            )
    return places
