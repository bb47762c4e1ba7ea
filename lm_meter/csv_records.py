"""Records as comma-separated values: a row for each prediction, and a second file with one for each word token."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from .errors import ConfigError
from .record_table import CHUNK, COLUMNS, WORD_COLUMNS, Records, RecordSource, Words, row_chunks, word_chunks
from .regular_file import open_regular

_HEADER, _WORD_HEADER = (*COLUMNS, "piece"), (*WORD_COLUMNS, "text")
_TRUTH = {"False": False, "True": True}
_DIGITS, _NUMBER = frozenset("-0123456789"), frozenset("+-.0123456789e")
_WRITTEN_BY = "expected records written by lm-meter eval --records"
_LONGEST_FIELD = 1 << 14  # characters; ours have at most 200 and the quotes
_LONGEST_LINE = 1 << 16  # characters


def _write_rows(file: Any, header: Sequence[str], chunks: Iterator[Sequence[Sequence[Any]]]) -> None:
    """Write rows, given by columns, to a binary file. Floats are the shortest decimals that give back their bits."""
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    text.write(",".join(header) + "\n")
    # All text in quotes: the writer would leave a carriage return without.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    for columns in chunks:
        writer.writerows(zip(*columns, strict=True))
    text.detach()


def write_csv_records(source: RecordSource, file: Any) -> None:
    """Write all rows to a binary file, some at a time."""
    texts = source.token_text.tolist()

    def columns(first: int, last: int) -> Iterator[list[Any]]:
        for name in COLUMNS:
            yield source.column(name, first, last).tolist()
        places = np.searchsorted(source.token_id, source.column("token", first, last))
        yield [texts[place] for place in places.tolist()]

    _write_rows(file, _HEADER, (list(columns(*rows)) for rows in row_chunks(source.size)))


def write_csv_words(source: RecordSource, file: Any) -> None:
    """Write all word tokens to a binary file, some at a time."""
    names = WORD_COLUMNS
    chunks = ([*(getattr(words, name).tolist() for name in names), words.text or ()] for words in word_chunks(source))
    _write_rows(file, _WORD_HEADER, chunks)


def read_csv_records(path: Path) -> Records:
    """Read the rows."""
    known: dict[int, str] = {}
    chunks = []
    for columns in _chunks(path, _HEADER):
        pieces = columns.pop("piece")
        chunks.append(_typed(columns, COLUMNS, path))
        for token, piece in zip(chunks[-1]["token"].tolist(), pieces, strict=True):
            if known.setdefault(token, piece) != piece:
                raise ConfigError(f"{path}: token {token} is two pieces, {known[token]!r:.60} and {piece!r:.60}")
    tokens = sorted(known)
    texts = np.array([known[token] for token in tokens] or [""])[: len(tokens)]
    return Records(**_joined(chunks, COLUMNS), token_id=np.array(tokens, np.int64), token_text=texts)


def read_csv_words(path: Path) -> Words:
    """Read the file of word tokens."""
    texts: list[str] = []
    chunks = []
    for columns in _chunks(path, _WORD_HEADER):
        texts += columns.pop("text")
        chunks.append(_typed(columns, WORD_COLUMNS, path))
    return Words(**_joined(chunks, WORD_COLUMNS), text=tuple(texts))


def _joined(chunks: Sequence[Mapping[str, np.ndarray]], types: Mapping[str, str]) -> dict[str, Any]:
    return {name: np.concatenate([np.zeros(0, dtype), *(c[name] for c in chunks)]) for name, dtype in types.items()}


def _chunks(path: Path, header: Sequence[str]) -> Iterator[dict[str, Sequence[str]]]:
    """Columns of some rows at a time, as text."""
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with io.TextIOWrapper(open_regular(path), "utf-8", newline="") as file:
            rows = csv.reader(_lines(file), strict=True)
            if next(rows, None) != list(header):
                raise ConfigError(f"{path}: the first line is not {','.join(header)}; {_WRITTEN_BY}")
            while chunk := list(itertools.islice(rows, CHUNK)):
                wrong = next((row for row in chunk if len(row) != len(header)), None)
                if wrong is not None:
                    raise ConfigError(f"{path}: a row has {len(wrong)} fields; expected {len(header)}")
                yield dict(zip(header, zip(*chunk, strict=True), strict=True))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {_WRITTEN_BY}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not comma-separated UTF-8 ({error}); {_WRITTEN_BY}") from None
    finally:
        csv.field_size_limit(limit)


def _lines(file: IO[str]) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise csv.Error(f"a line of more than {_LONGEST_LINE} characters")
        yield line


def _typed(columns: Mapping[str, Sequence[str]], types: Mapping[str, str], path: Path) -> dict[str, np.ndarray]:
    """Columns as numbers."""
    found = {}
    for name, dtype in types.items():
        try:
            found[name] = _numbers(columns[name], dtype)
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"{path}: column {name} is not {dtype} ({error!s:.80}); {_WRITTEN_BY}") from None
    return found


def _numbers(column: Sequence[str], dtype: str) -> np.ndarray:
    if dtype == "bool":
        surplus = set(column) - set(_TRUTH)
        if surplus:
            raise ValueError(f"found {min(surplus)!r}")
        return np.array([_TRUTH[text] for text in column], bool)
    allowed = _NUMBER if dtype == "float64" else _DIGITS
    # Python's own rules are wider: blanks around a number, underscores inside, "inf".
    surplus = set().union(*column) - allowed
    if surplus:
        raise ValueError(f"found {min(surplus)!r}")
    return np.array(list(map(float if dtype == "float64" else int, column)), dtype)
