"""Register tiles: row blocks x tokens of a matrix product, the one place where the inner loop is written out.

A packed matrix is ``[R / 16][K][16]`` (``packing.py``). A tile multiplies ``blocks`` neighbouring row blocks with
``tokens`` vectors and keeps all ``blocks * tokens`` accumulators in registers. Output row r of token t is

    acc = fma(w[r, j], x[t, j], acc)    for j = 0 .. K - 1, from acc = 0

one lane a row, in that order whatever the tile's shape: that is why a token alone and a token in a block get the same
bits. 24 accumulators of 16 lanes hide the latency of fma and reuse each loaded weight for 8 tokens; a single vector
needs 8 row blocks at once for the same reason.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from .formats import ITEM_BYTES
from .lanes import LANES, element_pointer, load_widened, splat, vector_fma

_I64 = ir.IntType(64)
_F32 = ir.FloatType()
_VECTOR = ir.VectorType(_F32, LANES)


def _wide_registers() -> bool:
    """True where 32 registers of 16 lanes exist (AVX-512), as Numba will compile for this CPU."""
    if config.CPU_FEATURES is not None:
        return "+avx512f" in config.CPU_FEATURES
    return bool(binding.get_host_cpu_features().get("avx512f", False))


# Shape of the tile for several tokens, and row blocks of the tile for one: accumulators, weights and inputs must fit
# the registers. Without AVX-512, 16 lanes take two or four of them.
TILE_BLOCKS, TILE_TOKENS, VECTOR_BLOCKS = (3, 8, 8) if _wide_registers() else (1, 4, 4)


def make_tile(blocks: int, tokens: int, code: int) -> Any:
    """The intrinsic that computes one tile for weights of format ``code``.

    Its arguments: ``weights`` (uint8 array) and the byte ``offset`` of the tile's first row block in it; ``x`` (2-D
    float32) and its row of the first token; ``out`` (2-D float32, modified in place) and the (row, column) of the
    tile's first element in it; the number of ``columns`` K.
    """
    item = ITEM_BYTES[code]

    @intrinsic
    def tile(
        typingctx: Any, weights: Any, offset: Any, x: Any, x_row: Any, out: Any, out_place: Any, columns: Any
    ) -> Any:
        signature = types.void(weights, types.int64, x, types.int64, out, types.UniTuple(types.int64, 2), types.int64)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            offset, x_row, k = arguments[1], arguments[3], arguments[6]
            row, column = cgutils.unpack_tuple(builder, arguments[5])

            def i64(value: int) -> Any:
                return ir.Constant(_I64, value)

            def stride(position: int) -> Any:
                array = context.make_array(signature.args[position])(context, builder, arguments[position])
                return builder.extract_value(array.strides, 0)

            def byte_pointer(position: int, index: Any) -> Any:
                return element_pointer(builder, context, signature.args[position], arguments[position], index, 1)

            x_stride, out_stride = stride(2), stride(4)
            block_bytes = builder.mul(k, i64(LANES * item))
            w_pointers = [byte_pointer(0, builder.add(offset, builder.mul(i64(b), block_bytes))) for b in range(blocks)]
            x_pointers = [byte_pointer(2, builder.mul(builder.add(x_row, i64(t)), x_stride)) for t in range(tokens)]

            before = builder.block
            loop = builder.append_basic_block("columns")
            after = builder.append_basic_block("write")
            builder.branch(loop)
            builder.position_at_end(loop)
            j = builder.phi(_I64)
            j.add_incoming(i64(0), before)
            zero = ir.Constant(_VECTOR, [0.0] * LANES)
            sums = [[builder.phi(_VECTOR) for _ in range(tokens)] for _ in range(blocks)]
            inputs = [splat(builder, builder.load(builder.gep(p, [j]), align=4)) for p in x_pointers]
            results: list[list[Any]] = []
            for b in range(blocks):
                address = builder.add(builder.ptrtoint(w_pointers[b], _I64), builder.mul(j, i64(LANES * item)))
                w = load_widened(builder, builder.inttoptr(address, _F32.as_pointer()), code, LANES * item)
                results.append([vector_fma(builder, w, inputs[t], sums[b][t]) for t in range(tokens)])
            for b in range(blocks):
                for t in range(tokens):
                    sums[b][t].add_incoming(zero, before)
                    sums[b][t].add_incoming(results[b][t], builder.block)
            following = builder.add(j, i64(1))
            j.add_incoming(following, builder.block)
            builder.cbranch(builder.icmp_signed("<", following, k), loop, after)

            builder.position_at_end(after)
            for t in range(tokens):
                start = builder.add(builder.mul(builder.add(row, i64(t)), out_stride), builder.mul(column, i64(4)))
                for b in range(blocks):
                    pointer = byte_pointer(4, builder.add(start, i64(b * LANES * 4)))
                    builder.store(results[b][t], builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)
            return context.get_dummy_value()

        return signature, codegen

    return tile
