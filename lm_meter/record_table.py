"""Records of a pass: a row for each prediction, and their sums for each word token."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from .errors import ConfigError
from .word_texts import WordTexts

FORMAT = "lm-meter/records/1"
# Columns and their types, in the order in which they are written.
COLUMNS = {
    "position": "int64",
    "line": "int64",
    "article": "int32",
    "word": "int64",
    "token": "int64",
    "log_prob": "float64",
    "rank": "int64",
    "operations": "int64",
    "word_start": "bool",
}
WORD_COLUMNS = {
    "word": "int64",
    "line": "int64",
    "article": "int32",
    "pieces": "int64",
    "log_prob": "float64",
    "operations": "int64",
}
CHUNK = 1 << 14  # rows that are made and written at a time
LONGEST_LABEL = 200  # characters


class RecordSource(Protocol):
    """Where rows come from: a pass, or ``Records`` that were read.

    ``size``: rows. ``token_id``: (k,) int64, tokens that stand in them, sorted. ``token_text``: (k,) NumPy unicode.
    """

    @property
    def size(self) -> int:
        """Rows."""

    @property
    def token_id(self) -> np.ndarray:
        """Tokens that stand in the rows, sorted: (k,) int64."""

    @property
    def token_text(self) -> np.ndarray:
        """What they are, as ``label`` shortens it: (k,) NumPy unicode."""

    @property
    def text_sha256(self) -> str | None:
        """Hash of the text."""

    @property
    def checkpoint_sha256(self) -> str | None:
        """Hash of the checkpoint."""

    def column(self, name: str, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` - 1 of a column."""

    def word_texts(self) -> WordTexts | None:
        """The text's word tokens, from its first one on; None where every one in the rows is one piece."""


