"""Tokens a second with one, two and the default threads, alone and beside a program that takes a processor.

    python scripts/bench_busy.py
    python scripts/bench_busy.py --checkpoint model.npz --programs 2 --repeats 9

Rows are medians of runs that are made in turn, so that what else the machine does meets all. The default is chosen by
the first blocks of each run: the last column says what was chosen, and how often.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lm_meter import RunOptions, evaluate
from lm_meter.defaults import default_checkpoint, sample_text
from lm_meter.text import Text, read_text
from lm_meter.threads import usable_cpus

# It ends with its parent, whatever ends that.
_SOURCE = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(10**6): pass"
_BUSY = [sys.executable, "-c", _SOURCE]
_NUMBERS = {"1 thread": 1, "2 threads": 2, "default": None}


@contextlib.contextmanager
def busy(programs: int) -> Iterator[None]:
    """So many programs that compute for nothing beside what is measured."""
    running = [subprocess.Popen(_BUSY) for _ in range(programs)]
    try:
        yield
    finally:
        for program in running:
            program.kill()
            program.wait()


def repeated(times: int) -> Text:
    """The sample text, so many times over: a trial of threads takes some tenths of a second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.txt"
        path.write_bytes(sample_text().raw.tobytes() * times)
        return read_text(path)


def measure(checkpoint: Path, text: Text, programs: int, repeats: int) -> dict[str, tuple[float, Counter[int]]]:
    """Median tokens a second for each number of threads, and how many threads worked, how often."""
    rates: dict[str, list[float]] = {name: [] for name in _NUMBERS}
    worked: dict[str, Counter[int]] = {name: Counter() for name in _NUMBERS}
    with busy(programs):
        for _ in range(repeats):
            for name, threads in _NUMBERS.items():
                result = evaluate(checkpoint, text=text, options=RunOptions(threads=threads, oov="unk"))
                rates[name].append(result["speed"]["tokens_per_second"])
                worked[name][result["environment"]["threads"]] += 1
    return {name: (statistics.median(rates[name]), worked[name]) for name in _NUMBERS}


def main() -> int:
    """Print a table for the machine as it is, and one for each number of programs beside it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=default_checkpoint(), help="default: the LSTM that ships")
    parser.add_argument("--programs", type=int, default=1, metavar="N", help="most programs beside it (default: 1)")
    parser.add_argument("--times", type=int, default=5, metavar="N", help="sample texts in a run (default: 5)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="runs of each kind (default: 5)")
    options = parser.parse_args()
    text = repeated(options.times)
    print(f"{options.checkpoint.stem}, {usable_cpus()} processors, tokens a second", flush=True)
    for programs in range(options.programs + 1):
        for name, (rate, worked) in measure(options.checkpoint, text, programs, options.repeats).items():
            counts = ", ".join(f"{threads}: {times}" for threads, times in sorted(worked.items()))
            print(f"  programs beside it {programs}  {name:9}  {rate:10,.0f}  threads that worked {counts}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
