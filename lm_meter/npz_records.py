"""Records as NumPy's ``.npz``: a member for each column, stored as it is, without pickles."""

from __future__ import annotations

import io
import itertools
import math
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
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
    label,
    row_chunks,
    word_chunks,
    word_column,
    word_rows,
)
from .regular_file import open_regular
from .spool import Spool, in_parts
from .word_texts import WordTexts
from .zip_directory import DAMAGED, members_of

_WORD = "word."
# In UTF-8, one text behind the other, and the byte behind each: one long word must not make all of them wide.
_TEXT, _TEXT_ENDS = f"{_WORD}text", f"{_WORD}text_ends"
_HASHES = ("text_sha256", "checkpoint_sha256")
_NAMES = {
    *COLUMNS,
    "token_id",
    "token_text",
    *_HASHES,
    "format",
    *(_WORD + name for name in WORD_COLUMNS),
    _TEXT,
    _TEXT_ENDS,
}
# Columns that take four bytes a row where all their numbers fit, as those of all but huge texts do. Records of before
# have eight; whoever reads either has int64.
_NARROW, _WIDE = "int32", "int64"
_NARROWED = {"position", "line", "word", "token", "rank", "pieces"}
_LAST_CHARACTER, _SURROGATES = 0x10FFFF, np.array([0xD800, 0xDFFF], np.uint32)
_MAX_HEADER = 4096  # bytes of an array's header
_WRITTEN_BY = "expected records written by lm-meter eval --records"


def write_npz_records(source: RecordSource, file: Any) -> None:
    """Write all columns to a binary file, some rows at a time; the same records give the same bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, dtype in COLUMNS.items():
            parts = (source.column(name, first, last) for first, last in row_chunks(source.size))
            _write(archive, name, _stored_type(source, name, dtype), (source.size,), parts)
        for name in ("token_id", "token_text"):
            array = getattr(source, name)
            _write(archive, name, array.dtype, array.shape, [array])
        for name, text in (("format", FORMAT), *((name, getattr(source, name) or "") for name in _HASHES)):
            array = np.array(text or " ")  # NumPy stores no empty text
            _write(archive, name, array.dtype, (), [array])
        texts = source.word_texts()
        if texts is not None:
            _write_words(source, texts, archive)


def _stored_type(source: RecordSource, name: str, dtype: str) -> str:
    """The type that a column is written in."""
    if name not in _NARROWED or not source.size:
        return dtype
    if name == "rank":
        most = max(int(source.column(name, first, last).max()) for first, last in row_chunks(source.size))
    elif name == "token":
        most = int(source.token_id[-1])
    else:  # these ascend; a word has no more pieces than there are
        most = source.size if name == "pieces" else int(source.column(name, source.size - 1, source.size)[0])
    return _NARROW if most <= np.iinfo(_NARROW).max else _WIDE


def _write_words(source: RecordSource, texts: WordTexts, archive: zipfile.ZipFile) -> None:
    spooled_raw, spooled_ends, size = Spool(np.uint8), Spool(np.int64), 0
    for raw, sizes in _labels_of_rows(source, texts):
        spooled_raw.add(raw)
        spooled_ends.add(size + np.cumsum(sizes))
        size += raw.size
    raw, ends = spooled_raw.array(), spooled_ends.array()
    for name, dtype in WORD_COLUMNS.items():
        parts = (word_column(source, name, first, last) for first, last in word_rows(source))
        _write(archive, _WORD + name, _stored_type(source, name, dtype), ends.shape, parts)
    _write(archive, _TEXT, "uint8", raw.shape, in_parts(raw))
    _write(archive, _TEXT_ENDS, "int64", ends.shape, in_parts(ends))


def _labels_of_rows(source: RecordSource, texts: WordTexts) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What stands for the word tokens of each row, some at a time: as ``WordTexts.in_bytes``."""
    words = [word_column(source, "word", first, last) for first, last in word_rows(source)]
    left = sum(part.size for part in words)
    if int(words[-1][-1]) + 1 > left:  # a row of several
        for chunk in word_chunks(source):
            yield _encoded(chunk.text or ())
        return
    # One for each row, and seldom long: they need not become texts of Python, a million of which take a second.
    for raw, sizes in texts.in_bytes():
        sizes = sizes[:left]
        raw = raw[: int(sizes.sum())]
        left -= sizes.size
        if sizes.max(initial=0) > LONGEST_LABEL or not raw.all():
            ends = np.cumsum(sizes).tolist()
            spoken = (raw[first:last].tobytes().decode() for first, last in itertools.pairwise([0, *ends]))
            yield _encoded(tuple(map(label, spoken)))
        else:
            yield raw, sizes


def _encoded(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    found = [text.encode() for text in texts]
    return np.frombuffer(b"".join(found), np.uint8), np.fromiter(map(len, found), np.int64)


def _write(
    archive: zipfile.ZipFile, name: str, dtype: Any, shape: tuple[int, ...], parts: Iterable[np.ndarray]
) -> None:
    dtype = np.dtype(dtype).newbyteorder("<")
    head = io.BytesIO()
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, header)
    info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
    with archive.open(info, "w", force_zip64=True) as member:
        member.write(head.getvalue())
        for part in parts:
            member.write(np.ascontiguousarray(part, dtype).tobytes())


