"""Records of a pass, or of a part of one: rows from the arrays that it holds, made where they are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from .errors import ConfigError, MeterError
from .kernels.charge import KINDS
from .models.token_operations import token_operations
from .online import OnlinePass
from .preparation import Prepared
from .record_table import label, row_chunks
from .spool import forget, in_parts
from .text import Text
from .text_blocks import articles_of_lines, lines_of_pieces, words_of_pieces

# Words as ``text.py`` finds them, and the ends of lines.
_WORD_TOKEN = re.compile(r"[^ \t\r\f\v\n]+|\n")


def check_recordable(prepared: Prepared) -> None:
    """Find out before a long run, not after it, that its operations could not be told apart by predictions."""
    try:
        token_operations(prepared.checkpoint, prepared.context, prepared.inputs[:1], prepared.targets[:1])
    except ConfigError:
        raise ConfigError(
            f"{prepared.checkpoint.path}: experts differ in their formats or in what is kept of them, so that the cost "
            "laws do not know the operations of each prediction; run without --records"
        ) from None


def texts_of_words(text: Text) -> Iterator[str]:
    """Each word token of a text: a word, or a line feed for the end of a line."""
    part = ""
    for part in text.parts():
        yield from _WORD_TOKEN.findall(part)
    if not text.cut and not part.endswith("\n"):
        yield "\n"


class TextRecords:
    """Those columns of the rows of a pass that need no run: where pieces stand, what they are, and their operations.

    Parameters
    ----------
    prepared : Prepared
    operations : (n,) int64
        Of the predictions that are to have rows, from the first one on.
    """

    def __init__(self, prepared: Prepared, operations: np.ndarray) -> None:
        self._prepared, self._operations, self.size = prepared, operations, operations.size
        self._skipped = int(prepared.options.first_token == "skip")
        self._lines = lines_of_pieces(prepared.text, prepared.encoded)
        self._articles = articles_of_lines(prepared.text)
        self._words = words_of_pieces(prepared.encoded)
        seen = np.zeros(prepared.tokenizer.size, bool)
        for part in in_parts(prepared.targets[: self.size]):
            seen[part] = True
        self.token_id = np.flatnonzero(seen)
        self.token_text = np.array([label(prepared.tokenizer.token(token)) for token in self.token_id.tolist()])
        self.text_sha256, self.checkpoint_sha256 = prepared.text.sha256, prepared.checkpoint.sha256()

    def column(self, name: str, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` - 1 of a column."""
        rows, pieces = slice(first, last), slice(first + self._skipped, last + self._skipped)
        if name == "position":
            return np.arange(pieces.start, pieces.stop)
        if name == "line":
            return _taken(self._lines, pieces)
        if name == "article":
            return (self._articles[_taken(self._lines, pieces)] - 1).astype(np.int32)
        if name == "word":
            return _taken(self._words, pieces)
        if name == "word_start":
            return _taken(self._prepared.encoded.words, pieces) > 0
        return _taken({"token": self._prepared.targets, "operations": self._operations}[name], rows)

    def word_texts(self) -> Iterator[str] | None:
        """The text's word tokens, from its first one on; None where every one in the rows is one piece."""
        parts = (self.column("word", first, min(last + 1, self.size)) for first, last in row_chunks(self))
        return None if all((np.diff(part) > 0).all() for part in parts) else texts_of_words(self._prepared.text)


def _taken(values: np.ndarray, rows: slice) -> np.ndarray:
    """A copy of some of a long column, which is forgotten."""
    taken = values[rows].copy()
    forget(values)
    return taken


class PassRecords(TextRecords):
    """The rows of a pass, as ``RecordSource`` describes them.

    Parameters
    ----------
    prepared : Prepared
    run : OnlinePass
        With ranks; of one that was interrupted there are rows for what was done.

    Raises
    ------
    MeterError
        Where the operations of all predictions are not those that were metered.
    """

    def __init__(self, prepared: Prepared, run: OnlinePass) -> None:
        super().__init__(prepared, _metered(prepared, run))
        self._run = run

    def column(self, name: str, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` - 1 of a column."""
        made = {"log_prob": self._run.log_probs, "rank": self._run.ranks}
        return _taken(made[name], slice(first, last)) if name in made else super().column(name, first, last)


def _metered(prepared: Prepared, run: OnlinePass) -> np.ndarray:
    """Operations of each prediction, by the laws, whose sum must be what was metered."""
    done = slice(run.done)
    found = token_operations(prepared.checkpoint, prepared.context, prepared.inputs[done], prepared.targets[done])
    metered = int(run.tallies[:, :, : len(KINDS)].sum())
    total = sum(int(part.sum()) for part in in_parts(found))
    if total != metered:
        raise MeterError(
            f"{prepared.checkpoint.path}: the operations of the predictions sum to {total} by the cost "
            f"laws, but {metered} were metered; please report this with the checkpoint's configuration"
        )
    return found
