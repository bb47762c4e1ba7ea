"""The packed weights of a model: one block of memory that a step walks through from beginning to end."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .checkpoint import Checkpoint
from .errors import CheckpointError
from .kernels import formats
from .kernels.lanes import LANES
from .kernels.packing import ALL_FINITE, exponent_mask, pack_blocks, packed_blocks
from .kernels.product import NO_BIAS, Matrix
from .npz import ALIGNMENT
from .threads import ThreadTeam

FORMAT_CODES = {"float32": formats.FLOAT32, "float16": formats.FLOAT16, "bfloat16": formats.BFLOAT16}
_HUGE_PAGE = 2 << 20
# Bytes of a matrix that are packed before their pages of the file are given back: both copies are never resident.
_SLAB = 16 << 20


@dataclass(frozen=True)
class MatrixSource:
    """A matrix of a checkpoint that is to be packed: names of its weight and bias, and its interleaved groups."""

    weight: str
    bias: str | None
    groups: int = 1


def _aligned(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT


def _allocate(size: int) -> np.ndarray:
    """Zeroed memory on a page boundary, in huge pages where the system grants them: fewer address look-ups."""
    memory = mmap.mmap(-1, max(size, 1))
    if size >= _HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages: slower, not wrong
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)


def row_major(checkpoint: Checkpoint, name: str) -> np.ndarray:
    """A weight array as it is stored, mapped and not copied, as bytes; its values are checked to be finite."""
    array = checkpoint.verified(name)
    code = FORMAT_CODES[checkpoint.formats[name]]
    bits = checkpoint.weight_bits(array)
    mask = exponent_mask(code)
    rows = max(1, _SLAB // max(1, bits[:1].nbytes))
    for first in range(0, len(bits), rows):
        _check_finite(checkpoint, name, bits[first : first + rows], mask, first)
    return bits.reshape(-1).view(np.uint8)


def _check_finite(checkpoint: Checkpoint, name: str, bits: np.ndarray, mask: np.unsignedinteger, first: int) -> None:
    bad = (bits & mask) == mask
    if bad.any():
        _raise_not_finite(checkpoint, name, first + int(np.argmax(bad.reshape(len(bad), -1).any(axis=1))))


def _raise_not_finite(checkpoint: Checkpoint, name: str, row: int) -> None:
    raise CheckpointError(
        f"{checkpoint.path}: array {name} has a NaN or infinite weight in row {row}; all must be finite"
    )


def pack_weights(
    checkpoint: Checkpoint, sources: Sequence[MatrixSource], team: ThreadTeam
) -> tuple[np.ndarray, list[Matrix]]:
    """Pack matrices and their biases into one array.

    Returns
    -------
    (bytes,) uint8 array, 64-byte aligned, and where each matrix lies in it
    """
    size = 0
    matrices = []
    for source in sources:
        rows, columns = checkpoint.shape(source.weight)
        blocks = packed_blocks(rows, source.groups)
        code = FORMAT_CODES[checkpoint.formats[source.weight]]
        offset, size = size, _aligned(size + blocks * columns * LANES * formats.ITEM_BYTES[code])
        bias_offset, bias_code = NO_BIAS, code
        if source.bias is not None:
            bias_code = FORMAT_CODES[checkpoint.formats[source.bias]]
            bias_offset, size = size, _aligned(size + blocks * LANES * formats.ITEM_BYTES[bias_code])
        matrices.append(Matrix(offset, code, rows, columns, bias_offset, bias_code))
    arena = _allocate(size)
    for source, matrix in zip(sources, matrices, strict=True):
        _pack(checkpoint, source.weight, source.groups, (arena, matrix.offset, matrix.code), team)
        if source.bias is not None:
            _pack(checkpoint, source.bias, source.groups, (arena, matrix.bias_offset, matrix.bias_code), team)
    return arena, matrices


def _pack(checkpoint: Checkpoint, name: str, groups: int, place: tuple[np.ndarray, int, int], team: ThreadTeam) -> None:
    arena, offset, code = place
    array = checkpoint.verified(name)
    bits = checkpoint.weight_bits(array).reshape(array.shape[0], -1)
    rows, columns = bits.shape
    blocks = packed_blocks(rows, groups)
    item = formats.ITEM_BYTES[code]
    target = arena[offset : offset + blocks * columns * LANES * item].view(bits.dtype).reshape(blocks, columns, LANES)
    mask = exponent_mask(code)
    slab = max(1, _SLAB // (columns * LANES * item))
    failed = np.full(team.threads, ALL_FINITE, np.int64)
    for first in range(0, blocks, slab):
        last = min(first + slab, blocks)

        def work(thread: int, first: int = first, last: int = last) -> None:
            share = tuple(first + (last - first) * (thread + i) // team.threads for i in (0, 1))
            failed[thread] = pack_blocks(bits, target, groups, mask, share)

        team.run(work)
        for row in failed:
            if row != ALL_FINITE:
                _raise_not_finite(checkpoint, name, int(row))
        checkpoint.forget(array)
