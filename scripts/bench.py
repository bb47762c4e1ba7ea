"""Measure what lm-meter promises, in one run, beside what the machine and other libraries can do.

    python scripts/bench.py --vocab-counts vocab_counts.tsv --work /tmp/bench --output bench.json

Prints for each part medians with their spread, and at the end every promised figure with what was found; the same
stands in a JSON file, which is written anew when each part has ended. A part that fails is a figure that was not found:
the rest is measured, and the exit status is 1. Correctness is checked before anything is timed. The full-size baseline
(638 MB in float32) is made by ``make_baseline.py`` in the folder ``--work``, its narrower versions as ``lm-meter
quantize`` makes them; both are found there again next time. PyTorch and ONNX Runtime are compared with where they are
installed. For figures that mean something the machine should do nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench_process import memory_section, start_section
from bench_report import Section, measure
from bench_speed import BLOCK, bandwidth_section, default_section, metering_section, small_section
from bench_widths import VERSIONS, WIDTHS, Width, load_section, pruned_section, version_of, width_section

from lm_meter import LmMeterError, read_text
from lm_meter.corpora import WIKITEXT_103, find_split
from lm_meter.defaults import default_checkpoint, sample_text
from lm_meter.environment import describe
from lm_meter.threads import check_threads
from lm_meter.timing import Effort

WIDTH_NAMES = tuple(width.name for width in WIDTHS)
SECTIONS = ("bandwidth", "memory", "start", "default", "small", "metering", "load", *WIDTH_NAMES, "pruned")
_REPEATS, _SECONDS = 9, 0.5
_QUICK_REPEATS, _QUICK_SECONDS = 3, 0.1
_START_REPEATS = 3  # of a whole process


def parse_options() -> argparse.Namespace:
    """Options from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab-counts", type=Path, metavar="FILE.tsv", help="words of the baseline and their counts")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where the baseline lies (default: temporary)")
    parser.add_argument("--checkpoint", type=Path, metavar="CKPT.npz", help="default: the one that ships with lm-meter")
    parser.add_argument("--text", type=Path, metavar="FILE", help="default: WikiText-103 if here, else the sample")
    parser.add_argument("--threads", type=int, metavar="N", help="default: every usable processor")
    parser.add_argument("--repeats", type=int, metavar="N", help=f"of each timing (default: {_REPEATS})")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS, help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer tokens and repeats: shows that it works, no more")
    parser.add_argument(
        "--output", type=Path, default=Path("bench.json"), metavar="FILE.json", help="default: %(default)s"
    )
    options = parser.parse_args()
    if options.repeats is not None and options.repeats < 1:
        parser.error("--repeats: expected 1 or more")
    if not options.output.resolve().parent.is_dir():
        parser.error(f"--output {options.output}: there is no such folder")
    return options


class Bench:
    """The inputs of a run."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self.options, self.work = options, work
        repeats = options.repeats or (_QUICK_REPEATS if options.quick else _REPEATS)
        threads = check_threads(options.threads)
        self.effort = Effort(repeats, _QUICK_SECONDS if options.quick else _SECONDS, threads)
        self.checkpoint = options.checkpoint or default_checkpoint()
        self.text = read_text(options.text) if options.text else find_split(WIKITEXT_103, "test") or sample_text()

    def text_file(self) -> Path:
        """The text as a file, for other processes."""
        path = self.work / "text.tokens"
        path.write_bytes(self.text.content.encode())
        return path

    def baseline(self) -> Path:
        """The full-size baseline with random float32 weights, made now if it is not there."""
        path = self.work / "baseline-float32.npz"
        if not path.exists():
            if self.options.vocab_counts is None:
                raise SystemExit(f"bench: {path} does not exist; --vocab-counts FILE.tsv makes it")
            script = Path(__file__).resolve().parent / "make_baseline.py"
            arguments = ["--dtype", "float32", "--vocab-counts", str(self.options.vocab_counts), "--out", str(path)]
            subprocess.run([sys.executable, str(script), *arguments], check=True, stdout=sys.stderr)
        return path

    def parts(self) -> Iterator[tuple[str, Callable[[], Section]]]:
        """Each part: the name that chooses it, and what measures it."""
        text, effort = self.text, self.effort
        yield "bandwidth", partial(bandwidth_section, effort)
        for name, specification in VERSIONS.items():
            yield "memory", partial(self._memory, name, specification)
        repeats = min(effort.repeats, _START_REPEATS)
        yield "start", lambda: start_section(self.checkpoint, self.text_file(), effort.threads, repeats)
        yield "default", lambda: default_section(self.checkpoint, text, effort)
        yield "small", lambda: small_section(self.work, effort)
        yield "metering", lambda: metering_section(self.checkpoint, "default", (1, BLOCK), text, effort)
        yield "metering", lambda: metering_section(self.baseline(), "baseline", (1, BLOCK), text, effort)
        yield "load", lambda: load_section(self.baseline(), effort)
        for width in WIDTHS:
            yield width.name, partial(self._width, width)
        yield "pruned", lambda: pruned_section(self.baseline(), text, effort)

    def _memory(self, name: str, specification: str | None) -> Section:
        path = version_of(self.baseline(), specification)
        return memory_section(path, f"baseline {name}", self.text_file(), self.effort.threads)

    def _width(self, width: Width) -> Section:
        return width_section(self.baseline(), width, self.text, self.effort)

    def chosen(self) -> Iterator[tuple[str, Callable[[], Section]]]:
        """The parts that are to be measured."""
        return (part for part in self.parts() if part[0] in self.options.sections)


def environment(threads: int) -> dict[str, object]:
    """Versions, processor, threads, commit, and how busy the machine was before: it should have been idle."""
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        torch = None
    return describe(threads) | {"torch": torch, "load average": round(os.getloadavg()[0], 2)}


def main() -> None:
    """Run the benchmark."""
    options = parse_options()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            work = options.work or Path(temporary)
            work.mkdir(parents=True, exist_ok=True)
            bench = Bench(options, work)
            here = environment(bench.effort.threads)
            print("\n".join(f"{name:13} {value}" for name, value in here.items()))
            print(f"{'text':13} {bench.text.name}\n{'repeats':13} {bench.effort.repeats}\n")
            about = {
                "environment": here,
                "text": bench.text.name,
                "checkpoint": str(bench.checkpoint),
                "quick": options.quick,
                "repeats": bench.effort.repeats,
            }
            status = measure(bench.chosen(), options.output, about)
    except LmMeterError as error:
        raise SystemExit(f"bench: {error}") from None
    sys.exit(status)


if __name__ == "__main__":
    main()
