"""Parts of a vocabulary by frequency, each with its own width: of an adaptive embedding and an adaptive softmax.

Grave et al., Efficient softmax approximation for GPUs (2017), and Baevski and Auli, Adaptive input representations for
neural language modeling (2019). A plain softmax is one bin.
"""

from __future__ import annotations

from typing import NamedTuple

from .jit import inlined, kernel

NO_MATRIX = -1


class Bin(NamedTuple):
    """One bin: all int64. Matrices are numbers in the network's table."""

    first: int  # its first token
    size: int
    matrix: int  # (size, width): rows of the embedding, or what makes its logits
    projection: int  # from the bin's width to the model's, or back; NO_MATRIX: none
    region: int  # of the lookup, or of the logits
    projection_region: int
    clusters: int  # of a softmax's first bin: a logit for each of the other bins; NO_MATRIX: there are none
    clusters_region: int


@inlined
def bin_at(table, index):
    """Row ``index`` of a table of bins."""
    r = table[index]
    return Bin(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])


@kernel
def bin_of(table, token):
    """Number of the bin that holds a token."""
    number = 0
    while number + 1 < table.shape[0] and token >= table[number + 1, 0]:
        number += 1
    return number
