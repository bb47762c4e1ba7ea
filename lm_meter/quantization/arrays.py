"""Weight arrays of a checkpoint as float32 values, and values as the arrays of a declared format."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..bfloat16 import from_bfloat16, to_bfloat16
from ..checkpoint import Checkpoint
from ..errors import ConfigError
from ..kernels.formats import BFLOAT16, CODEBOOK4, FLOAT16, INT8, is_integer
from ..weight_format import WeightFormat
from .pruning import kept_blocks, spread_blocks
from .rounding import round_weights
from .specification import Specification


@dataclass(frozen=True)
class Weights:
    """Weights as float32, zero where they were pruned; the blocks that are kept, and their shape, if any were."""

    values: np.ndarray
    kept: np.ndarray | None = None
    block: tuple[int, int] | None = None


@dataclass(frozen=True)
class Encoded:
    """A weight array in its new format: declaration, arrays by name, and the float32 values that they stand for."""

    declared: WeightFormat
    arrays: dict[str, np.ndarray]
    values: np.ndarray


def read_weights(checkpoint: Checkpoint, name: str) -> Weights:
    """The weights of an array, whatever it is stored in."""
    declared, shape = checkpoint.formats[name], checkpoint.shape(name)
    stored = checkpoint.view(checkpoint.verified(name))
    numbers = _numbers(checkpoint, name, stored)
    blocks = None
    if declared.block:
        down, across = declared.blocks(shape)
        bits = np.unpackbits(checkpoint.kept(name).mask.bits, bitorder="little")[: down * across]
        blocks = bits.reshape(down, across).astype(bool)
        whole = np.zeros(shape, numbers.dtype)
        whole[spread_blocks(blocks, declared.block)] = numbers
        numbers = whole
    values = numbers.astype(np.float32)
    for part, array in checkpoint.parts[name].items():
        if array.role in ("scales", "offsets"):
            each = checkpoint.view(checkpoint.verified(part)).astype(np.float32)
            grouped = values.reshape(*each.shape, -1)
            grouped[...] = grouped * each[..., None] if array.role == "scales" else grouped + each[..., None]
    return Weights(values, blocks, declared.block)


def _numbers(checkpoint: Checkpoint, name: str, stored: np.ndarray) -> np.ndarray:
    """Floating-point values, or whole numbers without their scales, as they lie in the file."""
    declared = checkpoint.formats[name]
    if declared.code == BFLOAT16:
        return from_bfloat16(stored)
    if declared.stored_bits != 4:
        return stored
    count = checkpoint.values(name) if declared.block else checkpoint.shape(name)[1]
    halves = np.stack([stored & 15, stored >> 4], axis=-1).reshape(*stored.shape[:-1], -1)[..., :count]
    if declared.code == CODEBOOK4:
        return checkpoint.view(checkpoint.verified(f"{name}.codebook"))[halves]
    return (halves ^ 8).astype(np.int8) - np.int8(8)


def declared_as(block: tuple[int, int] | None, wanted: Specification) -> WeightFormat:
    """The new declaration: what was pruned by ``block`` before stays so, unless it is pruned anew."""
    return wanted.declared if wanted.prune else replace(wanted.declared, block=block)


def encode(name: str, weights: Weights, wanted: Specification) -> Encoded:
    """Prune and round weights as specified."""
    declared, values, blocks = declared_as(weights.block, wanted), weights.values, weights.kept
    if wanted.prune and declared.block is not None:
        blocks = kept_blocks(values, declared.block, wanted.prune)
    arrays, kept = {}, None
    if blocks is not None and declared.block is not None:
        kept = spread_blocks(blocks, declared.block)
        values = np.where(kept, values, np.float32(0))
        arrays[f"{name}.mask"] = np.packbits(blocks.reshape(-1), bitorder="little")
    if is_integer(declared.code):
        rounded_arrays, after = _integers(name, values, declared, kept)
        arrays |= rounded_arrays
    else:
        stored, after = _floats(name, values, declared)
        arrays[name] = stored if kept is None else stored[kept]
    if kept is not None:
        after = np.where(kept, after, np.float32(0))
    return Encoded(declared, arrays, after)


def _floats(name: str, values: np.ndarray, declared: WeightFormat) -> tuple[np.ndarray, np.ndarray]:
    if declared.code == BFLOAT16:
        stored = to_bfloat16(values)
        after = from_bfloat16(stored)
        if not np.isfinite(after).all():
            raise ConfigError(f"{name}: a weight of {np.abs(values).max():g} does not fit bfloat16; choose float32")
        return stored, after
    if declared.code != FLOAT16:
        return values, values
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if not np.isfinite(halves).all():
        largest = np.abs(values).max()
        raise ConfigError(f"{name}: a weight of {largest:g} does not fit float16; choose bfloat16 or float32")
    return halves, halves.astype(np.float32)


def _integers(
    name: str, values: np.ndarray, declared: WeightFormat, kept: np.ndarray | None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    # What float16 cannot hold is looked for below.
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = round_weights(values, declared, kept)
    if rounded.offsets is not None and not np.isfinite(rounded.offsets).all():
        largest = np.abs(values).max()
        raise ConfigError(
            f"{name}: weights around {largest:g} need an offset that float16 does not have; choose float32"
        )
    if not (np.isfinite(rounded.scales) & (rounded.scales > 0)).all():
        largest = np.abs(values).max()
        raise ConfigError(f"{name}: a weight of {largest:g} needs a scale that float16 does not have; choose float32")
    numbers = rounded.numbers if kept is None else rounded.numbers[kept]
    arrays = {name: numbers if declared.code == INT8 else half_bytes(numbers), f"{name}.scale": rounded.scales}
    if rounded.offsets is not None:
        arrays[f"{name}.offset"] = rounded.offsets
    if rounded.book is not None:
        arrays[f"{name}.codebook"] = rounded.book
    return arrays, rounded.values()


def half_bytes(numbers: np.ndarray) -> np.ndarray:
    """4-bit numbers, two a byte, the first in the low half."""
    even = np.zeros((*numbers.shape[:-1], -(-numbers.shape[-1] // 2) * 2), np.uint8)
    even[..., : numbers.shape[-1]] = numbers.view(np.uint8) & 15
    return even[..., ::2] | (even[..., 1::2] << 4)
