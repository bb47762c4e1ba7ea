"""Asking the cache for what will be read soon."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

_I8, _I32 = ir.IntType(8), ir.IntType(32)


def emit_prefetch(builder: Any, address: Any) -> None:
    """Code that asks for the line at an address (i64), for reading, into the second-level cache."""
    pointer = builder.inttoptr(address, _I8.as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, _I32, _I32, _I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    for_reading, into_second_level, data = (ir.Constant(_I32, value) for value in (0, 2, 1))
    builder.call(function, [pointer, for_reading, into_second_level, data])
