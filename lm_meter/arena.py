"""The packed weights of a model: one block of memory that a step walks through from beginning to end."""

from __future__ import annotations

import contextlib
import itertools
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .charged_width import charged_crosswise, charged_width
from .checkpoint import Checkpoint
from .errors import CheckpointError
from .kernels.formats import CODEBOOK4, CODEBOOK_ENTRIES, ITEM_BYTES, is_integer
from .kernels.lanes import LANES
from .kernels.matrix import DENSE, Matrix, place_matrix
from .kernels.multiply import loop_of, multiply_address
from .kernels.packing import ALL_FINITE, Split, exponent_mask, pack_blocks, pack_integers, packed_blocks
from .kernels.sparse import FIELDS as TABLE_FIELDS
from .kernels.sparse import OVERREAD, measure_sparse, pack_sparse, sparse_bytes
from .npz import ALIGNMENT
from .threads import ThreadTeam
from .weight_values import check_declared_grid, check_values, raise_not_finite

_HUGE_PAGE = 2 << 20
# Bytes of a matrix that are packed before their pages of the file are given back: both copies are never resident.
_SLAB = 16 << 20


@dataclass(frozen=True)
class MatrixSource:
    """A matrix of a checkpoint that is to be packed.

    Names of its weight and bias, its interleaved parts, whether its rows are the columns of what is stored, and its
    sections.
    """

    weight: str
    bias: str | None
    interleaved: int = 1
    transposed: bool = False
    sections: int = 1

    @property
    def split(self) -> Split:
        """How its rows are packed."""
        return Split(max(self.interleaved, self.sections), self.interleaved > 1)


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
    """A floating-point weight array as it is stored, mapped and not copied, as bytes; its values are checked."""
    check_values(checkpoint, name)
    return checkpoint.weight_bits(checkpoint.verified(name)).reshape(-1).view(np.uint8)


def pack_weights(
    checkpoint: Checkpoint, sources: Sequence[MatrixSource], team: ThreadTeam, vectors: Sequence[str] = ()
) -> tuple[np.ndarray, list[Matrix], dict[str, tuple[int, int]]]:
    """Pack matrices with their biases, and vectors, into one array.

    Returns
    -------
    (bytes,) uint8 array, 64-byte aligned; where each matrix lies in it; offset and format of each vector
    """
    matrices, tables, size = _layout(checkpoint, sources)
    places = {}
    for name in vectors:
        code = checkpoint.formats[name].code
        places[name] = size, code
        size = _aligned(size + packed_blocks(checkpoint.shape(name)[0]) * LANES * ITEM_BYTES[code])
    arena = _allocate(size)
    for name, (offset, _) in places.items():
        _pack_floats(checkpoint, MatrixSource(name, None), (arena, offset), team)
    for source, matrix in zip(sources, matrices, strict=True):
        if matrix.pruned != DENSE:
            _pack_pruned(checkpoint, source, (arena, matrix), tables[source.weight], team)
        elif is_integer(matrix.code):
            _pack_integers(checkpoint, source, (arena, matrix), team)
        else:
            _pack_floats(checkpoint, source, (arena, matrix.offset), team)
        if source.bias is not None:
            bias = replace(source, weight=source.bias, bias=None, transposed=False)
            _pack_floats(checkpoint, bias, (arena, matrix.bias_offset), team)
    return arena, matrices, places


def describe_matrix(checkpoint: Checkpoint, source: MatrixSource) -> Matrix:
    """A matrix as the cost laws want it: it lies nowhere yet."""
    shape, declared = checkpoint.shape(source.weight), checkpoint.formats[source.weight]
    if source.transposed:
        if is_integer(declared.code) or declared.block:
            raise CheckpointError(
                f"{checkpoint.path}: array {source.weight}: is {' '.join(declared.words())}, but is used transposed "
                "too; expected floating-point numbers, none pruned, or adaptive.tied_projections: false"
            )
        shape = shape[::-1]
    matrix = place_matrix(shape, declared.scheme(shape[1]))._replace(sections=source.sections)
    if declared.block:
        counts = checkpoint.kept(source.weight).counts
        matrix = matrix._replace(terms=int(counts.sum()), filled=int((counts > 0).sum()))
    charged = (charged_crosswise if source.transposed else charged_width)(checkpoint, source.weight)
    matrix = matrix._replace(bits=charged.width.bits, steps=charged.steps, step_bits=charged.width.step_bits)
    if source.bias is None:
        return matrix
    bias = charged_width(checkpoint, source.bias).width
    matrix = matrix.biased(checkpoint.formats[source.bias].code)
    return matrix._replace(bias_bits=bias.bits, bias_step_bits=bias.step_bits)


