"""The package's public names, imported when they are first used."""

import subprocess
import sys

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