@dataclass(frozen=True)
class Words:
    """Sums of records over word tokens.

    Attributes
    ----------
    word, line, pieces, operations : (words,) int64
        Number of the word token, of its line, and its pieces and their operations.
    article : (words,) int32
    log_prob : (words,) float64, in nats
    text : tuple of str, optional
        What each is. A piece that two words begin in belongs to the second one, which then has the text of both.
    """

    word: np.ndarray
    line: np.ndarray
    article: np.ndarray
    pieces: np.ndarray
    log_prob: np.ndarray
    operations: np.ndarray
    text: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Records:
    """A row for each prediction of a pass, in the order of the text.

    Attributes
    ----------
    position : (n,) int64
        Number of the predicted piece in the text.
    line : (n,) int64
        Line of the text that the piece stands in, from 0.
    article : (n,) int32
        Number of the article, from 0; -1 of a text without articles.
    word : (n,) int64
        Number of the word token (an end of line is one) that the piece belongs to.
    token : (n,) int64
        Number of the piece in the vocabulary.
    log_prob : (n,) float64
        In nats.
    rank : (n,) int64
        1 and how many tokens of the vocabulary have a larger log-probability.
    operations : (n,) int64
        Executed for the prediction, every kind counted as 1.
    word_start : (n,) bool
        Whether a word token begins in the piece.
    token_id : (k,) int64
        The tokens in ``token``, sorted, and ``token_text``, (k,) NumPy unicode, what they are.
    text_sha256, checkpoint_sha256 : str or None
        Of the pass; a CSV file does not say.
    """

    position: np.ndarray
    line: np.ndarray
    article: np.ndarray
    word: np.ndarray
    token: np.ndarray
    log_prob: np.ndarray
    rank: np.ndarray
    operations: np.ndarray
    word_start: np.ndarray
    token_id: np.ndarray
    token_text: np.ndarray
    text_sha256: str | None = None
    checkpoint_sha256: str | None = None

    @property
    def size(self) -> int:
        """Rows."""
        return self.position.size

    def column(self, name: str, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` - 1 of a column."""
        return getattr(self, name)[first:last]

    def word_texts(self) -> WordTexts | None:
        """None: words are not in the rows."""
        return None

    def by_word(self) -> Words:
        """Sums over word tokens."""
        return sums_by_word(self, 0, self.size)


def label(text: str) -> str:
    """What stands in a table for a piece: its first 200 characters, and no zero character, which would end it."""
    return text[:LONGEST_LABEL].replace("\0", "\u2400") if len(text) > LONGEST_LABEL or "\0" in text else text


def _labels(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The same of many, which are seldom long: all are looked at together."""
    if max(map(len, texts), default=0) <= LONGEST_LABEL and "\0" not in "".join(texts):
        return texts
    return tuple(map(label, texts))


def row_chunks(size: int) -> Iterator[tuple[int, int]]:
    """So many rows, some at a time: first one, and the one behind the last."""
    for first in range(0, size, CHUNK):
        yield first, min(first + CHUNK, size)


def word_column(source: RecordSource, name: str, first: int, last: int) -> np.ndarray:
    """A column of sums over word tokens, of rows ``first`` to ``last`` - 1, of which there is one or more."""
    starts = np.flatnonzero(np.diff(source.column("word", first, last), prepend=-1))
    if name == "pieces":
        return np.diff(starts, append=last - first)
    column = source.column(name, first, last)
    return np.add.reduceat(column, starts) if name in ("log_prob", "operations") else column[starts]


def sums_by_word(source: RecordSource, first: int, last: int) -> Words:
    """Sums over word tokens of rows ``first`` to ``last`` - 1."""
    word, line, article, pieces, log_prob, operations = (
        word_column(source, name, first, last) for name in WORD_COLUMNS
    )
    return Words(word, line, article, pieces, log_prob, operations)


def _next(texts: Iterator[str], counts: np.ndarray) -> Iterator[str]:
    """The next texts, so many of them joined each time."""
    if (counts == 1).all():
        return itertools.islice(texts, counts.size)
    return (" ".join(itertools.islice(texts, count)) for count in counts.tolist())


def word_rows(source: RecordSource) -> Iterator[tuple[int, int]]:
    """The rows, some at a time, so that no word token is torn: first one, and the one behind the last."""
    first, length = 0, CHUNK
    while first < source.size:
        last = min(first + length, source.size)
        if last < source.size:
            word = source.column("word", first, last)
            last = first + int(np.searchsorted(word, word[-1]))
            if last == first:  # one word has them all
                length *= 2
                continue
        yield first, last
        first, length = last, CHUNK


def word_chunks(source: RecordSource) -> Iterator[Words]:
    """Word tokens, some at a time, with their texts; none where every one is a row."""
    found_texts, taken = source.word_texts(), 0
    if found_texts is None:
        return
    texts = iter(found_texts)
    for first, last in word_rows(source):
        found = sums_by_word(source, first, last)
        counts = np.diff(found.word, prepend=taken - 1)
        taken = int(found.word[-1]) + 1
        yield replace(found, text=_labels(tuple(_next(texts, counts))))


def check_records(records: Records, path: Path) -> Records:
    """The records, if they can be a pass's."""
    for name, dtype in COLUMNS.items():
        column = getattr(records, name)
        if column.dtype != np.dtype(dtype) or column.shape != records.position.shape or column.ndim != 1:
            raise ConfigError(
                f"{path}: column {name} is {column.dtype} {list(column.shape)}; expected {dtype}, a number for each row"
            )
    found = _contradiction(records)
    if found:
        raise ConfigError(f"{path}: {found}; write the records again with eval --records")
    return records


def _contradiction(records: Records) -> str | None:
    """What cannot be so in the rows of a pass."""
    if records.size == 0:
        return "there are no rows"
    if records.position[0] not in (0, 1) or (np.diff(records.position) != 1).any():
        return "positions do not count from 0 or 1"
    for name in ("line", "article", "word"):
        column = getattr(records, name)
        if (np.diff(column) < 0).any() or column[0] < (-1 if name == "article" else 0):
            return f"column {name} does not ascend from the beginning of a text"
    if not np.isfinite(records.log_prob).all():
        return "a log-probability is not finite"
    for name, least in (("token", 0), ("rank", 1), ("operations", 0)):
        if getattr(records, name).min() < least:
            return f"column {name} has a number below {least}"
    if records.token_id.shape != records.token_text.shape or (np.diff(records.token_id) <= 0).any():
        return "token_id and token_text are not a text for each token in their order"
    if not np.isin(records.token, records.token_id).all():
        return "a token has no text"
    return None


def is_by_word(sums: Words) -> bool:
    """Whether every word token is one piece."""
    return bool((sums.pieces == 1).all())


def check_words(words: Words, sums: Words, path: Path) -> Words:
    """The words, if they are those whose sums the records have."""
    if len(words.text or ()) != words.word.size or any(
        not np.array_equal(getattr(words, name), getattr(sums, name)) for name in WORD_COLUMNS
    ):
        raise ConfigError(f"{path}: its words are not those of the records; write both again with eval --records")
    return words
