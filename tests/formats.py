"""Weight formats in NumPy: values of a format, and their bit patterns."""

import numpy as np

from lm_meter.bfloat16 import to_bfloat16
from lm_meter.kernels import formats

CODES = {"float32": formats.FLOAT32, "float16": formats.FLOAT16, "bfloat16": formats.BFLOAT16}
WIDTHS = {"float32": 32, "float16": 16, "bfloat16": 16}


def stored(values, name):
    """Bit patterns of float32 values rounded to a format, and the values they stand for."""
    values = np.asarray(values, np.float32)
    if name == "float32":
        return values.view(np.uint32), values
    if name == "float16":
        rounded = values.astype(np.float16)
        return rounded.view(np.uint16), rounded.astype(np.float32)
    halves = to_bfloat16(values)
    return halves, (halves.astype(np.uint32) << 16).view(np.float32)
