"""Where a packed matrix lies, what its numbers mean and how it is multiplied: a row of int64 for the compiled code."""

from __future__ import annotations

from typing import NamedTuple

from .formats import (
    FLOAT32,
    ITEM_BYTES,
    OPERAND_BITS,
    SCALE_BITS,
    SCALE_BYTES,
    STORED_BITS,
    UNIT_BYTES,
    UNIT_COLUMNS,
    is_integer,
)
from .jit import inlined, kernel
from .lanes import LANES
from .width import NO_STEP

NONE = -1
FLOAT_BITS = 32
HALF_BITS = 16  # of inputs that are rounded to float16
INTEGER_BITS = 8  # of inputs that are quantised
DENSE = 0  # no columns of a block that was pruned
EXACT, WRAP, SATURATE = range(3)  # what an accumulator does: it holds every sum, or overflows in one of two ways

# Of the table of a pruned matrix, from one row block to the next: four int64.
TABLE_BYTES = 32

_ALIGNMENT = 64


class Matrix(NamedTuple):
    """A packed matrix and its bias in the array of weights: all int64, offsets and distances in bytes."""

    rows: int
    columns: int
    offset: int  # of the first row block, or of the table of a pruned matrix (``sparse.py``)
    code: int  # format of the weights
    block_bytes: int  # from one block of 16 rows, or from one row of the table, to the next
    group: int  # columns that share a scale, where the format has scales; else all
    scales_at: int  # from a row block's beginning to its scales: sixteen for each group, then the offsets likewise
    has_offsets: int
    book_offset: int  # 16 int8, or NONE
    input_bits: int
    accumulator_bits: int
    bias_offset: int  # NONE where there is none; in the order of the packed rows, padded to whole blocks
    bias_code: int
    multiply: int  # address of the loop that multiplies; 0 where only the cost laws are wanted
    pruned: int  # columns of the blocks that were pruned; DENSE: none were
    terms: int  # weights that are kept: rows * columns of a dense matrix
    filled: int  # rows that keep any
    data_bytes: int  # of the weights, scales, offsets, places and masks, padding not counted
    overflow: int  # what an integer accumulator does that is too narrow for its sums
    sections: int  # of a grouped matrix: S runs of rows, of which number s meets inputs s * columns and on; else 1
    bits: int  # declared width of a weight where it meets an input: see ``width.py``
    steps: int  # of a row: numbers that the sums over its groups are multiplied by, scales among them; 0: none
    step_bits: int
    bias_bits: int  # declared width of a bias
    bias_step_bits: int

    @property
    def nbytes(self) -> int:
        """Bytes of the weights and what belongs to them, and of the biases, that a product reads."""
        return self.data_bytes + (0 if self.bias_offset == NONE else self.rows * ITEM_BYTES[self.bias_code])

    def biased(self, code: int, offset: int = 0) -> Matrix:
        """The same with biases of a floating-point format."""
        return self._replace(bias_offset=offset, bias_code=code, bias_bits=STORED_BITS[code])


class Scheme(NamedTuple):
    """How the weights of a matrix are stored and multiplied."""

    code: int = FLOAT32
    group: int | None = None  # None: all columns of a row
    has_offsets: bool = False
    input_bits: int = FLOAT_BITS
    accumulator_bits: int = FLOAT_BITS
    overflow: int = EXACT
    pruned: int = DENSE


def place_matrix(shape: tuple[int, int], scheme: Scheme, offset: int = 0) -> Matrix:
    """A matrix of (rows, columns) at ``offset``, without bias and code book."""
    rows, columns = shape
    code, group = scheme.code, scheme.group or columns
    groups = columns // group
    scales_at = groups * -(-group // UNIT_COLUMNS[code]) * UNIT_BYTES[code]
    block_bytes = scales_at
    data_bytes = rows * -(-columns * STORED_BITS[code] // 8)
    if is_integer(code):
        data_bytes += rows * (1 + scheme.has_offsets) * groups * SCALE_BYTES
        scales = (1 + scheme.has_offsets) * groups * LANES * SCALE_BYTES
        block_bytes = -(-(scales_at + scales) // _ALIGNMENT) * _ALIGNMENT
    if scheme.pruned != DENSE:
        block_bytes = TABLE_BYTES
    steps, step_bits = (groups, SCALE_BITS) if is_integer(code) else (0, NO_STEP)
    return Matrix(
        rows, columns, offset, code, block_bytes, group, scales_at, int(scheme.has_offsets), NONE,
        scheme.input_bits, scheme.accumulator_bits, NONE, FLOAT32, 0, scheme.pruned, rows * columns, rows,
        data_bytes, scheme.overflow, 1, OPERAND_BITS[code], steps, step_bits, 0, NO_STEP,
    )  # fmt: skip


@inlined
def matrix_at(table, index):
    """Row ``index`` of an (n, 25) int64 table as a Matrix."""
    r = table[index]
    return Matrix(
        r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9],
        r[10], r[11], r[12], r[13], r[14], r[15], r[16], r[17], r[18], r[19],
        r[20], r[21], r[22], r[23], r[24],
    )  # fmt: skip


@kernel
def groups_of(matrix):
    """Groups of columns in a row."""
    return matrix.columns // matrix.group


class Load(NamedTuple):
    """What the cost of a product depends on: real rows, the weights they keep, the rows that keep any."""

    rows: int
    terms: int
    filled: int


@kernel
def whole_load(matrix):
    """The load of all rows of a matrix."""
    return Load(matrix.rows, matrix.terms, matrix.filled)
