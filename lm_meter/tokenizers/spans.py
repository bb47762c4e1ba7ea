"""Encoded texts from pieces that lie one behind the other in the text."""

from __future__ import annotations

import numpy as np

from ..spool import forget
from .encoding import Encoded, Gathered

_BLANKS = np.frombuffer(b" \t\r\f\v\n", np.uint8)
_LINE_END = 0x0A
_PART = 1 << 14  # pieces that are looked at together: what else is needed does not grow with the text


def encoded_spans(raw: np.ndarray, tokens: np.ndarray, ends: np.ndarray) -> Encoded:
    """An ``Encoded`` from pieces that cover a text without gaps.

    Parameters
    ----------
    raw : (bytes,) uint8
        The text in UTF-8.
    tokens : (pieces,) integers
    ends : (pieces,) int64
        Byte behind each piece; the last one is the text's length. A piece may be empty.
    """
    found = Gathered()
    for first in range(0, len(tokens), _PART):
        part = slice(first, first + _PART)
        start = int(ends[first - 1]) if first else 0
        own = ends[part] - start
        here = raw[start : start + int(own[-1])]
        blank = np.isin(here, _BLANKS)
        before = np.append(start == 0 or raw[start - 1] in _BLANKS, blank[:-1])[: here.size]
        begins = (here == _LINE_END) | (~blank & before)
        words = np.append(0, np.cumsum(begins))[own]
        found.add([tokens[part], np.diff(words, prepend=0), np.diff(own, prepend=0), np.zeros_like(own)])
        forget(raw)
    return found.encoded()
