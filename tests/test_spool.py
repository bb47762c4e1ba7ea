"""Spooled numbers: the same as in memory, in a file where there are many, and let go of when they were used."""

import mmap
import tempfile
from pathlib import Path

import numpy as np
import pytest

from lm_meter import spool as spool_module
from lm_meter.errors import ConfigError
from lm_meter.spool import KEPT_BYTES, PART, Spool, forget, in_parts, spooled, spooled_zeros

MANY = KEPT_BYTES // 8 + 1
SMAPS = Path("/proc/self/smaps")


def resident(array):
    """Pages of an array's mapping that are in this process's memory, as the kernel says: its Rss in smaps, in bytes."""
    address, rss, inside = array.ctypes.data, 0, False
    for line in SMAPS.read_text(encoding="utf-8").splitlines():
        head = line.split(maxsplit=1)[0]
        if not head.endswith(":"):
            first, last = (int(place, 16) for place in head.split("-"))
            inside = first <= address < last
        elif inside and head == "Rss:":
            rss += int(line.split()[1]) << 10
    return rss


@pytest.mark.parametrize("size", [0, 1, MANY - 1, MANY, 3 * PART + 1])
def test_numbers_come_back(size):
    reference = np.random.default_rng(1).normal(size=size)
    spool = Spool(np.float64)
    for first in range(0, size, 1000):
        spool.add(reference[first : first + 1000])

    for actual in (spool.array(), spooled(reference, np.float64)):
        assert actual.dtype == np.float64
        assert actual.tobytes() == reference.tobytes()
        assert b"".join(part.tobytes() for part in in_parts(actual)) == reference.tobytes()


def test_only_many_lie_in_a_file():
    assert spool_module._mapping(spooled_zeros(MANY - 1)) is None
    assert spool_module._mapping(spooled_zeros(MANY)) is not None
    assert spool_module._mapping(spooled_zeros(MANY)[5:][:3]) is not None  # a view of a view


def test_what_is_spooled_is_not_spooled_again():
    values = spooled_zeros(MANY)
    assert spooled(values, np.float64) is values
    assert spooled(values[1:], np.int32).dtype == np.int32


def test_what_is_written_outlives_being_forgotten():
    values = spooled_zeros(MANY, np.int64)
    values[:] = np.arange(MANY)
    forget(values[3:5], np.zeros(3))

    assert np.array_equal(values, np.arange(MANY))


def test_of_another_mapping_nothing_is_forgotten():
    private = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE)  # what is written there lives nowhere else
    values = np.frombuffer(private, np.uint8)
    values[:] = 7
    forget(values)

    assert (values == 7).all()


@pytest.mark.skipif(not SMAPS.exists(), reason="Linux says what is in memory")
def test_a_walk_leaves_nothing_in_memory():
    values = spooled_zeros(1 << 20)
    assert resident(values) == 0
    values[:] = 1
    assert resident(values) == 8 << 20  # the check sees what is there

    assert sum(float(part.sum()) for part in in_parts(values)) == 1 << 20
    assert resident(values) == 0


def test_a_full_disk_is_said(monkeypatch):
    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda size: Full())
    expected = (
        r"^a temporary file for a long text cannot be written \(No space left on device\); set TMPDIR to a folder on a "
        "disk with room, 50 bytes for each token$"
    )
    with pytest.raises(ConfigError, match=expected):
        spooled_zeros(MANY)


def test_a_folder_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"cannot be written \(No such file or directory\); set TMPDIR"):
        spooled_zeros(MANY)