def _layout(checkpoint: Checkpoint, sources: Sequence[MatrixSource]) -> tuple[list[Matrix], dict[str, np.ndarray], int]:
    """Where each matrix, its code book and its bias will lie, the tables of the pruned ones, and the size of all."""
    matrices, tables, size = [], {}, 0

    def reserve(nbytes: int) -> int:
        nonlocal size
        offset, size = size, _aligned(size + nbytes)
        return offset

    for source in sources:
        matrix = describe_matrix(checkpoint, source)
        blocks = packed_blocks(matrix.rows, source.split.parts)
        nbytes = blocks * matrix.block_bytes
        if matrix.pruned != DENSE:
            table = np.zeros((blocks + 1, TABLE_FIELDS), np.int64)
            mask = checkpoint.kept(source.weight).mask
            nbytes = table.nbytes + measure_sparse(mask, matrix, source.split, table) + OVERREAD
            matrix = matrix._replace(data_bytes=sparse_bytes(table))
            tables[source.weight] = table
        matrix = matrix._replace(offset=reserve(nbytes), multiply=multiply_address(loop_of(matrix)))
        if matrix.code == CODEBOOK4:
            matrix = matrix._replace(book_offset=reserve(CODEBOOK_ENTRIES))
        if source.bias is not None:
            matrix = matrix._replace(bias_offset=reserve(blocks * LANES * ITEM_BYTES[matrix.bias_code]))
        matrices.append(matrix)
    return matrices, tables, size


def _shares(blocks: int, block_bytes: int, team: ThreadTeam) -> Iterator[list[tuple[int, int]]]:
    """Slabs of row blocks, each split over the threads."""
    slab = max(1, _SLAB // block_bytes)
    for first in range(0, blocks, slab):
        last = min(first + slab, blocks)
        cuts = [first + (last - first) * thread // team.threads for thread in range(team.threads + 1)]
        yield list(itertools.pairwise(cuts))


def _pack_floats(checkpoint: Checkpoint, source: MatrixSource, place: tuple[np.ndarray, int], team: ThreadTeam) -> None:
    (arena, offset), name = place, source.weight
    array = checkpoint.verified(name)
    bits = checkpoint.weight_bits(array).reshape(array.shape[0], -1)
    if source.transposed:
        bits = np.ascontiguousarray(bits.T)
    rows, columns = bits.shape
    blocks = packed_blocks(rows, source.split.parts)
    block_bytes = columns * LANES * bits.itemsize
    target = arena[offset : offset + blocks * block_bytes].view(bits.dtype).reshape(blocks, columns, LANES)
    mask = exponent_mask(checkpoint.formats[name].code)
    failed = np.full(team.threads, ALL_FINITE, np.int64)
    for shares in _shares(blocks, block_bytes, team):

        def work(thread: int, shares: list[tuple[int, int]] = shares) -> None:
            failed[thread] = pack_blocks(bits, target, source.split, mask, shares[thread])

        team.run(work)
        for row in failed:
            if row != ALL_FINITE:
                raise_not_finite(checkpoint, name, int(row))
        checkpoint.forget(array)
    check_declared_grid(checkpoint, name)


def _place_book(checkpoint: Checkpoint, weight: str, arena: np.ndarray, matrix: Matrix) -> None:
    if matrix.code == CODEBOOK4:
        book = checkpoint.bytes(f"{weight}.codebook")
        arena[matrix.book_offset : matrix.book_offset + len(book)] = np.frombuffer(book, np.uint8)


def _pack_integers(
    checkpoint: Checkpoint, source: MatrixSource, place: tuple[np.ndarray, Matrix], team: ThreadTeam
) -> None:
    arena, matrix = place
    check_values(checkpoint, source.weight)
    scales = []
    for name, part in checkpoint.parts[source.weight].items():
        if part.role in ("scales", "offsets"):
            scales.append(checkpoint.weight_bits(checkpoint.verified(name)))
    _place_book(checkpoint, source.weight, arena, matrix)
    values = checkpoint.verified(source.weight)
    stored = checkpoint.view(values)
    halves = np.stack(scales)
    blocks = packed_blocks(matrix.rows, source.split.parts)
    target = arena[matrix.offset : matrix.offset + blocks * matrix.block_bytes].reshape(blocks, matrix.block_bytes)
    for shares in _shares(blocks, matrix.block_bytes, team):

        def work(thread: int, shares: list[tuple[int, int]] = shares) -> None:
            pack_integers(stored, halves, matrix, source.split, shares[thread], target)

        team.run(work)
        checkpoint.forget(values)


def _pack_pruned(
    checkpoint: Checkpoint,
    source: MatrixSource,
    place: tuple[np.ndarray, Matrix],
    table: np.ndarray,
    team: ThreadTeam,
) -> None:
    arena, matrix = place
    name = source.weight
    check_values(checkpoint, name)
    kept, parts = checkpoint.kept(name), {part.role: key for key, part in checkpoint.parts[name].items()}
    _place_book(checkpoint, name, arena, matrix)
    scales = np.zeros(0, np.uint16)
    if "scales" in parts:
        scales = checkpoint.weight_bits(checkpoint.verified(parts["scales"])).reshape(-1)
    values = checkpoint.verified(name)
    nbytes = table.nbytes + matrix.data_bytes
    target = arena[matrix.offset : matrix.offset + nbytes]
    target[: table.nbytes] = table.reshape(-1).view(np.uint8)
    held = (kept.mask, checkpoint.view(values).view(np.uint8), kept.starts, scales)
    for shares in _shares(len(table) - 1, max(1, nbytes // len(table)), team):

        def work(thread: int, shares: list[tuple[int, int]] = shares) -> None:
            pack_sparse(held, matrix, source.split, shares[thread], target, np.zeros((2, LANES), np.int64))

        team.run(work)
    checkpoint.forget(values)
