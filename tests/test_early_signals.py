"""Ctrl-C and SIGTERM while the command is importing: an exit status, one line, and no traceback."""

import signal
import subprocess
import sys

import pytest
from hang import HANG

# The signal comes when the import of a module begins.
SOURCE = """
import os, runpy, sys

module, number = sys.argv[1], int(sys.argv[2])


class Press:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), number)


sys.meta_path.insert(0, Press())
sys.argv[1:] = sys.argv[3:]
runpy.run_module("lm_meter", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "module", ["typing", "lm_meter.cli", "lm_meter.arguments", "numpy", "numpy._core.multiarray", "numba"]
)
def test_a_signal_during_an_import(module, number, tmp_path):
    command = [sys.executable, "-c", SOURCE, module, str(int(number)), "eval", "--limit", "30", "--quiet"]
    command += ["--output", str(tmp_path / "result.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert done.stderr == "lm-meter: interrupted, no result\n"
    assert list(tmp_path.iterdir()) == []


# The signal comes in the interpreter's last moments, when it has given up its handlers.
LATE = """
import os, runpy, sys


class Press:
    def __init__(self):
        self.kill, self.pid, self.number = os.kill, os.getpid(), int(sys.argv[1])

    def __del__(self):
        self.kill(self.pid, self.number)


press = Press()
sys.argv[1:] = sys.argv[2:]
runpy.run_module("lm_meter", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_command_changes_no_exit_status(number):
    command = [sys.executable, "-c", LATE, str(int(number)), "score", "--task", "wikitext-103"]
    command += ["--parameters", "159e6", "--operations", "318e6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """As a shell without job control has it for what it starts in the background."""
    command = [sys.executable, "-c", SOURCE, "lm_meter.cli", "2", "score", "--task", "wikitext-103"]
    command += ["--parameters", "159e6", "--operations", "318e6"]

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.returncode, done.stderr) == (0, "")
