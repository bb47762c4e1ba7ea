"""Parameter storage: every tensor that inference needs, at its declared width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import prod
from typing import Any

from .checkpoint import Checkpoint
from .profiles import Profile

# A model has "something quantised below 16 bits" if any tensor is narrower than this.
_FREE_WIDTH = 16
# Formats of what belongs to weights, by its role; the values of a grid have the format of the weights themselves.
PART_FORMATS = {"scales": "float16", "offsets": "float16", "codebook": "int8", "mask": "mask"}
LEVELS = "levels"
ROLES = ("values", *PART_FORMATS, LEVELS)


@dataclass(frozen=True)
class Tensor:
    """A tensor: ``count`` numbers of ``width`` bits. One that is tied to another is stored there and counts 0.

    ``role``: "values", or what the numbers are to the values of the tensor whose name comes before the last point.
    """

    name: str
    shape: tuple[int, ...]
    format: str
    width: int
    count: int
    tied_to: str | None = None
    role: str = "values"


def tensors_of(checkpoint: Checkpoint) -> list[Tensor]:
    """All weight tensors of a checkpoint, the tied ones included."""
    found = []
    for name, declared in checkpoint.formats.items():
        found += [_part(checkpoint, name, part) for part in checkpoint.parts[name]]
        if declared.grid is not None:
            # What an index of so many bits refers to: the weights are stored wide, but counted as indices.
            table = (*declared.groups(checkpoint.shape(name)), 1 << declared.grid)
            width = declared.stored_bits
            found.append(Tensor(f"{name}.{LEVELS}", table, declared.format, width, prod(table), role=LEVELS))
    for name, source in checkpoint.architecture.tied(checkpoint.model_config).items():
        declared = checkpoint.formats[source]
        found.append(Tensor(name, checkpoint.shape(source), declared.format, declared.bits, 0, source))
    return found


def _part(checkpoint: Checkpoint, name: str, part: str) -> Tensor:
    """One of the arrays in which a weight array is stored."""
    declared, whole = checkpoint.formats[name], checkpoint.shape(name)
    array = checkpoint.parts[name][part]
    if array.role == "values":
        shape = (checkpoint.values(name),) if declared.block else whole
        return Tensor(part, shape, declared.format, declared.bits, prod(shape))
    if array.role == "mask":
        blocks = declared.blocks(whole)
        return Tensor(part, blocks, PART_FORMATS[array.role], 1, prod(blocks), role=array.role)
    shape, width = checkpoint.stored_shape(part), array.dtype.itemsize * 8
    return Tensor(part, shape, PART_FORMATS[array.role], width, prod(shape), role=array.role)


def is_narrow(tensors: Sequence[Tensor]) -> bool:
    """Whether anything is quantised below 16 bits."""
    return any(tensor.role == "values" and tensor.width < _FREE_WIDTH for tensor in tensors)


def priced_parameters(tensors: Sequence[Tensor], profile: Profile) -> Fraction:
    """Parameters in the profile's unit."""
    narrow = is_narrow(tensors)
    return sum((tensor.count * profile.parameter(tensor.width, narrow) for tensor in tensors), Fraction(0))


def priced_tables(tokenizer: Mapping[str, Any] | None, profile: Profile) -> Fraction | None:
    """The tables of a tokenizer, as a result has them, in the profile's unit; None where they are unknown or free."""
    if tokenizer is None or profile.table_bits is None:
        return None
    is_free = tokenizer["is_given"] and profile.is_vocabulary_free
    return Fraction(0 if is_free else tokenizer["bits"], profile.table_bits)


def total_bits(tensors: Sequence[Tensor]) -> int:
    """Bits that the tensors occupy."""
    return sum(tensor.count * tensor.width for tensor in tensors)


def tensors_to_json(tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Tensors as plain objects."""
    return [{**asdict(tensor), "shape": list(tensor.shape)} for tensor in tensors]


def tensors_from_json(entries: Sequence[dict[str, Any]]) -> list[Tensor]:
    """The inverse of ``tensors_to_json``."""
    return [Tensor(**{**entry, "shape": tuple(entry["shape"])}) for entry in entries]
