"""Records as Parquet, through pyarrow: a file for predictions, and a second one for word tokens."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ConfigError
from .record_table import (
    COLUMNS,
    FORMAT,
    LONGEST_LABEL,
    WORD_COLUMNS,
    Records,
    RecordSource,
    Words,
    row_chunks,
    word_chunks,
)
from .regular_file import open_regular

_KEYS = {name: f"lm-meter.{name}".encode() for name in ("format", "text_sha256", "checkpoint_sha256")}
_COMPRESSIONS = ("SNAPPY", "UNCOMPRESSED")  # which make at most 21 bytes of one
_WRITTEN_BY = "expected records written by lm-meter eval --records"


def pyarrow_module(name: str = "pyarrow") -> Any:
    """Import pyarrow, or a module of it; ConfigError says how to install it where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            "records in Parquet need the package pyarrow, which is not installed; pip install pyarrow, or "
            "name a .npz or .csv file"
        ) from None


def _schema(types: Mapping[str, str], text: str, source: RecordSource) -> Any:
    arrow = pyarrow_module()
    fields = [(name, arrow.from_numpy_dtype(np.dtype(dtype))) for name, dtype in types.items()]
    values = {"format": FORMAT, "text_sha256": source.text_sha256, "checkpoint_sha256": source.checkpoint_sha256}
    return arrow.schema([*fields, (text, arrow.string())], {_KEYS[key]: value or "" for key, value in values.items()})


def _write(file: Any, schema: Any, chunks: Iterable[Sequence[Any]]) -> None:
    """Write rows, given by columns, to a binary file."""
    arrow, parquet = pyarrow_module(), pyarrow_module("pyarrow.parquet")
    with parquet.ParquetWriter(file, schema) as writer:
        for columns in chunks:
            writer.write_batch(arrow.record_batch([arrow.array(column) for column in columns], schema))


def write_parquet_records(source: RecordSource, file: Any) -> None:
    """Write all rows to a binary file, some at a time."""
    texts = source.token_text

    def columns(first: int, last: int) -> list[Any]:
        found = [source.column(name, first, last) for name in COLUMNS]
        tokens = np.searchsorted(source.token_id, source.column("token", first, last))
        return [*found, texts[tokens].tolist()]

    _write(file, _schema(COLUMNS, "piece", source), (columns(*rows) for rows in row_chunks(source.size)))


def write_parquet_words(source: RecordSource, file: Any) -> None:
    """Write all word tokens to a binary file, some at a time."""
    chunks = (
        [*(getattr(words, name) for name in WORD_COLUMNS), list(words.text or ())] for words in word_chunks(source)
    )
    _write(file, _schema(WORD_COLUMNS, "text", source), chunks)


def _read(path: Path, types: Mapping[str, str], text: str) -> tuple[dict[str, Any], Any, dict[bytes, bytes]]:
    """Columns of numbers, the column of text, and what the file says of itself."""
    arrow, parquet = pyarrow_module(), pyarrow_module("pyarrow.parquet")
    try:
        with open_regular(path) as opened:
            file = parquet.ParquetFile(opened)
            size = os.fstat(opened.fileno()).st_size
            # No row of ours takes less than a byte, however well it is packed.
            if file.metadata.num_rows > size:
                raise ValueError(f"{file.metadata.num_rows} rows in {size} bytes")
            expected = [(name, arrow.from_numpy_dtype(np.dtype(dtype))) for name, dtype in types.items()]
            schema = file.schema_arrow
            if list(zip(schema.names, schema.types, strict=True)) != [*expected, (text, arrow.string())]:
                raise ValueError(f"columns {', '.join(schema.names)}")
            _refuse_packed(file.metadata)
            # A text that stands in many rows is not written out for each.
            table = parquet.ParquetFile(opened, read_dictionary=[text]).read()
        if any(column.null_count for column in table.columns):
            raise ValueError("a number is missing")
        for chunk in table.column(text).chunks:
            longest = max(map(len, chunk.dictionary.to_pylist()), default=0)
            if longest > LONGEST_LABEL:
                raise ValueError(f"a text of {longest} characters")
        columns = {name: table.column(name).to_numpy() for name in types}
        return columns, table.column(text), dict(schema.metadata or {})
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0][:80]
        raise ConfigError(f"{path}: cannot be read as Parquet ({reason}); {_WRITTEN_BY}") from None
    except Exception as error:  # the package's own kinds, one for each of its layers
        reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise ConfigError(f"{path}: has no records in Parquet ({reason}); {_WRITTEN_BY}") from None


def _refuse_packed(metadata: Any) -> None:
    """Refuse how we never pack: a small file could be a large table."""
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            found = metadata.row_group(group).column(column).compression
            if found not in _COMPRESSIONS:
                raise ValueError(f"a column is packed as {found:.40}; expected one of {', '.join(_COMPRESSIONS)}")


def read_parquet_records(path: Path) -> Records:
    """Read the rows."""
    columns, pieces, said = _read(path, COLUMNS, "piece")
    tokens, rows = np.unique(columns["token"], return_index=True)
    texts = pieces.take(rows).to_pylist()
    for name in ("text_sha256", "checkpoint_sha256"):
        columns[name] = said.get(_KEYS[name], b"").decode("utf-8", "replace") or None
    return Records(**columns, token_id=tokens, token_text=np.array(texts or [""])[: len(texts)])


def read_parquet_words(path: Path) -> Words:
    """Read the file of word tokens."""
    columns, texts, _ = _read(path, WORD_COLUMNS, "text")
    return Words(**columns, text=tuple(texts.to_pylist()))
