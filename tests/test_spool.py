"""Spooled numbers: the same as in memory, in a file where there are many, and let go of when they were used."""

import functools
import gc
import io
import mmap
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from test_target_rank import CONTINUOUS
from test_target_rank import WORDS as MANY_WORDS
from tiny import ADAPTIVE, TEXT, tiny_checkpoint

from lm_meter import online
from lm_meter import spool as spool_module
from lm_meter import text as text_module
from lm_meter.errors import ConfigError
from lm_meter.evaluation import evaluate
from lm_meter.models import token_operations
from lm_meter.pass_files import PassFiles
from lm_meter.run_options import RunOptions
from lm_meter.saved_state import read_state
from lm_meter.spool import KEPT_BYTES, PART, Spool, forget, in_parts, spooled, spooled_zeros
from lm_meter.tokenizers import cover

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

        close = functools.partialmethod(write, b"")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda size: Full())
    expected = (
        r"^a temporary file for a long text cannot be written \(No space left on device\); set TMPDIR to a folder on a "
        "disk with room, 50 bytes for each token, 80 with records$"
    )
    with pytest.raises(ConfigError, match=expected):
        spooled_zeros(MANY)


def test_what_a_full_disk_has_not_taken_is_not_written_again(monkeypatch):
    """A file whose buffer still has something tries again when it is closed: Python would print what then fails."""
    printed = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: printed.append(str(found.exc_value)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for more in (1, 100, io.DEFAULT_BUFFER_SIZE - 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (KEPT_BYTES + 8, limits[1]))
            spool = Spool(np.uint8)
            spool.add(np.zeros(KEPT_BYTES + 1, np.uint8))
            with pytest.raises(ConfigError, match=r"File too large"):
                spool.add(np.zeros(8 + more, np.uint8))
            del spool
            gc.collect()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert printed == []


def test_a_file_that_cannot_be_mapped_is_said():
    limits, spool = resource.getrlimit(resource.RLIMIT_NOFILE), Spool(np.uint8)
    spool.add(np.zeros(KEPT_BYTES + 1, np.uint8))
    expected = (
        r"^a temporary file for a long text cannot be mapped \(Too many open files\); set TMPDIR to a folder on a "
        "local disk, and keep the log_probs of fewer results, each of which is an open file$"
    )
    free = os.dup(0)  # the lowest number that no open file has
    os.close(free)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        with pytest.raises(ConfigError, match=expected):
            spool.array()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_folder_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"cannot be written \(No such file or directory\); set TMPDIR"):
        spooled_zeros(MANY)


def _run(folder, options):
    """A pass with records and a saved state: its result, the document but for what differs each time, its records."""
    files = PassFiles(folder / "state", save_every=1e-9, records=folder / "records.npz")
    result = evaluate(folder / "tiny.npz", text=folder / "text", options=RunOptions(block=3, **options), files=files)
    document = {k: v for k, v in result.document.items() if k not in ("speed", "memory", "environment")}
    state = read_state(folder / "state").arrays
    for path in folder.glob("state*"):
        path.unlink()
    return result, document, {name: array.tobytes() for name, array in state.items()}


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ({}, {"first_token": "skip", "oov": "unk"}),
        ({"kind": "sentencepiece"}, {"limit": 140}),
        ({"words": MANY_WORDS, "embedding": 9, "adaptive": ADAPTIVE, "continuous_cache": CONTINUOUS}, {"oov": "unk"}),
    ],
)
def test_a_pass_from_files_gives_the_bits_of_one_from_memory(model, options, tmp_path, monkeypatch):
    tiny_checkpoint(tmp_path / "tiny.npz", **model)
    content = (
        TEXT * 9 if "words" not in model else "".join(f"w{i * i % 398} w{i}{chr(10)[: i % 2]} " for i in range(90))
    )
    (tmp_path / "text").write_text(content, encoding="utf-8")
    monkeypatch.setattr(online, "_CALL_SECONDS", 0)  # so that calls do not depend on the machine
    memory, reference, state = _run(tmp_path, options)
    monkeypatch.setattr(spool_module, "KEPT_BYTES", 0)
    for module, name in ((spool_module, "PART"), (token_operations, "PART"), (cover, "_PART")):
        monkeypatch.setattr(module, name, 7)
    monkeypatch.setattr(text_module, "_SLAB", 16)
    files, actual, other_state = _run(tmp_path, options)

    assert spool_module._mapping(memory.log_probs) is None
    assert spool_module._mapping(files.log_probs) is not None
    assert files.log_probs.tobytes() == memory.log_probs.tobytes()
    assert files.ranks.tobytes() == memory.ranks.tobytes()
    assert actual == reference  # the hash of the records too
    assert other_state == state


@pytest.mark.skipif(not SMAPS.exists(), reason="Linux says what is in memory")
def test_a_pass_leaves_nothing_of_each_position_in_memory(tmp_path, monkeypatch):
    tiny_checkpoint(tmp_path / "tiny.npz")
    (tmp_path / "text").write_text(TEXT * 20, encoding="utf-8")
    monkeypatch.setattr(spool_module, "KEPT_BYTES", 0)
    result, _, _ = _run(tmp_path, {"oov": "unk"})

    assert resident(result.log_probs) == resident(result.ranks) == 0
