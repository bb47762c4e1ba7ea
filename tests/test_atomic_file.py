"""Files that are there complete or not at all, with and without files that have no name."""

import os
import signal
from pathlib import Path

import pytest

from lm_meter import atomic_file as module
from lm_meter.atomic_file import atomic_file


@pytest.fixture(params=["without a name", "with a name"], autouse=True)
def way(request, monkeypatch, tmp_path):
    if request.param == "with a name":
        monkeypatch.setattr(module, "_DESCRIPTORS", tmp_path / "none")
    return request.param


def test_a_failed_write_leaves_nothing_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    with pytest.raises(TypeError), atomic_file(path) as file:
        file.writelines([b"half of the new", "no bytes"])

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "ordinary").touch()
    with atomic_file(tmp_path / "atomic") as file:
        file.write(b"new")

    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    (tmp_path / "file").touch(0o600)
    with atomic_file(tmp_path / "file") as file:
        file.write(b"new")

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with atomic_file(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_nothing_stands_in_the_folder_while_a_file_without_a_name_is_written(tmp_path, way):
    if way == "with a name" or not hasattr(os, "O_TMPFILE"):
        pytest.skip("of systems that have files without a name")
    child = os.fork()
    if child == 0:
        with atomic_file(tmp_path / "file") as file:
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["os.link", "os.replace"])
def test_a_file_that_gets_no_name_leaves_nothing(tmp_path, way, place, monkeypatch):
    if way == "with a name" and place == "os.link":
        pytest.skip("it has one already")

    def fail(*_, **__):
        raise OSError(28, os.strerror(28))

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(place, fail)
    with pytest.raises(OSError, match="No space left"), atomic_file(tmp_path / "file") as file:
        file.write(b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "none" / "file"):
        pass


def test_what_is_called_before_sees_the_old_file(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    seen = []
    with atomic_file(tmp_path / "file", lambda path: seen.append(Path(path).read_bytes())) as file:
        file.write(b"new")
    assert seen == [b"old"]
    assert (tmp_path / "file").read_bytes() == b"new"
