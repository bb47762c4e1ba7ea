"""The container of a checkpoint: a ``.npz`` whose members are stored uncompressed and aligned to 64 bytes.

Reading looks at headers only and compares every number in them with the size of the file before using it. Array data
are mapped, not read: ``Npz.view`` gives a view of the file. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from .atomic_file import atomic_file
from .errors import CheckpointError
from .regular_file import open_regular
from .zip_directory import DAMAGED, members_of

ALIGNMENT = 64  # bytes: a cache line, and the width of the widest vector register
MAX_HEADER = 4096  # bytes of an array's header; a real one has 128
MAX_JSON = 1 << 20  # bytes of the configuration
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_ENCRYPTED, _SIZES_FOLLOW, _UTF8_NAME = 0x1, 0x8, 0x800  # flags of a member
_PADDING_FIELD = 0xD935  # the extra field that alignment tools for zip archives use
_SLAB = 8 << 20  # bytes that are read, or kept resident, at a time


@dataclass(frozen=True)
class MappedArray:
    """One array of the file: what its header says, and where its data lie."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    member: tuple[int, int, int]  # offset, size and CRC-32 of the whole member, header included

    @property
    def nbytes(self) -> int:
        """Size of the data."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class Npz:
    """An open, mapped checkpoint file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open_regular(path) as file:
                size = os.fstat(file.fileno()).st_size
                if size == 0:
                    raise CheckpointError(f"{path}: the file is empty; expected a checkpoint (.npz)")
                # A private, writable mapping: same array type as the packed weights, and the file stays untouched.
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
                members = _directory(path, file)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            reason = error.strerror if isinstance(error, OSError) else error
            raise CheckpointError(f"{path}: cannot be opened ({reason}); expected a checkpoint file (.npz)") from None
        self._refuse_overlaps(members)
        self._sha256: str | None = None
        self.config_text = self._read_config(members)
        self.arrays = {
            name[: -len(".npy")]: self._read_header(name, info)
            for name, info in members.items()
            if name != "config.json"
        }

    def _read_config(self, members: Mapping[str, zipfile.ZipInfo]) -> str:
        if "config.json" not in members:
            raise CheckpointError(f"{self.path}: has no member config.json; it is not an lm-meter checkpoint")
        info = members["config.json"]
        if info.file_size > MAX_JSON:
            raise CheckpointError(f"{self.path}: config.json has {info.file_size} bytes; expected at most {MAX_JSON}")
        start = self._data_offset("config.json", info)
        raw = bytes(self._map[start : start + info.file_size])
        if zlib.crc32(raw) != info.CRC:
            raise CheckpointError(f"{self.path}: config.json is damaged (its checksum differs); get the file again")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(
                f"{self.path}: config.json is not UTF-8 (byte {error.start}); expected a JSON object"
            ) from None

    def _data_offset(self, name: str, info: zipfile.ZipInfo) -> int:
        """Where a member's bytes begin, checked against the file's size."""
        end = len(self._map)
        start = info.header_offset
        if start < 0 or start + _LOCAL_HEADER.size > end:
            raise self._outside(name)
        fields = _LOCAL_HEADER.unpack_from(self._map, start)
        written = self._map[start + _LOCAL_HEADER.size : start + _LOCAL_HEADER.size + fields[9]]
        start += _LOCAL_HEADER.size + fields[9] + fields[10]
        if fields[0] != b"PK\x03\x04" or start + info.file_size > end:
            raise self._outside(name)
        expected = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8_NAME else "cp437")
        # What follows the data (a stream's way of writing), or stands in an extra field, is not here.
        sizes = {info.file_size, 0xFFFFFFFF}
        checked = fields[2] & _SIZES_FOLLOW or (fields[6] == info.CRC and {fields[7], fields[8]} <= sizes)
        if written != expected or fields[2] & _ENCRYPTED or fields[3] != zipfile.ZIP_STORED or not checked:
            raise CheckpointError(
                f"{self.path}: member {name:.60}: its local header contradicts the directory; write the file again"
            )
        return start

    def _outside(self, name: str) -> CheckpointError:
        return CheckpointError(
            f"{self.path}: member {name:.60} lies outside the file; the file is damaged or truncated"
        )

    def _refuse_overlaps(self, members: Mapping[str, zipfile.ZipInfo]) -> None:
        """Each member has bytes of its own: storage is counted by member."""
        end = 0
        for name, info in sorted(members.items(), key=lambda item: item[1].header_offset):
            if info.header_offset < end:
                raise CheckpointError(f"{self.path}: member {name:.60} overlaps another; write the file again")
            end = self._data_offset(name, info) + info.file_size

    def sha256(self) -> str:
        """SHA-256 of the mapped file, which is read for it once."""
        if self._sha256 is None:
            self._sha256 = self._hashed()
        return self._sha256

    def _hashed(self) -> str:
        digest = hashlib.sha256()
        for at in range(0, len(self._map), _SLAB):
            stop = min(at + _SLAB, len(self._map))
            digest.update(memoryview(self._map)[at:stop])
            self.forget(at, stop)
        return digest.hexdigest()

    def _read_header(self, name: str, info: zipfile.ZipInfo) -> MappedArray:
        start = self._data_offset(name, info)
        where = f"{self.path}: array {name[:-4]:.60}"
        head = io.BytesIO(self._map[start : start + min(info.file_size, MAX_HEADER + 12)])
        try:
            version = np.lib.format.read_magic(head)
            readers = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            if version not in readers:
                raise CheckpointError(f"{where}: .npy version {version[0]}.{version[1]}; expected 1.0 or 2.0")
            length = int.from_bytes(head.getvalue()[8 : 10 if version == (1, 0) else 12], "little")
            if length > MAX_HEADER:
                raise CheckpointError(f"{where}: its header claims {length} bytes; expected at most {MAX_HEADER}")
            shape, fortran, dtype = readers[version](head, max_header_size=MAX_HEADER)
        except CheckpointError:
            raise
        except (
            Exception
        ) as error:  # NumPy's parser of hostile text raises what its parts do: TokenError, IndexError, ...
            reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
            raise CheckpointError(f"{where}: has no readable .npy header ({reason})") from None
        if dtype.hasobject:
            raise CheckpointError(f"{where}: holds pickled Python objects; expected plain numbers")
        if fortran and len(shape) > 1:
            raise CheckpointError(f"{where}: is stored column by column; expected C order")
        if any(n < 0 or isinstance(n, bool) for n in shape):
            raise CheckpointError(f"{where}: has shape {shape}; expected sizes of 0 or more")
        array = MappedArray(name[:-4], tuple(shape), dtype, start + head.tell(), (start, info.file_size, info.CRC))
        # Python integers: a hostile shape must not overflow into a plausible size.
        expected = dtype.itemsize
        for n in shape:
            expected *= n
        if head.tell() + expected != info.file_size:
            raise CheckpointError(
                f"{where}: shape {shape} and type {dtype} need {expected} bytes; found {info.file_size - head.tell()}"
            )
        return array

    def view(self, array: MappedArray) -> np.ndarray:
        """The array's data, mapped; aligned or not."""
        return np.ndarray(array.shape, array.dtype, self._map, array.offset)

    def verify(self, array: MappedArray) -> None:
        """Compare the member's checksum with the archive's; a damaged weight must not pass as a model."""
        start, size, expected = array.member
        crc = 0
        for at in range(start, start + size, _SLAB):
            stop = min(at + _SLAB, start + size)
            crc = zlib.crc32(memoryview(self._map)[at:stop], crc)
            self.forget(at, stop)
        if crc != expected:
            raise CheckpointError(
                f"{self.path}: array {array.name} is damaged (its checksum differs); get the file again"
            )

    def forget(self, start: int, stop: int) -> None:
        """Tell the system that these bytes of the mapping are not needed any more: they leave the resident set."""
        page = mmap.PAGESIZE
        first, last = -(-start // page) * page, stop // page * page
        if last > first and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)


