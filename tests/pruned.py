"""Random pruned matrices of every format, for tests of the kernels that read them."""

import numpy as np
from formats import stored
from guarded import aligned_bytes
from packed import PackedMatrix, half_bytes

from lm_meter.kernels import formats
from lm_meter.kernels.matrix import NONE, place_matrix
from lm_meter.kernels.multiply import loop_of, multiply_address
from lm_meter.kernels.packing import Split, packed_blocks
from lm_meter.kernels.sparse import (
    OVERREAD,
    Mask,
    count_kept,
    measure_sparse,
    pack_sparse,
    sparse_bytes,
)


class PrunedMatrix(PackedMatrix):
    """A random matrix, pruned by blocks and packed; without bias.

    ``kept`` says which weights were kept, ``rows`` holds them row by row with None for the others: numbers of an
    integer format, values of the others. ``values`` are the weights as float64, zero where they were pruned.
    """

    def __init__(self, shape, block, scheme, density=0.5, seed=0, sections=1):
        rows, columns = shape
        self.rng = np.random.default_rng(seed)
        self.scheme, self.blocks, self.bias = scheme._replace(pruned=block[1]), packed_blocks(rows, sections), None
        kept_blocks = self.rng.random((rows // block[0], columns // block[1])) < density
        self.kept = np.kron(kept_blocks, np.ones(block, bool)).astype(bool)
        mask = Mask(np.packbits(kept_blocks.reshape(-1), bitorder="little"), *block)
        counts = np.zeros(rows, np.int64)
        count_kept(mask, rows, columns, counts)
        assert np.array_equal(counts, self.kept.sum(axis=1))

        matrix = place_matrix(shape, self.scheme)._replace(sections=sections)
        table = np.zeros((self.blocks + 1, 4), np.int64)
        size = table.nbytes + measure_sparse(mask, matrix, Split(sections), table)
        self.weights = aligned_bytes(-(-size // 64) * 64 + OVERREAD)
        self.weights[: table.nbytes] = table.reshape(-1).view(np.uint8)
        numbers, scales = self._numbers(counts.sum())
        starts, cursors = np.cumsum(counts) - counts, np.zeros((2, 16), np.int64)
        pack_sparse(
            (mask, numbers, starts, scales), matrix, Split(sections), (0, self.blocks), self.weights[:size], cursors
        )
        self.matrix = matrix._replace(
            terms=int(self.kept.sum()),
            filled=int((counts > 0).sum()),
            data_bytes=sparse_bytes(table),
            book_offset=self.weights.size - OVERREAD,
            bias_offset=NONE,
            multiply=multiply_address(loop_of(matrix)),
        )

    def _numbers(self, count):
        """What a file holds: bytes of the kept weights, and the bits of the scales."""
        code, rows = self.scheme.code, len(self.kept)
        whole = np.zeros(self.kept.shape)
        scales = self.rng.uniform(2.0**-8, 2.0**-6, rows).astype(np.float16)
        self.scales = scales[:, None]
        if not formats.is_integer(code):
            bits, kept = stored(self.rng.standard_normal(count), formats.NAMES[code])
            source, scales, own = bits.view(np.uint8), np.zeros(0, np.float16), kept
        elif code == formats.INT8:
            own = self.rng.integers(-128, 128, count)
            source = own.astype(np.int8).view(np.uint8)
        elif code == formats.INT4:
            own = self.rng.integers(-8, 8, count)
            source = half_bytes(own[None])[0]
        else:
            indices = self.rng.integers(0, 16, count)
            book = self.rng.integers(-128, 128, 16).astype(np.int8)
            self.weights[-OVERREAD:][:16] = book.view(np.uint8)
            own, source = book[indices], half_bytes(indices[None])[0]
        whole[self.kept] = own
        self.rows = [
            [v if k else None for v, k in zip(r, m, strict=True)]
            for r, m in zip(whole.tolist(), self.kept, strict=True)
        ]
        self.values = whole * self.scales.astype(np.float64) if scales.size else whole
        return source, scales.view(np.uint16)
