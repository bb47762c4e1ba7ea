"""How many numbers, and bits, the memory takes that is alive while a step runs.

A size is (2, n) int64 for n kinds of chunks: numbers, and their bits at declared widths. Padding has no size, and what
each thread has for itself is counted once.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

import numpy as np

from ..kernels.bins import NO_MATRIX, Bin
from ..kernels.inputs import prepared_size
from ..kernels.lanes import LANES
from ..kernels.matrix import FLOAT_BITS, Matrix
from ..kernels.network import EMBED, EXPERTS, OWN_LAST, PRODUCT, ROUTE, Network, Step
from .accesses import ANGLES, CHOSEN, FROZEN, ITEMS, MIXTURE, SHARES
from .chunk_kinds import ChunkKinds
from .liveness import Piece
from .plan import Plan

INDEX_BITS = 64  # places of a sparse pattern, experts and their items, tokens of a continuous cache: int64
Size = np.ndarray


def numbers(count: int | np.ndarray, bits: int = FLOAT_BITS) -> Size:
    """The size of some numbers of some bits."""
    return np.stack(np.broadcast_arrays(np.asarray(count, np.int64), np.asarray(count, np.int64) * bits))


def indices(count: int | np.ndarray) -> Size:
    """The size of some indices."""
    return numbers(count, INDEX_BITS)


def prepared(matrix: Matrix) -> Size:
    """The size of a vector as it is prepared for a matrix: (2, 1)."""
    return np.array(prepared_size(matrix), np.int64)[:, None]


class Sizes:
    """Sizes of a network's memory for the chunks of a run."""

    def __init__(self, plan: Plan, network: Network, chunks: ChunkKinds) -> None:
        self.plan, self.network, self.chunks = plan, network, chunks
        self.matrices = [Matrix(*map(int, row)) for row in network.matrices]
        self.nothing = numbers(np.zeros_like(chunks.tokens))
        self._prepared: dict[int, Size] = {}

    def prepared(self, number: int) -> Size:
        """Of a vector for a matrix."""
        if number not in self._prepared:
            self._prepared[number] = prepared(self.matrices[number])
        return self._prepared[number]

    def rows(self, step: Step) -> np.ndarray:
        """Tokens that a step works on."""
        return np.ones_like(self.chunks.tokens) if step.last else self.chunks.tokens

    def of_pieces(self, pieces: Set[Piece], step: Step) -> Size:
        """Of what is alive while a step runs."""
        return sum((self._piece(piece, step) for piece in pieces), self.nothing)

    def _piece(self, piece: Piece, step: Step) -> Size:
        memory, experts = piece.memory, self.network.experts
        rows = np.ones_like(self.chunks.tokens) if piece.is_last else self.chunks.tokens - 1
        if isinstance(memory, str):
            own = {
                ANGLES: numbers(2 * self.network.rotation.frequencies.size),
                FROZEN: numbers(self.network.options.output_width),
                CHOSEN: indices(experts.used),
                MIXTURE: numbers(experts.used),
                ITEMS: indices(experts.used),
                SHARES: indices(2 * experts.total),
            }[memory]
            return own[:, None] * rows
        width = self.plan.numbers[memory] if piece.columns is None else piece.columns[1] - piece.columns[0]
        if self.plan.items[memory]:
            # Of a token that is alone one row serves all its experts.
            is_one = (self.plan.own[memory] == OWN_LAST) & (self.rows(step) == 1)
            rows = rows * np.where(is_one, 1, experts.used)
        return numbers(width * rows)

    def scratch(self, step: Step) -> Iterator[tuple[int, Size]]:
        """Of the scratch of a step, but of ATTEND's, for each region that the step charges."""
        rows, experts = self.rows(step), self.network.experts
        if step.kind == EMBED:
            yield from self._of_embedding(step)
        elif step.kind == PRODUCT:
            yield step.region, self.prepared(step.matrix) * rows + self._ragged(step.matrix, rows)
        elif step.kind == EXPERTS:
            every = range(step.matrix, step.matrix + experts.total)
            widest = np.max([self.prepared(number) for number in every], axis=0)
            # A token that is alone is prepared for one expert after the other.
            yield step.region, widest * np.where(rows == 1, 1, rows * experts.used) + self._ragged(step.matrix, rows)
        elif step.kind == ROUTE:
            yield step.region, self.nothing + numbers(experts.used if experts.is_normalised else experts.total)[:, None]
        else:
            yield step.region, self.nothing

    def _ragged(self, number: int, rows: np.ndarray) -> Size:
        """Rows of the last block of a section, which is made elsewhere where it is not whole."""
        matrix = self.matrices[number]
        return numbers(rows * (matrix.rows // matrix.sections % LANES if matrix.sections > 1 else 0))

    def _of_embedding(self, step: Step) -> Iterator[tuple[int, Size]]:
        """A row of a bin and what its projection makes of it, or of a learned position: one token after the other."""
        yield step.region, self.nothing
        for number in sorted(self.chunks.embedding_bins):
            part = Bin(*map(int, self.network.embedding_bins[number]))
            if part.projection != NO_MATRIX:
                row = numbers(self.matrices[part.matrix].columns)[:, None]
                made = numbers(self.matrices[part.projection].rows)[:, None]
                yield step.region, self.nothing + row
                yield part.projection_region, self.nothing + row + self.prepared(part.projection) + made
        if self.network.options.learned_positions:
            yield step.region + 1, self.nothing + numbers(self.network.options.embedding_width)[:, None]
