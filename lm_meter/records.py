"""Files of records: a row for each prediction of a pass, as ``.npz``, ``.csv`` or ``.parquet``.

The columns are those of ``Records``. A CSV or Parquet file also has the text of each piece; of a sub-word model a
second file, ``NAME.words.csv`` or ``NAME.words.parquet``, has a row for each word token. An ``.npz`` holds all of it.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .atomic_file import atomic_file
from .csv_records import read_csv_records, read_csv_words, write_csv_records, write_csv_words
from .errors import ConfigError, RecordsWarning
from .npz_records import read_npz_records, read_npz_words, write_npz_records
from .parquet_records import (
    pyarrow_module,
    read_parquet_records,
    read_parquet_words,
    write_parquet_records,
    write_parquet_words,
)
from .record_table import Records, RecordSource, Words, check_records, check_words, is_by_word

__all__ = [
    "RecordHashes",
    "Records",
    "Words",
    "check_records_name",
    "read_records",
    "read_words",
    "stored_words",
    "words_path",
    "write_records",
]


class RecordHashes(NamedTuple):
    """SHA-256 of a file of records, in hexadecimal, and of the second one of word tokens; None where there is none."""

    sha256: str
    words_sha256: str | None


class _Format(NamedTuple):
    write: Callable[[RecordSource, Any], None]
    read: Callable[[Path], Records]
    read_words: Callable[[Path], Words]
    write_words: Callable[[RecordSource, Any], None] | None  # None: they are in the same file


_FORMATS = {
    ".npz": _Format(write_npz_records, read_npz_records, read_npz_words, None),
    ".csv": _Format(write_csv_records, read_csv_records, read_csv_words, write_csv_words),
    ".parquet": _Format(write_parquet_records, read_parquet_records, read_parquet_words, write_parquet_words),
}


def check_records_name(path: str | Path) -> Path:
    """The path, if its suffix names a format and that can be written here.

    Raises
    ------
    ConfigError
    """
    path = Path(path)
    if path.suffix not in _FORMATS:
        raise ConfigError(f"{path}: is no name for records; expected one that ends in .npz, .csv or .parquet")
    if path.suffix == ".parquet":
        pyarrow_module()
    return path


def words_path(path: Path) -> Path | None:
    """The second file, of word tokens, beside a file of records; None where they are in the same."""
    return None if _FORMATS[path.suffix].write_words is None else path.with_suffix(f".words{path.suffix}")


def files_of_records(path: Path) -> list[Path]:
    """A file of records that can be read, and that of word tokens beside it where its format has one."""
    beside = words_path(path)
    return [path] if beside is None else [path, beside]


def write_records(source: RecordSource, path: str | Path) -> RecordHashes:
    """Write records, and a sub-word model's word tokens; each file appears only when complete.

    Parameters
    ----------
    source : RecordSource
        What a pass holds, or ``Records``.
    path : path
        Its suffix chooses the format.

    Returns
    -------
    RecordHashes

    Raises
    ------
    ConfigError
        The suffix is another one, pyarrow is missing, or the file cannot be written.
    """
    path = check_records_name(path)
    kind, beside = _FORMATS[path.suffix], words_path(path)
    try:
        words = None
        if kind.write_words and beside and source.word_texts() is not None:
            words = _written(kind.write_words, source, beside)
        return RecordHashes(_written(kind.write, source, path), words)
    except OSError as error:
        raise ConfigError(f"{path}: records cannot be written ({error.strerror}); choose another place") from None


def _written(write: Callable[[RecordSource, Any], None], source: RecordSource, path: Path) -> str:
    """Write a file; returns its SHA-256."""
    with atomic_file(path) as file:
        write(source, file)
        file.flush()
        return _sha256(file.fileno())


def _sha256(descriptor: int) -> str:
    digest, at = hashlib.sha256(), 0
    while part := os.pread(descriptor, 1 << 20, at):
        digest.update(part)
        at += len(part)
    return digest.hexdigest()


def kept_records(source: RecordSource, path: Path) -> dict[str, str | None] | None:
    """Write the records of a pass; what its result says of them, None where they could not be written.

    That is only warned of: a disk that filled up during a long run must not take the result with it.
    """
    try:
        return {"file": str(path).encode("utf-8", "replace").decode(), **write_records(source, path)._asdict()}
    except ConfigError as error:
        warnings.warn(str(error), RecordsWarning, stacklevel=5)  # who called evaluate, or evaluate_entry
        return None


def read_records(path: str | Path) -> Records:
    """Read and check a file of records, whatever its format.

    Raises
    ------
    ConfigError
        In one line, what is wrong with it.
    """
    path = check_records_name(path)
    return check_records(_FORMATS[path.suffix].read(path), path)


def read_words(path: str | Path) -> Words | None:
    """Read and check the word tokens, with their texts, of a sub-word model's records; None of another model's.

    Parameters
    ----------
    path : path
        The file of records; that of word tokens, if it is another one, lies beside it.

    Raises
    ------
    ConfigError
    """
    path = check_records_name(path)
    sums = read_records(path).by_word()
    found = stored_words(path, sums)
    return None if found is None else check_words(found, sums, words_path(path) or path)


def stored_words(path: Path, sums: Words) -> Words | None:
    """Word tokens as they stand in the file, whether or not they are the sums of the records; None where none do."""
    return None if is_by_word(sums) else _FORMATS[path.suffix].read_words(words_path(path) or path)
