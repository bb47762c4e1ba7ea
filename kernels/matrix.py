"""Where a packed matrix lies, what its numbers mean and how it is multiplied: a row of int64 for the compiled code."""

from __future__ import annotations

from typing import NamedTuple

from .formats import FLOAT32, ITEM_BYTES, SCALE_BYTES, STORED_BITS, UNIT_BYTES, UNIT_COLUMNS, is_integer
from .jit import inlined, kernel
from .lanes import LANES

NONE = -1
FLOAT_BITS = 32
HALF_BITS = 16  # of inputs that are rounded to float16
INTEGER_BITS = 8  # of inputs that are quantised

_ALIGNMENT = 64


class Matrix(NamedTuple):
    """A packed matrix and its bias in the array of weights: all int64, offsets and distances in bytes."""

    rows: int
    columns: int
    offset: int
    code: int  # format of the weights
    block_bytes: int  # from one block of 16 rows to the next
    group: int  # columns that share a scale, where the format has scales; else all
    scales_at: int  # from a row block's beginning to its scales: sixteen for each group, then the offsets likewise
    has_offsets: int
    book_offset: int  # 16 int8, or NONE
    input_bits: int
    accumulator_bits: int
    bias_offset: int  # NONE where there is none; in the order of the packed rows, padded to whole blocks
    bias_code: int
    multiply: int  # address of the loop that multiplies; 0 where only the cost laws are wanted

    @property
    def nbytes(self) -> int:
        """Bytes of the weights, scales, offsets and biases that a product reads, padding not counted."""
        scales = (1 + self.has_offsets) * (self.columns // self.group) * SCALE_BYTES if is_integer(self.code) else 0
        bias = 0 if self.bias_offset == NONE else ITEM_BYTES[self.bias_code]
        return self.rows * (-(-self.columns * STORED_BITS[self.code] // 8) + scales + bias)


class Scheme(NamedTuple):
    """How the weights of a matrix are stored and multiplied."""

    code: int = FLOAT32
    group: int | None = None  # None: all columns of a row
    has_offsets: bool = False
    input_bits: int = FLOAT_BITS
    accumulator_bits: int = FLOAT_BITS


def place_matrix(shape: tuple[int, int], scheme: Scheme, offset: int = 0) -> Matrix:
    """A matrix of (rows, columns) at ``offset``, without bias and code book."""
    rows, columns = shape
    code, group = scheme.code, scheme.group or columns
    groups = columns // group
    scales_at = groups * -(-group // UNIT_COLUMNS[code]) * UNIT_BYTES[code]
    block_bytes = scales_at
    if is_integer(code):
        scales = (1 + scheme.has_offsets) * groups * LANES * SCALE_BYTES
        block_bytes = -(-(scales_at + scales) // _ALIGNMENT) * _ALIGNMENT
    return Matrix(
        rows, columns, offset, code, block_bytes, group, scales_at, int(scheme.has_offsets), NONE,
        scheme.input_bits, scheme.accumulator_bits, NONE, FLOAT32, 0,
    )  # fmt: skip


@inlined
def matrix_at(table, index):
    """Row ``index`` of an (n, 14) int64 table as a Matrix."""
    r = table[index]
    return Matrix(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13])


@kernel
def groups_of(matrix):
    """Groups of columns in a row."""
    return matrix.columns // matrix.group
