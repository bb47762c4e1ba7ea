"""The first run: that kernels are compiled is said, once; where they cannot be compiled that is said instead."""

import io
import logging
import os
import re
import subprocess
import sys
import time

import numba
import pytest
from hang import HANG
from tiny import tiny_parts

import lm_meter
from lm_meter import ConfigError, compilation
from lm_meter.compilation import check_kernels, said_compilation
from lm_meter.kernels import isa, jit

BEGINS = "compiling kernels: the first run of a version on a CPU takes a minute or so, later ones find most compiled\n"
ERASE = "\r\x1b[K"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def told(monkeypatch, stream, quiet=False, times=0):
    """What is told while two kernels are compiled, the second one until the time so far was told so often."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(compilation, "_SECONDS_OF_SILENCE", 0.0)
    monkeypatch.setattr(compilation, "_SECONDS_BETWEEN_LINES", 0.01)
    monkeypatch.setattr(compilation, "_SECONDS_ON_A_TERMINAL", 0.01)
    with said_compilation(quiet):
        for awaited in (0, times):
            jit._log.info("compiling %s", "kernel", extra={"compiling": True})
            while stream.getvalue() == "":
                time.sleep(0.01)
            while stream.getvalue().count("so far") < awaited:
                time.sleep(0.01)
            jit._log.info("compiled", extra={"compiling": False})
    jit._log.info("compiling %s", "kernel", extra={"compiling": True})  # of a library's user, who has not asked
    return stream.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_quiet_is_one_line(stream, monkeypatch):
    assert told(monkeypatch, stream(), quiet=True) == BEGINS


def test_elsewhere_the_time_so_far_is_a_line_now_and_then(monkeypatch):
    first, *rest = told(monkeypatch, io.StringIO(), times=3).splitlines(keepends=True)
    assert first == BEGINS
    assert len(rest) >= 3
    assert all(re.fullmatch(r"compiling kernels: \d+ s so far\n", line) for line in rest)


def test_what_takes_less_than_a_second_is_not_said(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(compilation, "_SECONDS_OF_SILENCE", 1000.0)
    with said_compilation(quiet=False):
        jit._log.info("compiling %s", "kernel", extra={"compiling": True})
        jit._log.info("compiled", extra={"compiling": False})
    assert stream.getvalue() == ""


def test_on_a_terminal_the_time_so_far_is_erased(monkeypatch):
    first, rest = told(monkeypatch, Terminal(), times=3).split("\n")
    assert first + "\n" == BEGINS
    assert rest.endswith(ERASE)
    assert all(re.fullmatch(r"(compiling kernels: \d+ s so far)?", line) for line in rest.split(ERASE))


@pytest.fixture
def checkpoint(tmp_path):
    lm_meter.write_checkpoint(tmp_path / "tiny.npz", *tiny_parts())
    return str(tmp_path / "tiny.npz")


def ran(tmp_path, *command, **environment):
    """A command as a process of its own, whose cache is new."""
    done = subprocess.run(
        [sys.executable, "-m", "lm_meter", *command],
        env={**os.environ, "LM_METER_CACHE": str(tmp_path / "cache"), **environment},
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    return done.returncode, re.sub(r"compiling kernels: \d.*\n", "", done.stderr)


def test_a_command_that_compiles_says_so_once(tmp_path):
    assert ran(tmp_path, "selftest") == (0, BEGINS)


def test_only_what_is_not_in_the_cache_is_compiled(tmp_path, monkeypatch, caplog):
    def more(x):
        return x + 1

    monkeypatch.setenv("LM_METER_CACHE", str(tmp_path))
    caplog.set_level(logging.INFO, jit.__name__)
    said = []
    for _ in range(2):  # as two processes have it
        assert jit.entry(more)(41) == 42
        said.append([record.compiling for record in caplog.records])
        caplog.clear()
    assert said == [[True, False], [False]]


GENERIC = {"NUMBA_CPU_NAME": "generic"}
WITHOUT_JIT = {"NUMBA_DISABLE_JIT": "1"}
REASONS = [
    (WITHOUT_JIT, "NUMBA_DISABLE_JIT is set, but the kernels exist as compiled code only; unset it"),
    (
        GENERIC,
        "NUMBA_CPU_NAME is 'generic' and NUMBA_CPU_FEATURES '', without f16c and fma, which the kernels need; add them "
        "to NUMBA_CPU_FEATURES as '+f16c,+fma', or unset both",
    ),
]


@pytest.mark.parametrize(("environment", "reason"), REASONS)
def test_settings_of_numba_that_no_kernel_runs_with_are_refused(environment, reason, checkpoint, tmp_path):
    if environment is GENERIC and os.uname().machine != "x86_64":
        pytest.skip("names an x86 processor")
    assert ran(tmp_path, "eval", "--checkpoint", checkpoint, **environment) == (2, f"lm-meter: error: {reason}\n")
    assert ran(tmp_path, "selftest", **environment) == (2, f"lm-meter: error: {reason}\n")


def test_a_cpu_without_what_the_kernels_need_is_refused(monkeypatch):
    monkeypatch.setattr(isa, "_NEEDED", ("f16c", "fma"))
    monkeypatch.setattr(numba.core.config, "CPU_FEATURES", None)
    monkeypatch.setattr(isa.binding, "get_host_cpu_features", lambda: {"f16c": True, "fma": False})
    with pytest.raises(ConfigError, match="the kernels need a CPU with f16c and fma; this one has no fma"):
        check_kernels()
    monkeypatch.setattr(isa.binding, "get_host_cpu_features", lambda: {"f16c": True, "fma": True})
    check_kernels()
