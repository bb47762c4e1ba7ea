"""Fixtures of the whole suite."""

import os
from pathlib import Path

import pytest

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure():
    """Fix the folder of compiled kernels: tests move $XDG_CACHE_HOME and start processes, but compile once."""
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ["LM_METER_CACHE"] = str(Path(os.environ.get("LM_METER_CACHE") or user_cache / "lm-meter").absolute())


@pytest.fixture(autouse=True)
def every_thread_works(monkeypatch):
    """The models of tests are small, but are shared by all the threads that a test asks for."""
    from lm_meter.models import runtime

    monkeypatch.setattr(runtime, "SHARE_BYTES", 1)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real texts and checkpoints; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("LM_METER_SHARED_DATA") or _BESIDE_THE_CHECKOUT)
    if not folder.is_dir():
        pytest.skip(f"needs shared data, which are not in {folder}; LM_METER_SHARED_DATA names another folder")
    return folder
