"""Integer accumulators that are narrower than their sums: what they hold after each add, and how often they overflow.

A sum that leaves the range of b bits, -2**(b - 1) to 2**(b - 1) - 1, is reduced modulo 2**b (wrap) or becomes the end
of the range that it has left (saturate). Columns are added one after the other, as such hardware would.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .decode import all_lanes, every_lane
from .lanes import LANES
from .matrix import WRAP

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_INTS = ir.VectorType(_I32, LANES)


class OverflowCounter:
    """Code that limits sums, ``<16 x i32>``, to an accumulator's range and counts those it changed.

    ``bits`` (i64) is the accumulator's width, 31 at most: then the sum of one more product fits 32 bits. To be made
    where the function begins.
    """

    def __init__(self, builder: Any, overflow: int, bits: Any) -> None:
        self._builder, self._overflow = builder, overflow
        self._counts: dict[tuple[int, int], Any] = {}
        self._entry = builder.block
        self._unused = every_lane(builder, _INTS, builder.sub(ir.Constant(_I32, 32), builder.trunc(bits, _I32)))

    def _count_of(self, place: tuple[int, int]) -> Any:
        """Where the overflows of a row block and a token are counted."""
        if place not in self._counts:
            with self._builder.goto_block(self._entry):
                self._counts[place] = self._builder.alloca(_INTS)
                self._builder.store(ir.Constant(_INTS, None), self._counts[place])
        return self._counts[place]

    def limited(self, sums: Any, place: tuple[int, int]) -> Any:
        """What the accumulator of a row block and a token holds after an add whose exact result is ``sums``."""
        builder = self._builder
        if self._overflow == WRAP:
            held = builder.ashr(builder.shl(sums, self._unused), self._unused)
        else:
            highest = builder.lshr(all_lanes(_INTS, 0x7FFFFFFF), self._unused)
            lowest = builder.xor(highest, all_lanes(_INTS, 0xFFFFFFFF))
            held = builder.select(builder.icmp_signed(">", sums, highest), highest, sums)
            held = builder.select(builder.icmp_signed("<", held, lowest), lowest, held)
        count = self._count_of(place)
        changed = builder.sext(builder.icmp_signed("!=", held, sums), _INTS)
        builder.store(builder.sub(builder.load(count), changed), count)
        return held

    def total(self, real_rows: list[Any], tokens: Any) -> Any:
        """All overflows (i64) of the first ``tokens`` tokens (i64): the others are padding.

        ``real_rows`` says of each row block's rows (``<16 x i1>``) which are not padding.
        """
        builder = self._builder
        add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_I32, [_INTS]), f"llvm.vector.reduce.add.v{LANES}i32"
        )
        total = ir.Constant(_I64, 0)
        for (block, token), count in self._counts.items():
            real = builder.select(real_rows[block], builder.load(count), ir.Constant(_INTS, None))
            own = builder.zext(builder.call(add, [real]), _I64)
            is_real = builder.icmp_signed("<", ir.Constant(_I64, token), tokens)
            total = builder.add(total, builder.select(is_real, own, ir.Constant(_I64, 0)))
        return total
