"""Bits of products of every kind of weight, for a process that takes its CPU for another one: see test_cpus.py."""

import json
import sys

import numpy as np


def bits():
    """Outputs of random matrices for one vector and for several, as whole numbers."""
    from packed import PackedMatrix
    from pruned import PrunedMatrix

    from lm_meter.kernels import formats
    from lm_meter.kernels.matrix import SATURATE, Scheme

    # One of each way to load, widen, shift and add: each is compiled once more for every processor.
    schemes = [
        Scheme(formats.FLOAT16, input_bits=16),
        Scheme(formats.INT8, 8, True, 8),
        Scheme(formats.INT4, None, False, 8),
        Scheme(formats.CODEBOOK4, None, True),
        Scheme(formats.INT8, None, False, 8, 12, SATURATE),
    ]
    pruned = [Scheme(formats.FLOAT16), Scheme(formats.CODEBOOK4, input_bits=8)]
    x = np.random.default_rng(5).standard_normal((19, 40)).astype(np.float32)
    products = []
    for scheme in schemes:
        packed = PackedMatrix(75, 40, scheme, bias=True)
        products += [packed.times(x[:tokens], tokens).view(np.uint32).tolist() for tokens in (1, 19)]
    for scheme in pruned:
        packed = PrunedMatrix((75, 40), (1, 1), scheme)
        products += [packed.times(x[:tokens], tokens).view(np.uint32).tolist() for tokens in (1, 19)]
    return products


def main(wide):
    """Print the shape of the tiles and the bits; ``wide`` says whether to take the CPU for one with AVX-512.

    Only the tiles are another CPU's: ``decode`` and ``expand``, which pick instructions, are imported before and keep
    this one's.
    """
    from lm_meter.kernels import decode, expand, isa

    has_feature = isa.has_feature
    if wide != "native":
        assert decode.has_feature is expand.has_feature is has_feature
        isa.has_feature = lambda name: wide == "wide" if name == "avx512f" else has_feature(name)
    from lm_meter.kernels import tile_shape

    print(json.dumps([[tile_shape.TILE_BLOCKS, tile_shape.TILE_TOKENS, tile_shape.VECTOR_BLOCKS], bits()]))


if __name__ == "__main__":
    main(sys.argv[1])
