"""The package's public names, imported when they are first used."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hang import HANG

import lm_meter


def printed(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=True).stdout.strip()


def test_importing_the_package_imports_nothing_else():
    assert printed("import sys, lm_meter; print({'numba', 'numpy'} & set(sys.modules))") == "set()"


def test_every_public_name_exists():
    for name in lm_meter.__all__:
        assert hasattr(lm_meter, name)


def test_another_name_does_not():
    with pytest.raises(AttributeError, match="module 'lm_meter' has no attribute 'train'"):
        _ = lm_meter.train


@pytest.mark.parametrize(
    "first",
    ["lm_meter.RunOptions", "from lm_meter.cli import main; main(['eval', '--block', '0'])", "from lm_meter import *"],
)
def test_evaluate_is_a_function_whatever_was_imported_before(first):
    assert printed(f"import lm_meter; {first}; print(type(lm_meter.evaluate).__name__)") == "function"


ROOT = Path(lm_meter.__file__).resolve().parents[1]
# Without the finders of an installation in place, which know where the folders are.
_FROM_A_FOLDER = """
import sys
from pathlib import Path
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path.insert(0, sys.argv[1])
import lm_meter, lm_meter.kernels.charge
from lm_meter.defaults import default_checkpoint
print(lm_meter.__file__, lm_meter.kernels.charge.__file__, default_checkpoint())
"""


def found_from(folder, expected):
    """Where a process finds the package, its kernels and its checkpoints that looks into this folder first."""
    command = [sys.executable, "-c", _FROM_A_FOLDER, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG, cwd=folder)
    assert (done.stderr, done.stdout.split()) == ("", [str(folder / path) for path in expected])


def test_a_clone_works_as_it_lies():
    found_from(ROOT, ["lm_meter/__init__.py", "kernels/charge.py", "checkpoints/lstm-small.npz"])


def test_an_installed_package_has_its_own_kernels(tmp_path):
    """Another package may own the name, and lie where the folder lies in a clone."""
    shutil.copytree(ROOT / "lm_meter", tmp_path / "lm_meter", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("kernels", "checkpoints"):
        shutil.copytree(ROOT / name, tmp_path / "lm_meter" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "charge.py").write_text("raise ImportError('of another package')")
    found_from(tmp_path, ["lm_meter/__init__.py", "lm_meter/kernels/charge.py", "lm_meter/checkpoints/lstm-small.npz"])
