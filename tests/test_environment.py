"""What a result says of the machine."""

import os
import subprocess
import sys

from hang import HANG

from lm_meter import environment


def test_peak_is_that_of_this_process_not_of_the_one_that_started_it():
    code = "from lm_meter.environment import peak_resident_bytes; print(peak_resident_bytes())"
    parent = f"import os, subprocess, sys; x = bytearray(300 << 20); subprocess.run([sys.executable, '-c', {code!r}])"
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True, timeout=HANG)
    assert 5 << 20 < int(done.stdout) < 200 << 20


def test_peak_grows_with_what_is_used():
    before = environment.peak_resident_bytes()
    block = bytearray(os.urandom(1 << 20)) * 64
    assert environment.peak_resident_bytes() >= before
    assert environment.peak_resident_bytes() > len(block)


def test_description_names_versions_processor_and_threads():
    described = environment.describe(2)
    assert {"lm_meter", "python", "numpy", "numba", "llvmlite", "sentencepiece", "system", "cpu", "commit"} < set(
        described
    )
    assert described["threads"] == 2


def test_commit_is_that_of_the_checkout_or_none(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "lm_meter" / "environment.py"))
    assert environment.commit() is None
