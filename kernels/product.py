"""Matrix-vector and matrix-matrix products with packed weights, and their bias.

    out[t, r] = sum over j of w[r, j] * x[t, j]  (+ bias[r])

for a run of row blocks and one or several tokens; the order of summation is that of ``tile.py``, the bias added last.
"""

from __future__ import annotations

from typing import NamedTuple

from .charge import ADD, CONVERT, MULTIPLY, OVERFLOW, UNARY, charge
from .formats import INT8
from .jit import inlined, kernel
from .lanes import LANES, address, load, store
from .matrix import DENSE, EXACT, FLOAT_BITS, HALF_BITS, INTEGER_BITS, NONE, Load, groups_of
from .multiply import ahead, call_multiply
from .sections import is_spread, prepared_stride, section_of
from .sparse import sparse_load
from .tile_shape import NO_ADDRESS, Tile
from .vector import numbers_at
from .width import Width, alone_cost


class After(NamedTuple):
    """What a thread reads when it has read its row blocks of a matrix: the first ones of its next matrix.

    What is asked for ahead in the last row blocks is that, not what lies behind them, which is another thread's.
    """

    end: int  # address behind its last row block
    jump: int  # from there to its first one of the next matrix, bytes; 0: it reads on


READS_ON = After(0, 0)


class Span(NamedTuple):
    """A run of row blocks of a packed matrix, and how many of its rows are real ones (the rest is padding)."""

    first: int
    last: int  # exclusive
    rows: int
    after: After


class Place(NamedTuple):
    """Where outputs go: token t and block b to data[row + t, column + 16 b .. column + 16 b + 15]."""

    data: object  # (rows, width) float32, C-contiguous
    row: int
    column: int


@kernel
def real_rows(first, last, rows):
    """How many of the rows of blocks ``first`` to ``last`` - 1 are among the ``rows`` real ones."""
    return max(0, min(last * LANES, rows) - first * LANES)


@kernel
def load_of(weights, matrix, span):
    """The load of a run of row blocks."""
    if matrix.pruned != DENSE:
        return sparse_load(weights, matrix, span)
    return Load(span.rows, span.rows * matrix.columns, span.rows)


@kernel
def product_cost(meter, matrix, load, tokens):
    """Cost law of ``product``: a multiply for each weight and an add for each but a row's first, and one for a bias.

    The first term of a sum is not added to anything: fma with an accumulator of zero is a multiply. What was pruned is
    neither multiplied nor added. Where the weights have scales, the sums of a row's G groups are G - 1 adds fewer; each
    is converted, if it is one of integers, and multiplied by its scale, and G - 1 adds put them together; offsets are a
    multiply by the sum of the inputs and an add for each group; a sum over integer inputs is multiplied by their scale.
    The steps of an even grid are scales that the kernel has multiplied in before: charged as scales, of their width.
    """
    sums = load.rows * tokens
    terms, parts = load.terms * tokens, sums * groups_of(matrix)
    firsts = load.filled * groups_of(matrix) * tokens
    charge(meter, MULTIPLY, matrix.bits, matrix.input_bits, terms)
    charge(meter, ADD, matrix.accumulator_bits, matrix.accumulator_bits, terms - firsts)
    if matrix.steps != 0:
        charge(meter, MULTIPLY, matrix.step_bits, FLOAT_BITS, sums * matrix.steps)
    if matrix.code >= INT8:
        charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, parts - sums)
        if matrix.has_offsets:
            charge(meter, MULTIPLY, matrix.step_bits, FLOAT_BITS, parts)
            charge(meter, ADD, FLOAT_BITS, FLOAT_BITS, parts)
    if matrix.input_bits == INTEGER_BITS:
        charge(meter, CONVERT, matrix.accumulator_bits, FLOAT_BITS, parts)
        charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, sums)
    if matrix.bias_offset != NONE:
        alone_cost(meter, ADD, Width(matrix.bias_bits, matrix.bias_step_bits), sums)


@kernel
def count_overflows(meter, matrix, count):
    """Record how often sums left their accumulator's range: no operation, but what an entry's reader must know."""
    if matrix.overflow != EXACT:
        charge(meter, OVERFLOW, matrix.accumulator_bits, UNARY, count)


@inlined
def _tile_at(weights, matrix, span, x, out):
    """The tile of the span's first row block and the first token."""
    narrow, section = x.narrow, section_of(matrix, span.first)
    if matrix.input_bits == INTEGER_BITS:
        inputs, width = address(narrow.integers) + 2 * section * prepared_stride(matrix), 2 * narrow.integers.shape[1]
    elif matrix.input_bits == HALF_BITS or is_spread(matrix):
        inputs, width = address(narrow.halves) + 4 * section * prepared_stride(matrix), 4 * narrow.halves.shape[1]
    else:
        width = 4 * x.data.shape[1]
        inputs = address(x.data) + x.row * width + 4 * section * matrix.columns
    out_bytes, group_bytes = 4 * out.data.shape[1], 4 * section * groups_of(matrix)
    sums = address(narrow.sums) + group_bytes if matrix.has_offsets else NO_ADDRESS
    return Tile(
        weights=address(weights) + matrix.offset + span.first * matrix.block_bytes,
        block_bytes=matrix.block_bytes,
        inputs=inputs,
        input_bytes=width,
        out=address(out.data) + out.row * out_bytes + 4 * out.column,
        out_bytes=out_bytes,
        groups=groups_of(matrix),
        columns=matrix.group,
        scales=matrix.scales_at,
        sums=sums,
        sum_bytes=4 * narrow.sums.shape[1],
        input_scales=address(narrow.scales),
        book=address(weights) + matrix.book_offset,
        ahead=ahead(matrix.block_bytes),
        end=span.after.end,
        jump=span.after.jump,
        pace=0,
        accumulator=matrix.accumulator_bits,
        starts=address(narrow.starts) + group_bytes,
        start_bytes=4 * narrow.starts.shape[1],
    )


@kernel
def product(weights, matrix, span, x, out, meter):
    """Rows ``span`` of ``matrix`` times the vectors ``x``, plus bias.

    Parameters
    ----------
    weights : (bytes,) uint8
        All packed weights of the model, 64-byte aligned.
    matrix : Matrix
    span : Span
        Row blocks to compute, of one section.
    x : Vectors
        (tokens, K), prepared for the matrix. For more than one token, rows up to the next multiple of TILE_TOKENS are
        read.
    out : Place
        Modified in place: (tokens, 16 * blocks) float32. For more than one token, rows up to the next multiple of
        TILE_TOKENS are written; padding rows of the matrix give padding columns.
    meter : Meter
        Charged with ``product_cost`` for the span's real rows.

    Returns
    -------
    int
        How often an accumulator overflowed that was declared narrower than its sums.
    """
    product_cost(meter, matrix, load_of(weights, matrix, span), x.tokens)
    work = _tile_at(weights, matrix, span, x, out)
    overflows = call_multiply(matrix.multiply, work, span.last - span.first, x.tokens)
    count_overflows(meter, matrix, overflows)
    if matrix.bias_offset != NONE:
        width = out.data.shape[1]
        for block in range(span.first, span.last):
            bias = numbers_at(weights, matrix.bias_code, matrix.bias_offset, block * LANES)
            for t in range(x.tokens):
                at = (out.row + t) * width + out.column + (block - span.first) * LANES
                store(out.data, at, load(out.data, at) + bias)
    return overflows
