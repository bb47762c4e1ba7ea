"""Formats in which a weight is stored and executed.

The floating-point formats stand for themselves. An integer weight q, and an entry q of the code book that a 4-bit
index picks, stands for ``scale * q + offset`` with one scale, and one offset where there are any, for each group of
columns of a row. Tuples are indexed by format; tuples of plain numbers are compile-time constants.
"""

from __future__ import annotations

FLOAT32, FLOAT16, BFLOAT16, INT8, INT4, CODEBOOK4 = range(6)
NAMES = ("float32", "float16", "bfloat16", "int8", "int4", "codebook4")

# Bits that a weight is stored in, and bits of the number that enters a multiply: an entry of a code book has eight.
STORED_BITS = (32, 16, 16, 8, 4, 4)
OPERAND_BITS = (32, 16, 16, 8, 4, 8)

# A unit: the columns of sixteen rows that are loaded and widened at once, and its bytes.
UNIT_COLUMNS = (1, 1, 1, 4, 8, 8)
UNIT_BYTES = (64, 32, 32, 64, 64, 64)

# Added to what is packed in all fields of a 16-bit half but the highest, for which they are then unsigned: see
# ``decode.nested_pairs``. Zero: fields are signed as they are, or indices.
FIELD_BIAS = (0, 0, 0, 128, 8, 0)

# Bytes of one floating-point weight.
ITEM_BYTES = (4, 2, 2)

SCALE_BITS = 16  # scales and offsets are float16
SCALE_BYTES = 2
CODEBOOK_BITS = 8
CODEBOOK_ENTRIES = 16


def is_integer(code: int) -> bool:
    """Whether weights of a format are integers with scales."""
    return code >= INT8
