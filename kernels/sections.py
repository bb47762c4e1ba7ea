"""Grouped matrices: block-diagonal ones, of which only the blocks on the diagonal are stored and multiplied.

A matrix of S sections with R rows and C columns stands for one of R x SC. Its rows s R / S .. (s + 1) R / S - 1 meet
the inputs s C .. (s + 1) C - 1 alone (as the channels of a grouped convolution: Krizhevsky, Sutskever and Hinton,
ImageNet classification with deep convolutional neural networks, 2012). Each section is packed in whole row blocks, the
sections one after the other. Where R / S is no multiple of 16 the last block of a section ends in padding rows, whose
outputs would lie over those of the next section: that block alone is made elsewhere and its real rows are copied.
"""

from __future__ import annotations

from typing import NamedTuple

from .formats import INT8
from .jit import kernel
from .lanes import LANES, blocks_of, whole_lanes
from .matrix import DENSE, FLOAT_BITS, groups_of


class Run(NamedTuple):
    """Neighbouring row blocks of one section."""

    first: int
    last: int  # exclusive
    rows: int  # those that are no padding
    column: int  # of the first row's output
    is_whole: int  # 0: its padding rows have no place among the outputs


@kernel
def section_blocks(matrix):
    """Row blocks of a section."""
    return blocks_of(matrix.rows // matrix.sections)


@kernel
def section_of(matrix, block):
    """The section of a row block."""
    return 0 if matrix.sections == 1 else block // section_blocks(matrix)


@kernel
def run_from(matrix, first, last):
    """As many of the row blocks ``first`` to ``last`` - 1 as can be multiplied together, from the first one on."""
    blocks, rows, section = section_blocks(matrix), matrix.rows // matrix.sections, section_of(matrix, first)
    start, end = first - section * blocks, min(last - section * blocks, blocks)
    is_whole = 1
    if matrix.sections > 1 and end == blocks and rows % LANES != 0:
        is_whole = 1 if start < blocks - 1 else 0
        end -= is_whole
    real = min(end * LANES, rows) - start * LANES
    return Run(first, section * blocks + end, real, section * rows + start * LANES, is_whole)


@kernel
def inputs_of(matrix):
    """Numbers in an input vector of a matrix: the columns of all its sections."""
    return matrix.sections * matrix.columns


@kernel
def input_groups(matrix):
    """Groups of an input vector, each of the columns that share a scale."""
    return matrix.sections * groups_of(matrix)


@kernel
def prepared_stride(matrix):
    """From a section's first number to the next one's, where inputs are prepared: whole lanes, zero behind them."""
    return whole_lanes(matrix.columns)


@kernel
def is_spread(matrix):
    """Whether even float32 inputs are copied, section by section, because zeros must follow each section's numbers.

    A unit of integers, and a segment of a pruned row, goes on behind the last column with what stands for nothing only
    where it meets zeros.
    """
    in_units = matrix.code >= INT8 or matrix.pruned != DENSE
    return matrix.sections > 1 and matrix.input_bits == FLOAT_BITS and in_units and matrix.columns % LANES != 0
