"""How many positions the queries of a run see together, in closed form: a long context costs no more than a short one.

With t(n) = 0 + 1 + ... + n, and q over the queries from 0 to p: the sum of min(q, m) is t(p), or t(m) + (p - m) m where
p > m; that of the whole number of strides s in q is s t(k - 1) + k (p - k s + 1) with k = p // s.
"""

from __future__ import annotations

from .attention_pattern import DENSE, FIXED, STRIDED, seen_positions
from .jit import kernel


@kernel
def _triangle(n):
    """0 + 1 + ... + n; 0 where n is below 1."""
    return n * (n + 1) // 2 if n > 0 else 0


@kernel
def _capped(p, most):
    """Sum of min(q, most) over q = 0 .. p; 0 where p is below 0."""
    if p < 0:
        return 0
    return _triangle(min(p, most)) + max(0, p - most) * most


@kernel
def _strides(p, stride):
    """Sum of q // stride over q = 0 .. p."""
    k = p // stride
    return stride * _triangle(k - 1) + k * (p - k * stride + 1)


@kernel
def _strided(pattern, p, window):
    """STRIDED: with m = min(q, window) a query sees min(m, local) + 1 near ones, and the strides of m beyond these."""
    local, stride = pattern.local, pattern.stride
    inside, near = min(p, window), min(p, window, local)
    total = _capped(inside, local) + inside + 1
    total += _strides(inside, stride) - _strides(near, stride) - (inside - near) * (near // stride)
    return total + max(0, p - window) * seen_positions(pattern, window, window)


@kernel
def _summaries(pattern, p):
    """Sum over x = 0 .. p of the positions before x that are among the last ``extra`` of their blocks."""
    if p < 0:
        return 0
    stride, extra = pattern.stride, pattern.extra
    cycles, rest = (p + 1) // stride, (p + 1) % stride
    return extra * _strides(p, stride) + cycles * _triangle(extra - 1) + _triangle(rest - 1 - (stride - extra))


@kernel
def _narrow_block(pattern, rest, window):
    """FIXED with a window inside a block: sum over the first ``rest`` queries of any block but the first one."""
    inside = min(rest, window + 1)  # those that see the end of the block before
    far = _capped(window, pattern.extra) - _capped(window - inside, pattern.extra)
    return far + _capped(rest - 1, window) + rest


@kernel
def _fixed(pattern, p, window):
    stride = pattern.stride
    if window >= stride - 1:
        # Summaries before the query's block, less those before the window, and its place in the block.
        blocks = _strides(p, stride)
        own = _triangle(p) - stride * blocks + p + 1
        return pattern.extra * blocks + own - _summaries(pattern, p - window)
    first = min(p + 1, stride)
    cycles, rest = (p + 1 - first) // stride, (p + 1 - first) % stride
    total = _capped(first - 1, window) + first
    return total + cycles * _narrow_block(pattern, stride, window) + _narrow_block(pattern, rest, window)


@kernel
def _up_to(pattern, p, window):
    """Positions that the queries from 0 to ``p`` see together."""
    if p < 0:
        return 0
    if pattern.kind == STRIDED:
        return _strided(pattern, p, window)
    if pattern.kind == FIXED:
        return _fixed(pattern, p, window)
    if pattern.kind == DENSE:
        return _capped(p, window) + p + 1
    near = min(window, pattern.local)
    return _capped(p, near) + p + 1 + _capped(p - near, pattern.extra)


@kernel
def seen_together(pattern, first, count, window):
    """How many positions ``count`` queries from position ``first`` on see together."""
    if count == 1:
        return seen_positions(pattern, first, window)
    return _up_to(pattern, first + count - 1, window) - _up_to(pattern, first - 1, window)