def _directory(path: Path, file: Any) -> dict[str, zipfile.ZipInfo]:
    """The archive's members by name, each checked to be plain stored data."""
    try:
        infos = members_of(file)
    except DAMAGED as error:
        raise CheckpointError(
            f"{path}: is not a zip archive, or is truncated ({error}); expected a checkpoint (.npz)"
        ) from None
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename
        if name in members:
            raise CheckpointError(f"{path}: member {name:.60} appears twice")
        if info.flag_bits & _ENCRYPTED:
            raise CheckpointError(f"{path}: member {name:.60} is encrypted; expected stored data")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise CheckpointError(
                f"{path}: member {name:.60} is compressed; expected stored data (write it with "
                "lm_meter.write_checkpoint)"
            )
        if name != "config.json" and not name.endswith(".npy"):
            raise CheckpointError(f"{path}: has a surplus member {name:.60}; expected config.json and arrays (.npy)")
        members[name] = info
    return members


def write_npz(path: Path, config_text: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a container: the same content always gives the same bytes, and the file appears only when complete."""
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _write_member(archive, file, "config.json", [config_text.encode("utf-8")])
        for name, given in arrays.items():
            array = np.ascontiguousarray(given).reshape(given.shape)
            head = io.BytesIO()
            np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
            data = array.reshape(-1).view(np.uint8).data
            _write_member(archive, file, f"{name}.npy", [head.getvalue(), data])


def _write_member(archive: zipfile.ZipFile, file: IO[bytes], name: str, parts: list[Any]) -> None:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.file_size = sum(len(part) for part in parts)
    large = info.file_size > zipfile.ZIP64_LIMIT
    # The local header, its 64-bit sizes where the member is large, its name, and the padding field's own head.
    start = file.tell() + _LOCAL_HEADER.size + 20 * large + len(name.encode()) + 4
    padding = -start % ALIGNMENT
    info.extra = struct.pack("<2H", _PADDING_FIELD, padding) + bytes(padding)
    with archive.open(info, "w", force_zip64=large) as member:
        for part in parts:
            for at in range(0, len(part), _SLAB):
                member.write(part[at : at + _SLAB])
