"""Formats in which a weight is stored and executed."""

from __future__ import annotations

FLOAT32 = 0
FLOAT16 = 1
BFLOAT16 = 2

# Bytes and declared bits of one weight, indexed by format. Tuples of plain numbers are compile-time constants.
ITEM_BYTES = (4, 2, 2)
BITS = (32, 16, 16)
