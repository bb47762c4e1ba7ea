"""Records of a pass, or of a part of one: rows from the arrays that it holds, made where they are asked for."""

from __future__ import annotations

import numpy as np

from .errors import ConfigError, MeterError
from .kernels.charge import KINDS
from .models.token_operations import token_operations
from .online import OnlinePass
from .preparation import Prepared
from .spool import in_parts, taken
from .text_columns import TextColumns
from .word_texts import WordTexts


def check_recordable(prepared: Prepared) -> None:
    """Find out before a long run, not after it, that its operations could not be told apart by predictions."""
    try:
        token_operations(prepared.checkpoint, prepared.context, prepared.inputs[:1], prepared.targets[:1])
    except ConfigError:
        raise ConfigError(
            f"{prepared.checkpoint.path}: experts differ in their formats or in what is kept of them, so that the cost "
            "laws do not know the operations of each prediction; run without --records"
        ) from None


def rows_of(prepared: Prepared, size: int) -> TextColumns:
    """The first rows of a text that is prepared."""
    skipped = int(prepared.options.first_token == "skip")
    return TextColumns(prepared.text, prepared.encoded, prepared.targets[:size], skipped, prepared.tokenizer)


class TextRecords:
    """Those columns of the rows of a pass that need no run: where pieces stand, what they are, and their operations.

    Parameters
    ----------
    prepared : Prepared
    operations : (n,) int64
        Of the predictions that are to have rows, from the first one on.
    """

    def __init__(self, prepared: Prepared, operations: np.ndarray) -> None:
        self._operations, self.size = operations, operations.size
        self._rows = rows_of(prepared, self.size)
        self.token_id, self.token_text = self._rows.token_id, self._rows.token_text
        self.text_sha256, self.checkpoint_sha256 = prepared.text.sha256, prepared.checkpoint.sha256()

    def column(self, name: str, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` - 1 of a column."""
        own = name == "operations"
        return taken(self._operations, slice(first, last)) if own else self._rows.column(name, first, last)

    def word_texts(self) -> WordTexts | None:
        """The text's word tokens, from its first one on; None where every one in the rows is one piece."""
        return self._rows.word_texts()


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
        return taken(made[name], slice(first, last)) if name in made else super().column(name, first, last)


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
