"""Let a coverage-guided fuzzer look for inputs of a reader from which something other than an ``LmMeterError`` comes.

    pip install -e '.[fuzz]'
    python scripts/fuzz_coverage.py --readers state,entry --seconds 300 --out findings

The readers, their small well-formed files and their mutations are those of ``scripts/fuzz.py``. Atheris, which drives
libFuzzer, keeps the inputs that reach something new in lm_meter or in the parsers that it calls, and goes on from them:
half of the time by the mutations that know the format, else by libFuzzer's own. Kernels are not instrumented: they are
compiled. Printed for each reader: inputs, edges of the code that were reached by the well-formed files and in the end,
and inputs that were kept. A finding is saved in --out, and the run ends with status 1.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from extras import extras

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]
_INSTRUMENTED = ["lm_meter", "zipfile", "tomllib", "json"]
_LEFT_OUT = ["lm_meter.kernels"]
_LARGEST_INPUT = 200_000  # bytes
_SECONDS = 20  # most that an input may take
_RESIDENT_MB = 1500
_DONE = re.compile(r"Done ([0-9]+) (?:runs )?in")
_COVERED = re.compile(r"#[0-9]+\s+(?:INITED|[A-Z]+)\s+cov: ([0-9]+) .*corp: ([0-9]+)/")


def fuzz(name: str, folder: Path, arguments: list[str]) -> None:
    """Fuzz one reader in this process, which libFuzzer ends."""
    with extras("'.[fuzz]'"):
        import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED, exclude=_LEFT_OUT):
        import fuzzed_readers
    from fuzz import outcome_of

    fuzzed_readers.without_measurements()
    reader = fuzzed_readers.READERS[name]
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, raw in enumerate(reader.seeds(folder)):
        outcome_of(name, raw, folder)
        (corpus / str(number)).write_bytes(raw)

    def read(raw: bytes) -> None:
        outcome_of(name, raw, folder)

    def mutate(raw: bytes, largest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            try:
                return reader.mutate(rng, raw)[:largest]
            except Exception:  # it is no file of the format any more
                pass
        return atheris.Mutate(raw, largest)

    atheris.Setup([sys.argv[0], *arguments, str(corpus)], read, custom_mutator=mutate)
    atheris.Fuzz()


def run(name: str, options: Any) -> bool:
    """Fuzz one reader in a child process and print what it reached; whether there is a finding."""
    options.out.mkdir(exist_ok=True)
    arguments = [
        f"-max_total_time={options.seconds}", f"-seed={options.seed}", f"-max_len={_LARGEST_INPUT}", "-len_control=0",
        f"-timeout={_SECONDS}", f"-rss_limit_mb={_RESIDENT_MB}", f"-artifact_prefix={options.out}/{name}-",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--child", name, "--folder", folder, "--", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    covered = _COVERED.findall(done.stderr)
    inputs = _DONE.search(done.stderr)
    if done.returncode or not inputs or not covered:
        print(f"{name}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}", flush=True)
        return True
    first, last = covered[0], covered[-1]
    print(f"{name:12} {int(inputs[1]):8,} inputs, edges {first[0]} -> {last[0]}, kept {last[1]}", flush=True)
    return False


def main() -> None:
    """Parse the options; status 1 where there are findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", default="checkpoint,state,result,entry,text", help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("findings"), help="folder for inputs that are findings")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        fuzz(options.child, options.folder, options.arguments)
        return
    findings = [name for name in options.readers.split(",") if run(name, options)]
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
