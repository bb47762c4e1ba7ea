"""Fixtures of the whole suite."""

import os
from pathlib import Path

import pytest

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure():
    """Keep compiled kernels of one session in one place: subprocesses then load what this process compiled."""
    cache = os.environ.get("LM_METER_CACHE") or os.environ.get("XDG_CACHE_HOME")
    if cache:
        os.environ["LM_METER_CACHE"] = str(Path(cache).absolute())


@pytest.fixture(autouse=True, scope="session")
def _kernel_cache():
    """Tests may move $XDG_CACHE_HOME; the compiled kernels stay where they were when the session began."""
    from lm_meter.kernels.jit import cache_folder

    before = os.environ.get("LM_METER_CACHE")
    os.environ["LM_METER_CACHE"] = str(cache_folder().parents[1])
    yield
    if before is None:
        del os.environ["LM_METER_CACHE"]
    else:
        os.environ["LM_METER_CACHE"] = before


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real texts and checkpoints; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("LM_METER_SHARED_DATA") or _BESIDE_THE_CHECKOUT)
    if not folder.is_dir():
        pytest.skip(f"shared data are not in {folder}; set LM_METER_SHARED_DATA to their folder")
    return folder
