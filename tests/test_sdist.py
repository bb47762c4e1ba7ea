"""The source distribution has all that its tests need: helpers, golden files, and the pages and scripts they read."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hang import HANG

ROOT = Path(__file__).resolve().parents[1]
_FOLDERS = ("lm_meter", "kernels", "checkpoints", "tests", "scripts", ".ci")
_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source distribution, built from a copy without the weights and unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    for name in _FOLDERS:
        ignored = (
            shutil.ignore_patterns("__pycache__", "*.npz") if name != "tests" else shutil.ignore_patterns("__pycache__")
        )
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for path in ROOT.iterdir():
        if path.suffix in (".md", ".toml", ".in") or path.name == "LICENSE":
            shutil.copy(path, source / path.name)
    command = [sys.executable, "-c", _BUILD, str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir() and path.name != "source")


def test_every_file_of_the_project_is_in_it(unpacked):
    source = unpacked.parent / "source"
    files = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    wanted = {path for path in files if not any(part.endswith(".egg-info") for part in path.parts)}
    assert {path for path in wanted if not (unpacked / path).is_file()} == set()
    assert Path("tests/tiny.py") in wanted


def test_a_test_runs_from_it(unpacked):
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "tests/test_score.py"]
    done = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stdout
    with_helpers = [*command[:-1], "--collect-only", "tests/test_report_front.py"]
    done = subprocess.run(with_helpers, cwd=unpacked, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stdout
