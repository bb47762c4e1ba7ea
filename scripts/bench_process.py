"""Measurements of a whole process: peak memory of an evaluation, and how long the first run and the first token take.

Each is made in a process of its own, so that nothing the benchmark has loaded counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_report import Section

from lm_meter import Checkpoint
from lm_meter.storage import tensors_of, total_bits

TIMEOUT_SECONDS = 600
MEMORY_FACTOR, MEMORY_MARGIN = 1.15, 300e6  # peak resident size wanted: factor x packed weights + margin, in bytes
MEMORY_TOKENS = 128  # word tokens evaluated: two blocks; the peak does not depend on how many
COLD_SECONDS, FIRST_TOKEN_SECONDS, HELP_SECONDS = 30.0, 2.0, 0.3

# The size that getrusage reports may be the parent's, inherited over fork; Linux keeps the process's own as VmHWM.
_PEAK_OF_EVAL = """
import sys
from lm_meter.cli import main
status = main(["eval", *sys.argv[1:]])
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")][0])
sys.exit(status)
"""

# The clock's reading when the first block has been predicted.
_FIRST_TOKEN = """
import sys, time
import lm_meter

class Stop:
    def __init__(self, total): pass
    def update(self, done, nll_nats): print(time.time()); sys.exit(0)
    def close(self): pass

lm_meter.evaluate(sys.argv[1], text=sys.argv[2], options=lm_meter.RunOptions(threads=int(sys.argv[3])), progress=Stop)
"""


def _python(arguments: list[str], **environment: str) -> str:
    """Standard output of a Python process that must succeed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env={**os.environ, **environment},
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(arguments[-6:])}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def peak_of_eval(arguments: list[str]) -> int:
    """Peak resident size of ``lm-meter eval`` with some arguments, in bytes."""
    return 1024 * int(_python(["-c", _PEAK_OF_EVAL, *arguments, "--quiet"]).split()[-1])


def memory_section(checkpoint: Path, name: str, text: Path, threads: int) -> Section:
    """Peak resident size of ``lm-meter eval`` on a checkpoint."""
    section = Section(f"memory of evaluating the {name}")
    if not Path("/proc/self/status").exists():
        section.remarks.append("not measured: this system does not say how much memory a process had")
        return section
    packed = total_bits(tensors_of(Checkpoint(checkpoint))) / 8
    options = ["--checkpoint", str(checkpoint), "--text", str(text), "--limit", str(MEMORY_TOKENS), "--oov", "unk"]
    peak = peak_of_eval([*options, "--threads", str(threads)])
    limit = MEMORY_FACTOR * packed + MEMORY_MARGIN
    section.add("weights", "MB", [packed / 1e6])
    section.add("peak resident size", "MB", [peak / 1e6])
    section.expect(f"memory, {name}", f"<= {limit / 1e6:.0f} MB", f"{peak / 1e6:.0f} MB", peak <= limit)
    return section


def start_section(checkpoint: Path, text: Path, threads: int, repeats: int) -> Section:
    """Seconds of a first run with nothing compiled, until the first token of a warm one, and of ``--help``."""
    section = Section("start, a process each")
    evaluation = ["-m", "lm_meter", "eval", "--checkpoint", str(checkpoint), "--text", str(text), "--limit", "64"]
    evaluation += ["--threads", str(threads), "--quiet"]

    def seconds(arguments: list[str], **environment: str) -> float:
        started = time.perf_counter()
        _python(arguments, **environment)
        return time.perf_counter() - started

    def until_first_token() -> float:
        started = time.time()
        return float(_python(["-c", _FIRST_TOKEN, str(checkpoint), str(text), str(threads)])) - started

    with tempfile.TemporaryDirectory() as cache:
        cold = seconds(evaluation, LM_METER_CACHE=cache)
        warm = section.add("eval, warm, 64 tokens, whole run", "s", [
            seconds(evaluation, LM_METER_CACHE=cache) for _ in range(repeats)
        ])  # fmt: skip
    compiling = section.add("eval, cold, less the warm one", "s", [cold - warm.median])
    until_first_token()
    first = section.add("until the first block of a warm run", "s", [until_first_token() for _ in range(repeats)])
    helping = section.add("lm-meter --help", "s", [seconds(["-m", "lm_meter", "--help"]) for _ in range(repeats)])
    for what, found, limit in (
        ("cold compile", compiling.median, COLD_SECONDS),
        ("warm, to the first token", first.median, FIRST_TOKEN_SECONDS),
        ("lm-meter --help", helping.median, HELP_SECONDS),
    ):
        section.expect(what, f"< {limit:g} s", f"{found:.2f} s", found < limit)
    return section
