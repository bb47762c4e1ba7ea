"""Parameter storage: every tensor that inference needs, at its declared width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import prod
from typing import Any

from .checkpoint import Checkpoint
from .profiles import Profile

# A model has "something quantised below 16 bits" if any tensor is narrower than this.
_FREE_WIDTH = 16
# Formats of the arrays that belong to weights, by their role.
PART_FORMATS = {"scales": "float16", "offsets": "float16", "codebook": "int8"}


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
    stored = []
    for name, declared in checkpoint.formats.items():
        for part, array in checkpoint.parts[name].items():
            values = array.role == "values"
            shape = checkpoint.shape(name) if values else checkpoint.stored_shape(part)
            kind = declared.format if values else PART_FORMATS[array.role]
            width = declared.bits if values else array.dtype.itemsize * 8
            stored.append(Tensor(part, shape, kind, width, prod(shape), role=array.role))
    for name, source in checkpoint.architecture.tied(checkpoint.model_config).items():
        declared = checkpoint.formats[source]
        stored.append(Tensor(name, checkpoint.shape(source), declared.format, declared.bits, 0, source))
    return stored


def is_narrow(tensors: Sequence[Tensor]) -> bool:
    """Whether anything is quantised below 16 bits."""
    return any(tensor.role == "values" and tensor.width < _FREE_WIDTH for tensor in tensors)


def priced_parameters(tensors: Sequence[Tensor], profile: Profile) -> Fraction:
    """Parameters in the profile's unit."""
    narrow = is_narrow(tensors)
    return sum((tensor.count * profile.parameter(tensor.width, narrow) for tensor in tensors), Fraction(0))


def total_bits(tensors: Sequence[Tensor]) -> int:
    """Bits that the tensors occupy."""
    return sum(tensor.count * tensor.width for tensor in tensors)


def tensors_to_json(tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Tensors as plain objects."""
    return [{**asdict(tensor), "shape": list(tensor.shape)} for tensor in tensors]


def tensors_from_json(entries: Sequence[dict[str, Any]]) -> list[Tensor]:
    """The inverse of ``tensors_to_json``."""
    return [Tensor(**{**entry, "shape": tuple(entry["shape"])}) for entry in entries]
