"""The cache of compiled kernels: never stale, never leaking into other packages, never in the way."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from hang import HANG

from lm_meter import kernels
from lm_meter.kernels import jit

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


@pytest.fixture
def copied(tmp_path):
    package = tmp_path / "copied"
    package.mkdir()
    (package / "__init__.py").write_text("")
    shutil.copy(SOURCES / "jit.py", package / "jit.py")
    (package / "probe.py").write_text(_PROBE)
    (package / "probed.py").write_text(_FACTOR.format(2))
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

    assert not Path(foreign._cache.cache_path).is_relative_to(jit.cache_folder().parent)
    assert numba.config.CACHE_DIR == ""


def test_the_folder_is_named_after_every_source(monkeypatch, tmp_path):
    monkeypatch.setenv("LM_METER_CACHE", str(tmp_path))
    assert jit.cache_folder() == tmp_path / "kernels" / jit.sources_hash()
    monkeypatch.delenv("LM_METER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert jit.cache_folder() == tmp_path / "xdg" / "lm-meter" / "kernels" / jit.sources_hash()


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
