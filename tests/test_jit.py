"""The cache of compiled kernels: never stale or damaged, never leaking into other packages, never in the way."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from hang import HANG

from lm_meter import kernels
from lm_meter.kernels import code_cache

SOURCES = Path(kernels.__file__).parent
# A package with the same decorators; it multiplies through a function of a *second* file, which is what is edited.
_CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from copied import probe
print(probe.doubled(21))
"""
_PROBE = "from .jit import entry\nfrom .probed import factor\n\n\n@entry\ndef doubled(x):\n    return factor() * x\n"
_FACTOR = "from .jit import kernel\n\n\n@kernel\ndef factor():\n    return {}\n"


def _run(folder, cache, environment=None):
    command = [sys.executable, "-c", _CHILD, str(folder)]
    environment = {**os.environ, "LM_METER_CACHE": str(cache), **(environment or {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=HANG)
    return done.stdout.strip(), done.stderr


def _make_package(folder):
    package = folder / "copied"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name in ("jit.py", "code_cache.py"):
        shutil.copy(SOURCES / name, package / name)
    (package / "probe.py").write_text(_PROBE)
    (package / "probed.py").write_text(_FACTOR.format(2))


@pytest.fixture
def copied(tmp_path):
    _make_package(tmp_path)
    return tmp_path


def test_an_edit_of_a_called_file_compiles_the_caller_anew(copied):
    cache = copied / "cache"
    assert _run(copied, cache)[0] == "42"
    first = set(cache.rglob("*.nbi"))
    assert _run(copied, cache)[0] == "42"
    assert set(cache.rglob("*.nbi")) == first

    # Same size, same time stamps: only the content tells.
    path = copied / "copied" / "probed.py"
    status = path.stat()
    path.write_text(_FACTOR.format(3))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert _run(copied, cache)[0] == "63"


def test_compiled_code_is_found_again(copied):
    cache = copied / "cache"
    _run(copied, cache)
    log = {"NUMBA_DEBUG_CACHE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(copied)],
        env={**os.environ, "LM_METER_CACHE": str(cache), **log},
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG,
    )
    assert "data loaded" in done.stdout
    assert "data saved" not in done.stdout


def test_a_folder_that_cannot_be_written_only_costs_time(copied):
    blocked = copied / "file"
    blocked.write_text("no folder")
    output, errors = _run(copied, blocked / "cache")
    assert output == "42"
    assert errors == ""


def test_other_packages_keep_their_cache_settings():
    @numba.njit(cache=True)
    def foreign(x):
        return x + 1

    assert not Path(foreign._cache.cache_path).is_relative_to(code_cache.cache_folder().parent)
    assert numba.config.CACHE_DIR == ""


def test_the_folder_is_named_after_every_source(monkeypatch, tmp_path):
    monkeypatch.setenv("LM_METER_CACHE", str(tmp_path))
    assert code_cache.cache_folder() == tmp_path / "kernels" / code_cache.sources_hash()
    monkeypatch.delenv("LM_METER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert code_cache.cache_folder() == tmp_path / "xdg" / "lm-meter" / "kernels" / code_cache.sources_hash()


def test_without_a_home_it_only_costs_time(copied):
    """A user without a home: HOME is unset, and the system knows no other."""
    child = copied / "sitecustomize.py"
    child.write_text("import pathlib\n\n\ndef home():\n    raise RuntimeError\n\n\npathlib.Path.home = home\n")
    output, errors = _run(copied, "", {"PYTHONPATH": str(copied), "XDG_CACHE_HOME": ""})
    assert output == "42"
    assert errors == ""


def test_a_full_disk_only_costs_time(copied, tmp_path):
    child = copied / "sitecustomize.py"
    child.write_text(
        "import os\n\n\ndef full(*arguments):\n    raise OSError(28, 'disk full')\n\n\nos.replace = full\n"
    )
    output, errors = _run(copied, tmp_path / "cache", {"PYTHONPATH": str(copied)})
    assert output == "42"
    assert errors == ""


DAMAGE = {
    "cut": lambda raw: raw[: len(raw) // 2],
    "empty": lambda raw: b"",
    "zeroed": lambda raw: bytes(len(raw)),
    "of another version": lambda raw: b"\x80\x04\x8c\x060.50.0\x94.",
    "one bit": lambda raw: raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:],
}
_LOG = {"NUMBA_DEBUG_CACHE": "1"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The package and its cache."""
    folder = tmp_path_factory.mktemp("filled")
    _make_package(folder)
    _run(folder, folder / "cache")
    return folder


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_compiled_anew(damage, suffix, filled):
    cache = filled / "cache"
    for path in cache.rglob(f"*{suffix}"):
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    before = {path.name: path.read_bytes() for path in cache.rglob("*.nb[ic]")}
    output, errors = _run(filled, cache, _LOG)
    assert (output.splitlines()[-1], errors) == ("42", "")
    assert "data loaded" not in output
    # It is replaced: the next damage is done to a file that is whole again.
    assert before != {path.name: path.read_bytes() for path in cache.rglob("*.nb[ic]")}


def test_a_folder_in_the_place_of_a_file_only_costs_time(copied):
    cache = copied / "cache"
    _run(copied, cache)
    for path in cache.rglob("*.nb[ic]"):
        path.unlink()
        path.mkdir()
    assert _run(copied, cache) == ("42", "")


def test_a_filled_cache_that_cannot_be_written_is_used(copied):
    """As of another user, or on a read-only disk: files cannot be made in it, by whoever runs the tests."""
    cache = copied / "cache"
    _run(copied, cache)
    (copied / "sitecustomize.py").write_text(
        "import os, tempfile\n\n\ndef protected(*arguments, **options):\n    raise PermissionError(13, 'no')\n\n\n"
        "os.replace = tempfile.TemporaryFile = protected\n"
    )
    output, errors = _run(copied, cache, {"PYTHONPATH": str(copied), **_LOG})
    assert (output.splitlines()[-1], errors) == ("42", "")
    assert "data loaded" in output


# A signal comes where LLVM calls Python back, in the middle of making machine code or of reading it from the cache.
_SIGNALLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from copied import probe

number = getattr(signal, sys.argv[2])
signal.signal(number, signal.default_int_handler)
engine = probe.doubled.targetctx.codegen()._engine._ee
stored = engine._object_cache_getbuffer


def press(module):
    os.kill(os.getpid(), number)
    for _ in range(1000):
        pass  # here Python would handle it
    return stored(module)


engine._object_cache_getbuffer = press
try:
    print(probe.doubled(21))
except KeyboardInterrupt:
    engine._object_cache_getbuffer = stored
    print("interrupted", probe.doubled(21), signal.getsignal(number) is signal.default_int_handler)
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("is_kept", [False, True])
def test_a_signal_during_a_compilation_is_obeyed_after_it(number, is_kept, copied, filled):
    folder, cache = (filled, filled / "cache") if is_kept else (copied, copied / "cache")
    done = subprocess.run(
        [sys.executable, "-c", _SIGNALLED, str(folder), number],
        env={**os.environ, "LM_METER_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted 42 True\n", "", 0)
