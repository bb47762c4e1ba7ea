"""Fixtures of the whole suite."""

import faulthandler
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from hang import HANG

# Files that take longest are begun first, so that no process is left alone with one of them at the end.
_LONGEST = ("test_cpus.py", "test_wikitext.py", "test_entries.py")
_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure():
    """Fix the folder of compiled kernels: tests move $XDG_CACHE_HOME and start processes, but compile once.

    Ctrl-C and SIGTERM are obeyed, also where the suite was started to ignore them, as a shell's background job is: what
    tests start would inherit that.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ["LM_METER_CACHE"] = str(Path(os.environ.get("LM_METER_CACHE") or user_cache / "lm-meter").absolute())


def pytest_collection_modifyitems(items):
    """The longest files come first, then those of most tests; a file's own tests keep their order."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (_rank(item.path), -tests[item.path], item.path))


def _rank(path):
    return _LONGEST.index(path.name) if path.name in _LONGEST else len(_LONGEST)


@pytest.fixture(autouse=True)
def every_thread_works(monkeypatch):
    """The models of tests are small, but are shared by all the threads that a test asks for.

    Where it asks for none it gets those of this process: others of the suite work beside it, and threads that wait for
    each other at every step of a model lose most where there are more of them than processors.
    """
    from lm_meter import threads
    from lm_meter.models import runtime

    monkeypatch.setattr(runtime, "SHARE_BYTES", 1)
    share = max(1, threads.usable_cpus() // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    monkeypatch.setattr(threads, "usable_cpus", lambda: share)


@pytest.fixture(autouse=True)
def compilation_is_not_said(monkeypatch):
    """What commands say must not depend on whether an earlier test has compiled the same kernels."""
    from lm_meter import compilation

    monkeypatch.setattr(compilation, "_SECONDS_OF_SILENCE", 1e9)


@pytest.fixture(autouse=True)
def a_hang_ends_the_process():
    """A test that hangs ends its process, and with it the suite, with a traceback; a slow one does not."""
    faulthandler.dump_traceback_later(2 * HANG, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real texts and checkpoints; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("LM_METER_SHARED_DATA") or _BESIDE_THE_CHECKOUT)
    if not folder.is_dir():
        pytest.skip(f"needs shared data, which are not in {folder}; LM_METER_SHARED_DATA names another folder")
    return folder


@pytest.fixture(scope="session")
def shared_cases(shared_data):
    """The folder of inputs that once went wrong, with their right values, beside the shared data."""
    folder = shared_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"needs shared cases, which are not in {folder}")
    return folder
