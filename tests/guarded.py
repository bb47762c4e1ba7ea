"""Guard cells: outputs of kernels lie between cells whose change shows a write past the end."""

import numpy as np

GUARD = 64
_MARK = 0x7F3A5C11


class Guarded:
    """``array`` is a view in the middle of a larger one; ``check`` fails if anything around it was written."""

    def __init__(self, shape, dtype=np.float32):
        size = int(np.prod(shape))
        itemsize = np.dtype(dtype).itemsize
        self._whole = np.full((size * itemsize + 2 * GUARD * 4) // 4 + 1, _MARK, np.uint32)
        self.array = self._whole.view(np.uint8)[GUARD * 4 : GUARD * 4 + size * itemsize].view(dtype).reshape(shape)
        self.array[...] = 0
        self._end = GUARD * 4 + size * itemsize

    def check(self):
        raw = self._whole.view(np.uint8)
        pattern = np.full(raw.size // 4, _MARK, np.uint32).view(np.uint8)
        assert np.array_equal(raw[: GUARD * 4], pattern[: GUARD * 4]), "written before the beginning"
        assert np.array_equal(raw[self._end :], pattern[self._end :]), "written past the end"


def aligned_bytes(size):
    """``size`` zero bytes on a 64-byte boundary, as packed weights lie."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]
