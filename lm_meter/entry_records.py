"""Records of a pass with somebody's program: what it predicted, and no operations, as nobody has metered them."""

from __future__ import annotations

import numpy as np

from .text_columns import TextColumns
from .word_texts import WordTexts


class EntryRecords:
    """The rows of a pass, as ``RecordSource`` describes them.

    ``operations`` is 0 in each: the format has whole numbers, and a claim must not stand where counts do.

    Parameters
    ----------
    rows : TextColumns
        Of the predictions that were made.
    log_probs : (n,) float64, in nats
    ranks : (n,) int64
    """

    checkpoint_sha256 = None  # there is none

    def __init__(self, rows: TextColumns, log_probs: np.ndarray, ranks: np.ndarray) -> None:
        self._rows, self.size = rows, rows.size
        self.token_id, self.token_text, self.text_sha256 = rows.token_id, rows.token_text, rows.text.sha256
        self._own = {"log_prob": log_probs, "rank": ranks}

    def column(self, name: str, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` - 1 of a column."""
        if name == "operations":
            return np.zeros(last - first, np.int64)
        return self._own[name][first:last] if name in self._own else self._rows.column(name, first, last)

    def word_texts(self) -> WordTexts | None:
        """The text's word tokens, from its first one on; None where every one in the rows is one piece."""
        return self._rows.word_texts()
