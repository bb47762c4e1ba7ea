"""Encoded texts from pieces that lie one behind the other in the text."""

from __future__ import annotations

import numpy as np

from .encoding import Encoded

_BLANKS = np.frombuffer(b" \t\r\f\v\n", np.uint8)
_LINE_END = 0x0A


def encoded_spans(content: bytes, tokens: np.ndarray, ends: np.ndarray) -> Encoded:
    """An ``Encoded`` from pieces that cover a text without gaps.

    Parameters
    ----------
    content : bytes
        The text in UTF-8.
    tokens : (pieces,) int64
    ends : (pieces,) int64
        Byte behind each piece; the last one is the text's length. A piece may be empty.
    """
    raw = np.frombuffer(content, np.uint8)
    blank = np.isin(raw, _BLANKS)
    before = np.concatenate([[True], blank[:-1]])
    begins = (raw == _LINE_END) | (~blank & before)
    words = np.concatenate([[0], np.cumsum(begins)])[ends]
    sizes, begun = np.diff(ends, prepend=0), np.diff(words, prepend=0)
    return Encoded(np.ascontiguousarray(tokens, np.int64), begun, sizes, np.zeros_like(begun))
