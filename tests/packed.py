"""Random packed matrices of every format, for tests of the kernels that read them."""

import numpy as np
from formats import stored
from guarded import Guarded, aligned_bytes
from numba import cfunc, types

from lm_meter.kernels import formats
from lm_meter.kernels.charge import KINDS, Meter, new_tally
from lm_meter.kernels.inputs import Narrow, Vectors, prepare, prepare_cost
from lm_meter.kernels.jit import compiled
from lm_meter.kernels.matrix import NONE, place_matrix
from lm_meter.kernels.multiply import loop_of, multiply_address
from lm_meter.kernels.packing import Split, exponent_mask, pack_blocks, pack_integers, packed_blocks
from lm_meter.kernels.product import READS_ON, Place, Span, product
from lm_meter.kernels.tile_shape import TILE_TOKENS


@compiled
def _prepared_product(weights, matrix, span, x, out, meter):
    prepare(matrix, x, 0, x.tokens)
    prepare_cost(meter, matrix, x.tokens)
    product(weights, matrix, span, x, out, meter)


def half_bytes(numbers):
    """4-bit numbers, two a byte, the first in the low half."""
    even = np.zeros((len(numbers), -(-numbers.shape[1] // 2) * 2), np.uint8)
    even[:, : numbers.shape[1]] = numbers & 15
    return even[:, ::2] | (even[:, 1::2] << 4)


class PackedMatrix:
    """A random matrix, packed.

    ``values`` are the weights as float64; of an integer format ``numbers``, ``scales`` and ``offsets`` make them up.
    """

    def __init__(self, rows, columns, scheme, bias=False, seed=0, sections=1):
        self.split = Split(sections)
        self.rng = np.random.default_rng(seed)
        self.scheme, self.blocks = scheme, packed_blocks(rows, sections)
        self.matrix = place_matrix((rows, columns), scheme)._replace(sections=sections)
        size = self.blocks * self.matrix.block_bytes
        start = size + formats.CODEBOOK_ENTRIES
        bias_format = formats.NAMES[min(scheme.code, formats.BFLOAT16)]
        bias_bits, self.bias = stored(self.rng.standard_normal(rows), bias_format)
        self.weights = aligned_bytes(start + self.blocks * 16 * bias_bits.itemsize)
        places = self.weights[start:].view(bias_bits.dtype).reshape(self.blocks, 1, 16)
        mask = exponent_mask(min(scheme.code, formats.BFLOAT16))
        pack_blocks(bias_bits.reshape(-1, 1), places, self.split, mask, (0, self.blocks))
        packed = self.weights[:size].reshape(self.blocks, -1)
        if formats.is_integer(scheme.code):
            self._pack_integers(packed, size)
        else:
            self._pack_floats(packed)
        self.matrix = self.matrix.biased(formats.NAMES.index(bias_format), start if bias else NONE)
        self.matrix = self.matrix._replace(book_offset=size, multiply=multiply_address(loop_of(self.matrix)))
        if not bias:
            self.bias = None

    def _pack_floats(self, packed):
        shape = self.matrix.rows, self.matrix.columns
        bits, values = stored(self.rng.standard_normal(shape), formats.NAMES[self.matrix.code])
        target = packed.view(bits.dtype).reshape(self.blocks, shape[1], 16)
        pack_blocks(bits, target, self.split, exponent_mask(self.matrix.code), (0, self.blocks))
        self.values = values.astype(np.float64)

    def _pack_integers(self, packed, book_at):
        matrix = self.matrix
        shape = matrix.rows, matrix.columns
        if matrix.code == formats.INT8:
            self.numbers = source = self.rng.integers(-128, 128, shape).astype(np.int8)
        elif matrix.code == formats.INT4:
            self.numbers = self.rng.integers(-8, 8, shape)
            source = half_bytes(self.numbers)
        else:
            indices = self.rng.integers(0, formats.CODEBOOK_ENTRIES, shape)
            book = self.rng.integers(-128, 128, formats.CODEBOOK_ENTRIES).astype(np.int8)
            self.weights[book_at : book_at + book.size] = book.view(np.uint8)
            self.numbers, source = book[indices], half_bytes(indices)
        groups = matrix.rows, matrix.columns // matrix.group
        self.scales = self.rng.uniform(2.0**-8, 2.0**-6, groups).astype(np.float16)
        self.offsets = self.rng.normal(0, 0.1, groups).astype(np.float16) if matrix.has_offsets else None
        halves = [self.scales] if self.offsets is None else [self.scales, self.offsets]
        pack_integers(source, np.stack(halves).view(np.uint16), matrix, self.split, (0, self.blocks), packed)
        self.values = self.numbers * np.repeat(self.scales.astype(np.float64), matrix.group, axis=1)
        if self.offsets is not None:
            self.values += np.repeat(self.offsets.astype(np.float64), matrix.group, axis=1)

    def use(self, multiply):
        """Multiply with a loop that is compiled for this matrix alone."""
        signature = types.int64(types.CPointer(types.int64), types.int64, types.int64)
        self._own = cfunc(signature, error_model="numpy")(multiply)
        self.matrix = self.matrix._replace(multiply=self._own.address)

    def vectors(self, x, tokens):
        """Input vectors in memory of whole lanes and tiles."""
        rows = 1 if tokens == 1 else -(-tokens // TILE_TOKENS) * TILE_TOKENS
        width = -(-self.matrix.columns // 16) * 16
        data = np.zeros((rows, width), np.float32)
        data[:tokens, : self.matrix.columns] = x
        sums = np.zeros((rows, self.matrix.columns // self.matrix.group), np.float32)
        integers, steps = np.zeros((rows, width), np.int16), np.zeros(rows, np.float32)
        narrow = Narrow(np.zeros_like(data), integers, steps, sums, np.zeros(sums.shape, np.int32))
        return Vectors(data, narrow, 0, tokens)

    def times(self, x, tokens, tally=None, first=0, last=None):
        """Outputs of some blocks, (tokens, 16 * blocks); nothing around them may be written."""
        last = self.blocks if last is None else last
        vectors = self.vectors(x, tokens)
        out = Guarded((len(vectors.data), 16 * (last - first)))
        span = Span(first, last, min(16 * last, self.matrix.rows) - 16 * first, READS_ON)
        meter = Meter(new_tally(1) if tally is None else tally, 0)
        _prepared_product(self.weights, self.matrix, span, vectors, Place(out.array, 0, 0), meter)
        out.check()
        return out.array[:tokens]


def counts(tally):
    """A tally's counts by kind and widths, as a ledger has them."""
    rows = np.argwhere(tally[:, : len(KINDS)])
    return {(None, KINDS[k], int(a), int(b)): int(tally[0, k, a, b]) for _, k, a, b in rows}
