"""Matrix-vector and matrix-matrix products with packed weights, and their bias.

    out[t, r] = sum over j of w[r, j] * x[t, j]  (+ bias[r])

for a run of row blocks and one or several tokens; summation in the order of j (``tile.py``), the bias added last.
"""

from __future__ import annotations

from typing import NamedTuple

from .charge import ADD, MULTIPLY, charge
from .formats import BFLOAT16, BITS, FLOAT16, FLOAT32, ITEM_BYTES
from .jit import inlined, kernel, name_apart
from .lanes import LANES, load, load_bfloat16, load_float16, load_float32, store
from .tile import TILE_BLOCKS, TILE_TOKENS, VECTOR_BLOCKS, make_tile

NO_BIAS = -1
ACTIVATION_BITS = 32


class Matrix(NamedTuple):
    """Where a packed matrix and its bias lie in the array of weights: all int64, offsets in bytes."""

    offset: int
    code: int  # format of the weights
    rows: int
    columns: int
    bias_offset: int  # NO_BIAS where there is none; in the order of the packed rows, padded to whole blocks
    bias_code: int

    @property
    def nbytes(self) -> int:
        """Bytes of the stored weights and biases, padding not counted."""
        bias = 0 if self.bias_offset == NO_BIAS else self.rows * ITEM_BYTES[self.bias_code]
        return self.rows * self.columns * ITEM_BYTES[self.code] + bias


class Span(NamedTuple):
    """A run of row blocks of a packed matrix, and how many of its rows are real ones (the rest is padding)."""

    first: int
    last: int  # exclusive
    rows: int


class Vectors(NamedTuple):
    """Input vectors of one or several tokens: rows row .. row + tokens - 1 of a float32 array."""

    data: object  # (rows, width >= K) float32, C-contiguous
    row: int
    tokens: int


class Place(NamedTuple):
    """Where outputs go: token t and block b to data[row + t, column + 16 b .. column + 16 b + 15]."""

    data: object  # (rows, width) float32, C-contiguous
    row: int
    column: int


@inlined
def matrix_at(table, index):
    """Row ``index`` of an (n, 6) int64 table as a Matrix."""
    return Matrix(table[index, 0], table[index, 1], table[index, 2], table[index, 3], table[index, 4], table[index, 5])


@kernel
def real_rows(first, last, rows):
    """How many of the rows of blocks ``first`` to ``last`` - 1 are among the ``rows`` real ones."""
    return max(0, min(last * LANES, rows) - first * LANES)


@kernel
def product_cost(meter, matrix, rows, tokens):
    """Cost law of ``product``: for each row K multiplies and K - 1 adds, and one add where there is a bias.

    The first term of a sum is not added to anything: fma with an accumulator of zero is a multiply.
    """
    charge(meter, MULTIPLY, BITS[matrix.code], ACTIVATION_BITS, rows * matrix.columns * tokens)
    charge(meter, ADD, ACTIVATION_BITS, ACTIVATION_BITS, rows * (matrix.columns - 1) * tokens)
    if matrix.bias_offset != NO_BIAS:
        charge(meter, ADD, ACTIVATION_BITS, BITS[matrix.bias_code], rows * tokens)


def _make_product(code):
    """The loops over tiles for one weight format."""
    item = ITEM_BYTES[code]
    vector, vector_4, vector_2, vector_1 = (make_tile(blocks, 1, code) for blocks in (VECTOR_BLOCKS, 4, 2, 1))
    tile, narrow_tile = make_tile(TILE_BLOCKS, TILE_TOKENS, code), make_tile(1, TILE_TOKENS, code)

    def multiply(weights, matrix, span, x, out):
        k = matrix.columns
        block_bytes = k * LANES * item
        block = span.first
        if x.tokens == 1:
            while block < span.last:
                left = span.last - block
                at = matrix.offset + block * block_bytes
                place = (out.row, out.column + (block - span.first) * LANES)
                if left >= VECTOR_BLOCKS:
                    vector(weights, at, x.data, x.row, out.data, place, k)
                    block += VECTOR_BLOCKS
                elif left >= 4:
                    vector_4(weights, at, x.data, x.row, out.data, place, k)
                    block += 4
                elif left >= 2:
                    vector_2(weights, at, x.data, x.row, out.data, place, k)
                    block += 2
                else:
                    vector_1(weights, at, x.data, x.row, out.data, place, k)
                    block += 1
            return
        # A group of row blocks meets every token before the next group is read: it stays in the cache meanwhile.
        while block < span.last:
            at = matrix.offset + block * block_bytes
            column = out.column + (block - span.first) * LANES
            if span.last - block >= TILE_BLOCKS:
                for t in range(0, x.tokens, TILE_TOKENS):
                    tile(weights, at, x.data, x.row + t, out.data, (out.row + t, column), k)
                block += TILE_BLOCKS
            else:
                for t in range(0, x.tokens, TILE_TOKENS):
                    narrow_tile(weights, at, x.data, x.row + t, out.data, (out.row + t, column), k)
                block += 1

    name_apart(multiply, ("float32", "float16", "bfloat16")[code])
    return kernel(multiply)


_multiply_float32 = _make_product(FLOAT32)
_multiply_float16 = _make_product(FLOAT16)
_multiply_bfloat16 = _make_product(BFLOAT16)


@inlined
def _bias_lanes(weights, matrix, block):
    offset = matrix.bias_offset + block * LANES * ITEM_BYTES[matrix.bias_code]
    if matrix.bias_code == FLOAT32:
        return load_float32(weights, offset)
    if matrix.bias_code == FLOAT16:
        return load_float16(weights, offset)
    return load_bfloat16(weights, offset)


@kernel
def product(weights, matrix, span, x, out, meter):
    """Rows ``span`` of ``matrix`` times the vectors ``x``, plus bias.

    Parameters
    ----------
    weights : (bytes,) uint8
        All packed weights of the model, 64-byte aligned.
    matrix : Matrix
    span : Span
        Row blocks to compute.
    x : Vectors
        (tokens, K) float32. For more than one token, rows up to the next multiple of TILE_TOKENS are read.
    out : Place
        Modified in place: (tokens, 16 * blocks) float32. For more than one token, rows up to the next multiple of
        TILE_TOKENS are written; padding rows of the matrix give padding columns.
    meter : Meter
        Charged with ``product_cost`` for the span's real rows.
    """
    product_cost(meter, matrix, span.rows, x.tokens)
    if matrix.code == FLOAT32:
        _multiply_float32(weights, matrix, span, x, out)
    elif matrix.code == FLOAT16:
        _multiply_float16(weights, matrix, span, x, out)
    elif matrix.code == BFLOAT16:
        _multiply_bfloat16(weights, matrix, span, x, out)
    if matrix.bias_offset != NO_BIAS:
        width = out.data.shape[1]
        for block in range(span.first, span.last):
            bias = _bias_lanes(weights, matrix, block)
            for t in range(x.tokens):
                at = (out.row + t) * width + out.column + (block - span.first) * LANES
                store(out.data, at, load(out.data, at) + bias)
