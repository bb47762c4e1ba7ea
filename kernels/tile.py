"""Register tiles: row blocks x tokens of a matrix product, the one place where the inner loop is written out.

A packed matrix is ``[R / 16][K][16]`` (``packing.py``). A tile multiplies ``blocks`` neighbouring row blocks with
``tokens`` vectors and keeps all ``blocks * tokens`` accumulators in registers. Output row r of token t is

    acc = fma(w[r, j], x[t, j], acc)    for j = 0 .. K - 1, from acc = 0

one lane a row, in that order whatever the tile's shape: that is why a token alone and a token in a block get the same
bits. Enough accumulators hide the latency of fma and reuse each loaded weight: where registers hold 16 lanes (AVX-512),
24 for 3 row blocks and 8 tokens, and 8 row blocks at once for a single vector; elsewhere what fits, see TILE_BLOCKS.
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
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_POINTER = ir.FloatType().as_pointer()


def _wide_registers() -> bool:
    """True where 32 registers of 16 lanes exist (AVX-512), as Numba will compile for this CPU."""
    if config.CPU_FEATURES is not None:
        return "+avx512f" in config.CPU_FEATURES
    return bool(binding.get_host_cpu_features().get("avx512f", False))


# Shape of the tile for several tokens, and row blocks of the tile for one: accumulators, weights and inputs must fit
# the registers. Without AVX-512, 16 lanes take two or four of them.
TILE_BLOCKS, TILE_TOKENS, VECTOR_BLOCKS = (3, 8, 8) if _wide_registers() else (1, 4, 4)


def _tile_function(module: Any, blocks: int, tokens: int, code: int) -> Any:
    """The LLVM function of one tile, made once in each module.

    Arguments: pointers to the tile's weights, inputs and outputs; bytes between two tokens' inputs, and outputs; K.
    It is never inlined: what surrounds a call could otherwise take registers away from the accumulators.
    """
    name = f"tile_{blocks}x{tokens}_{code}"
    if name in module.globals:
        return module.globals[name]
    signature = ir.FunctionType(ir.VoidType(), [_POINTER, _POINTER, _POINTER, _I64, _I64, _I64])
    function = ir.Function(module, signature, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    w_base, x_base, out_base, x_stride, out_stride, k = function.args

    entry, loop, after = (function.append_basic_block(label) for label in ("entry", "columns", "write"))
    builder = ir.IRBuilder(entry)

    def i64(value: int) -> Any:
        return ir.Constant(_I64, value)

    def at(base: Any, offset: Any) -> Any:
        return builder.inttoptr(builder.add(builder.ptrtoint(base, _I64), offset), _POINTER)

    step = LANES * ITEM_BYTES[code]  # bytes from one column of a row block to the next
    block_bytes = builder.mul(k, i64(step))
    weights = [at(w_base, builder.mul(i64(b), block_bytes)) for b in range(blocks)]
    inputs = [at(x_base, builder.mul(i64(t), x_stride)) for t in range(tokens)]
    builder.branch(loop)

    builder.position_at_end(loop)
    j = builder.phi(_I64)
    sums = [[builder.phi(_VECTOR) for _ in range(tokens)] for _ in range(blocks)]
    j.add_incoming(i64(0), entry)
    column, weight_offset = builder.mul(j, i64(4)), builder.mul(j, i64(step))
    # All weights first, then one input at a time: the other way round, 8 inputs and 24 accumulators leave no register.
    w = [load_widened(builder, at(pointer, weight_offset), code, step) for pointer in weights]
    for t in range(tokens):
        x = splat(builder, builder.load(at(inputs[t], column), align=4))
        for b in range(blocks):
            result = vector_fma(builder, w[b], x, sums[b][t])
            sums[b][t].add_incoming(ir.Constant(_VECTOR, [0.0] * LANES), entry)
            sums[b][t].add_incoming(result, loop)
    following = builder.add(j, i64(1))
    j.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, k), loop, after)

    builder.position_at_end(after)
    for t in range(tokens):
        start = builder.mul(i64(t), out_stride)
        for b in range(blocks):
            pointer = at(out_base, builder.add(start, i64(b * LANES * 4)))
            result = sums[b][t].incomings[1][0]
            builder.store(result, builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)
    builder.ret_void()
    return function


def make_tile(blocks: int, tokens: int, code: int) -> Any:
    """The intrinsic that computes one tile for weights of format ``code``.

    Its arguments: ``weights`` (uint8 array) and the byte ``offset`` of the tile's first row block in it; ``x`` (2-D
    float32) and its row of the first token; ``out`` (2-D float32, modified in place) and the (row, column) of the
    tile's first element in it; the number of ``columns`` K.
    """

    @intrinsic
    def tile(
        typingctx: Any, weights: Any, offset: Any, x: Any, x_row: Any, out: Any, out_place: Any, columns: Any
    ) -> Any:
        signature = types.void(weights, types.int64, x, types.int64, out, types.UniTuple(types.int64, 2), types.int64)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def row_bytes(position: int) -> Any:
                array = context.make_array(signature.args[position])(context, builder, arguments[position])
                return builder.extract_value(array.strides, 0)

            def pointer(position: int, offset: Any) -> Any:
                return element_pointer(builder, context, signature.args[position], arguments[position], offset, 1)

            row, column = cgutils.unpack_tuple(builder, arguments[5])
            x_stride, out_stride = row_bytes(2), row_bytes(4)
            out_offset = builder.add(builder.mul(row, out_stride), builder.mul(column, ir.Constant(_I64, 4)))
            builder.call(
                _tile_function(builder.module, blocks, tokens, code),
                [
                    pointer(0, arguments[1]),
                    pointer(2, builder.mul(arguments[3], x_stride)),
                    pointer(4, out_offset),
                    x_stride,
                    out_stride,
                    arguments[6],
                ],
            )
            return context.get_dummy_value()

        return signature, codegen

    return tile
