"""The benchmark beside a busy program: every number of threads is run, and the program ends with the measurement."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from tiny import TEXT, tiny_checkpoint

from lm_meter.text import read_text

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import bench_busy


def test_each_number_of_threads_is_measured_beside_a_program(tmp_path):
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    checkpoint = tiny_checkpoint(tmp_path / "model.npz", embedding=16, hidden=(16,))
    found = bench_busy.measure(checkpoint, read_text(tmp_path / "text"), 1, 3)
    assert list(found) == ["1 thread", "2 threads", "default"]
    assert all(rate > 0 for rate, _ in found.values())
    assert found["1 thread"][1] == Counter({1: 3})
    assert found["2 threads"][1] == Counter({2: 3})


def test_no_program_is_left_running(monkeypatch):
    started = []
    start = subprocess.Popen
    monkeypatch.setattr(bench_busy.subprocess, "Popen", lambda *a: started.append(start(*a)) or started[-1])
    with bench_busy.busy(2):
        assert [program.poll() for program in started] == [None, None]
    assert all(program.poll() is not None for program in started)


def test_it_prints_a_row_for_each_number_of_threads(tmp_path, monkeypatch, capsys):
    checkpoint = tiny_checkpoint(tmp_path / "model.npz", embedding=16, hidden=(16,))
    command = ["bench_busy.py", "--checkpoint", checkpoint, "--programs", "0", "--times", "1", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    assert bench_busy.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[24:33].strip() for line in lines[1:]] == ["1 thread", "2 threads", "default"]
