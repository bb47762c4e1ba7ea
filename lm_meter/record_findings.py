"""The records of a result, held against its text, its hashes and a run: each column has its own message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ConfigError
from .finding import Finding, more
from .pass_records import TextRecords
from .preparation import Prepared
from .record_table import COLUMNS, WORD_COLUMNS, Records, RecordSource, Words, word_chunks
from .records import read_records, stored_words
from .result_records import file_sha256, hashed_files, words_without_hash
from .slice_run import Slice, SliceRun
from .text_columns import TextColumns
from .word_texts import WordTexts

MADE = ("log_prob", "rank")  # columns that need a run


@dataclass(frozen=True)
class StoredRecords:
    """Records as their files have them.

    ``words``: of a sub-word model, whether or not they are its pieces' sums; None where ``missing``, their file, is not
    there.
    """

    records: Records
    words: Words | None = None
    missing: Path | None = None


def stored_records(document: Mapping[str, Any], path: Path) -> tuple[StoredRecords, list[Finding]]:
    """Read the records of a result, and compare them with it before anything is run."""
    records, files = read_records(path), hashed_files(document, path)
    if records.size != document["text"]["scored"]:
        raise ConfigError(
            f"the records have {records.size} rows, the result {document['text']['scored']} predictions; "
            "expected the records that were written with it"
        )
    missing = next((file for _, file in files if not file.is_file()), None)
    words = None if missing else stored_words(path, records.by_word())
    differ = []
    for field, file in files:
        if file == missing:
            continue
        found, wanted = file_sha256(file), document["records"][field]
        if found != wanted:
            what, subject = ("records", "the records have") if file == path else ("words", f"{file.name} has")
            message = f"{subject} SHA-256 {found[:12]}..., records.{field} in the result is {wanted[:12]}..."
            differ.append(Finding(what, message))
    wrong = words_without_hash(document, path, records)
    return StoredRecords(records, words, missing), [*differ, *([Finding("words", wrong)] if wrong else [])]


class PartRecords(TextRecords):
    """Rows of which a part was run: the columns that need a run are there for that part alone."""

    def __init__(self, prepared: Prepared, operations: np.ndarray, part: Slice, run: SliceRun) -> None:
        super().__init__(prepared, operations)
        self._part, self._made = part, dict(zip(MADE, run, strict=True))

    def column(self, name: str, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` - 1 of a column."""
        if name in self._made:
            return self._made[name][first - self._part.first : last - self._part.first]
        return super().column(name, first, last)


def compare_records(found: Records, again: RecordSource, part: Slice) -> list[Finding]:
    """Of each column the first value that the run does not give, and what else of the file it does not.

    ``part``: the rows whose log-probabilities and ranks ``again`` has; of the rest it has every row.
    """
    start = int(again.column("position", 0, 1)[0])
    differ = []
    for name in COLUMNS:
        rows = (part.first, part.last) if name in MADE else (0, found.size)
        differ += _compare_column(name, found.column(name, *rows), again.column(name, *rows), start + rows[0])
    for name in ("text_sha256", "checkpoint_sha256"):
        one, other = getattr(found, name), getattr(again, name)
        if one not in (None, other):  # a CSV file has none
            differ.append(Finding("records", f"{name} is {one!r:.60} in the records, {other!r} run again"))
    pieces = [dict(zip(r.token_id.tolist(), r.token_text.tolist(), strict=True)) for r in (found, again)]
    wrong = [token for token in sorted({*pieces[0], *pieces[1]}) if pieces[0].get(token) != pieces[1].get(token)]
    if wrong:
        one, other = (of.get(wrong[0]) for of in pieces)
        message = f"the text of token {wrong[0]} is {one!r:.60} in the records, {other!r:.60} run again"
        differ.append(Finding("records", message + more(len(wrong))))
    return differ


def _compare_column(name: str, found: np.ndarray, again: np.ndarray, start: int) -> list[Finding]:
    """The first value of a column that differs, at its position, and how many do; ``start``: position of the first."""
    wrong = _differ(found, again)
    if not wrong.size:
        return []
    at = int(wrong[0])
    one, other = (values[at].item() for values in (found, again))
    message = f"position {start + at}: {name} is {one!r} in the records, {other!r} run again{more(wrong.size)}"
    return [Finding("log_prob" if name == "log_prob" else "records", message, start + at)]


def _differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Places of numbers that have not the same bits: -0.0 is not 0.0."""
    if one.dtype == other.dtype == np.float64:
        one, other = (np.ascontiguousarray(values).view(np.int64) for values in (one, other))
    return np.flatnonzero(one != other)


class _TextWithLosses:
    """The rows of a text, with what records say of each but where it stands."""

    checkpoint_sha256 = None  # it does not matter here

    def __init__(self, rows: TextColumns, records: Records) -> None:
        self._rows, self._records, self.size = rows, records, rows.size
        self.token_id, self.token_text, self.text_sha256 = rows.token_id, rows.token_text, rows.text.sha256

    def column(self, name: str, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` - 1 of a column."""
        source = self._records if name in (*MADE, "operations") else self._rows
        return source.column(name, first, last)

    def word_texts(self) -> WordTexts | None:
        """The text's word tokens, from its first one on; None where every one in the rows is one piece."""
        return self._rows.word_texts()


def compare_words(stored: StoredRecords, rows: TextColumns) -> list[Finding]:
    """Of each column the first word token that is not the sum of its pieces, or not what stands in the text."""
    if stored.words is None:
        return []
    chunks = list(word_chunks(_TextWithLosses(rows, stored.records)))
    sums = {name: np.concatenate([getattr(chunk, name) for chunk in chunks] or [[]]) for name in WORD_COLUMNS}
    texts = [text for chunk in chunks for text in chunk.text or ()]
    own = {name: getattr(stored.words, name) for name in WORD_COLUMNS}
    spoken: Sequence[str] = stored.words.text or ()
    sizes = {len(spoken), *(column.size for column in own.values())}
    if sizes != {len(texts)}:
        counts = " and ".join(f"{size:,}" for size in sorted(sizes))
        return [Finding("words", f"the records have {counts} word tokens, the text {len(texts):,}")]
    differ = []
    for name in WORD_COLUMNS:
        wrong = _differ(own[name], sums[name]).tolist()
        if wrong:
            one, other = (values[name][wrong[0]].item() for values in (own, sums))
            differ.append((wrong, f"{name} is {one!r} in the records, {other!r} by its pieces"))
    wrong = [at for at, (one, other) in enumerate(zip(spoken, texts, strict=True)) if one != other]
    if wrong:
        differ.append((wrong, f"text is {spoken[wrong[0]]!r:.60} in the records"))
    return [
        Finding("words", f"word {int(sums['word'][wrong[0]])}, {texts[wrong[0]]!r:.60}: {values}{more(len(wrong))}")
        for wrong, values in differ
    ]
