"""Which rows of a table there are, each once."""

from __future__ import annotations

import numpy as np

_TABLE = 4  # numbers of a table for each value that is looked up in it


def distinct_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of (n, k) int64, none negative, and the number among these of each row.

    A row is made one number, column by column: sorting whole rows takes many times as long.
    """
    which = np.zeros(len(rows), np.int64)
    for column in rows.T:
        values = int(column.max(initial=0)) + 1
        if (int(which.max(initial=0)) + 1) * values > _TABLE * len(rows):  # too many for a table
            column, which = _numbered(column), _numbered(which)
            values = int(column.max(initial=0)) + 1
        which = which * values + column
    which = _numbered(which)
    firsts = np.zeros(int(which.max(initial=-1)) + 1, np.int64)
    firsts[which[::-1]] = np.arange(len(rows))[::-1]  # the last one written stays: the first of its kind
    return rows[firsts], which


def _numbered(values: np.ndarray) -> np.ndarray:
    """The number of each value, none negative, among the distinct ones in their order."""
    most = int(values.max(initial=0))
    if most > _TABLE * values.size:  # too far apart for a table
        return np.unique(values, return_inverse=True)[1]
    is_there = np.zeros(most + 1, np.int64)
    is_there[values] = 1
    return (np.cumsum(is_there) - 1)[values]