class _Members:
    """The arrays of a file, each read and checked when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            file = open_regular(path)
            infos = members_of(file)
            self._size, self._archive = os.fstat(file.fileno()).st_size, zipfile.ZipFile(file)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}); {_WRITTEN_BY}") from None
        except DAMAGED as error:
            raise ConfigError(f"{path}: is not a zip archive, or is truncated ({error}); {_WRITTEN_BY}") from None
        self._infos = {info.filename.removesuffix(".npy"): info for info in infos}
        surplus = sorted(set(self._infos) - _NAMES)
        if surplus or len(self._infos) != len(infos):
            what = f"a surplus member {surplus[0]!r:.60}" if surplus else "a member twice"
            raise ConfigError(f"{path}: has {what}; {_WRITTEN_BY}")

    def column(self, prefix: str, name: str, dtype: str) -> np.ndarray:
        """A column of the type that rows have; it may be stored in a narrower one."""
        found = self.array(prefix + name, dtype, 1, _NARROW if name in _NARROWED else None)
        return found.astype(dtype, copy=False)

    def array(self, name: str, dtype: str | None, dimensions: int = 1, narrow: str | None = None) -> np.ndarray:
        """An array of some type, or of a ``narrow`` one; None: NumPy unicode."""
        info, where = self._infos.get(name), f"{self.path}: array {name}"
        if info is None:
            raise ConfigError(f"{where} is missing; {_WRITTEN_BY}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > self._size:
            raise ConfigError(f"{where} is compressed; expected stored data, as lm-meter eval --records writes them")
        try:
            raw = self._archive.read(info)
            head = io.BytesIO(raw[:_MAX_HEADER])
            if np.lib.format.read_magic(head) != (1, 0):
                raise ValueError("another version of .npy")
            shape, _, found = np.lib.format.read_array_header_1_0(head, max_header_size=_MAX_HEADER)
            expected = dtype or f"<U{found.itemsize // 4}"
            # None is no type to compare with: NumPy takes it for float64.
            if found not in [np.dtype(each) for each in (expected, narrow) if each is not None]:
                raise ValueError(f"type {found}")
            if len(shape) != dimensions or min(shape, default=0) < 0 or found.itemsize == 0:
                raise ValueError(f"shape {shape}")
            if math.prod(shape) * found.itemsize != len(raw) - head.tell():
                raise ValueError(f"{len(raw) - head.tell()} bytes for shape {shape}")
            array = np.frombuffer(raw, found, offset=head.tell()).reshape(shape)
            if found.kind == "U" and _has_no_character(array):
                raise ValueError("no Unicode")
            return array
        except Exception as error:  # NumPy's parser of hostile text raises what its parts do
            reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
            raise ConfigError(f"{where} cannot be read ({reason}); {_WRITTEN_BY}") from None

    def text(self, name: str) -> str:
        """One string."""
        return str(self.array(name, None, 0)[()])


def _has_no_character(array: np.ndarray) -> bool:
    """Whether NumPy unicode holds numbers that are no characters, which NumPy itself does not look at."""
    codes = np.ascontiguousarray(array).reshape(-1).view(np.uint32)
    return bool(((codes > _LAST_CHARACTER) | (codes - _SURROGATES[0] <= _SURROGATES[1] - _SURROGATES[0])).any())


def _opened(path: Path) -> _Members:
    members = _Members(path)
    found = members.text("format")
    if found != FORMAT:
        raise ConfigError(f"{path}: format is {found!r:.60}; expected {FORMAT!r}, written by eval --records")
    return members


def read_npz_records(path: Path) -> Records:
    """Read the rows."""
    members = _opened(path)
    columns: dict[str, Any] = {name: members.column("", name, dtype) for name, dtype in COLUMNS.items()}
    columns |= {"token_id": members.array("token_id", "int64"), "token_text": members.array("token_text", None)}
    columns |= {name: members.text(name).strip() or None for name in _HASHES}
    return Records(**columns)


def read_npz_words(path: Path) -> Words:
    """Read the word tokens."""
    members = _opened(path)
    columns = {name: members.column(_WORD, name, dtype) for name, dtype in WORD_COLUMNS.items()}
    raw, ends = members.array(_TEXT, "uint8").tobytes(), members.array(_TEXT_ENDS, "int64")
    if (np.diff(ends, prepend=0) < 0).any() or ends[-1:].tolist() != [len(raw)]:
        raise ConfigError(f"{path}: array {_TEXT_ENDS} does not cut {_TEXT} into words; {_WRITTEN_BY}")
    try:
        texts = [raw[first:last].decode() for first, last in itertools.pairwise([0, *ends.tolist()])]
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: array {_TEXT} is not UTF-8; {_WRITTEN_BY}") from None
    return Words(**columns, text=tuple(texts))
