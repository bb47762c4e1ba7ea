"""Read malformed files until something other than an ``LmMeterError`` comes out, or all were refused or read.

    python scripts/fuzz.py --inputs 100000 --seed 1 --jobs 2
    python scripts/fuzz.py --readers state,entry --inputs 5000 --out findings
    python scripts/fuzz.py --replay findings/state-1-17 --readers state

Well-formed small files of each reader are mutated (``tests/mutations.py``, ``tests/mutated_files.py``) and read to
the end (``tests/fuzzed_readers.py``). Input N of a reader depends on the seed and N alone. Child processes read them,
each with its address space limited to what it had before and 200 MB more; one that takes longer than --seconds over
an input is ended. The limit is on what is taken before a refusal: where memory runs out, a process of its own reads
the input again with 2 GB, and a valid model that needs them is no finding. A finding is an exception that is no
``LmMeterError``, a message of several or endless lines, a process that dies, or a hang: its input is saved in --out,
and the run stops with status 1 unless --keep-going.

Printed at the end: for each reader how many inputs were read and refused, and by which places in the code.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import json
import mmap
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from extras import extras

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
# Of all inputs, in parts: what other programs write is behind an option of its own command.
SHARES = {
    "checkpoint": 30, "state": 15, "result": 15, "entry": 15, "text": 10,
    "tokenizer": 2, "records": 5,
    "gguf": 3, "llama2c": 3, "huggingface": 3, "tensorflow": 3, "torch": 3,
}  # fmt: skip
# What their well-formed files are made with.
NEEDED = {
    "checkpoint": ("tokenizers",), "text": ("tokenizers",), "gguf": ("gguf", "pytest", "tokenizers"),
    "huggingface": ("pytest", "safetensors", "tokenizers"), "tensorflow": ("pytest",), "torch": ("torch",),
}  # fmt: skip
ALLOWED_BYTES = 200 << 20
ALLOWED_TO_VALID_BYTES = 2 << 30
LARGE = "read, valid and of more than 200 MB"
LONGEST_MESSAGE = 1000  # characters, without the file's name
CHUNK = 2500  # inputs that a child reads


def input_of(name: str, seeds: list[bytes], seed: int, number: int) -> bytes:
    """Input ``number`` of a reader."""
    from fuzzed_readers import READERS

    rng = random.Random(f"{seed} {name} {number}")
    return READERS[name].mutate(rng, rng.choice(seeds))


def outcome_of(name: str, raw: bytes, folder: Path) -> str:
    """How a reader ends: ``read``, or the place that refuses; raises what is a finding."""
    from fuzzed_readers import READERS

    from lm_meter import LmMeterError

    try:
        READERS[name].read(raw, folder)
    except LmMeterError as error:
        message = str(error).replace(str(folder), "")
        if len(message.splitlines()) != 1 or len(message) > LONGEST_MESSAGE:
            raise AssertionError(
                f"a message of {len(message)} characters in {len(message.splitlines())} lines"
            ) from error
        message.encode()
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(frame.filename).stem}.{frame.name}"
    return "read"


def limit_memory(allowed: int = ALLOWED_BYTES) -> None:
    """From here on this process may take so much more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    # Soft, so that the process that reads an input again can have more.
    limit = pages * mmap.PAGESIZE + allowed, resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, limit)


def judged(name: str, raw: bytes, folder: Path) -> str:
    """How a reader ends within the limit; where memory runs out, the same unless a valid input needs it.

    Raises
    ------
    AssertionError
        The input is refused after all, or does not end within the larger limit either.
    """
    try:
        return outcome_of(name, raw, folder)
    except MemoryError as error:
        path = folder / "again"
        path.write_bytes(raw)
        command = [sys.executable, __file__, "--replay", str(path), "--readers", name]
        done = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=lambda: limit_memory(ALLOWED_TO_VALID_BYTES)
        )
        found = (done.stdout or done.stderr).strip().splitlines()[-1:]
        if done.returncode or found != ["read"]:
            raise AssertionError(f"more than {ALLOWED_BYTES >> 20} MB are taken before it ends: {found}") from error
        return LARGE


def child(name: str, seed: int, first: int, last: int, folder: Path) -> None:
    """Read inputs first to last - 1; say in a file which one it is at, and print how all ended."""
    from fuzzed_readers import READERS, without_measurements

    without_measurements()
    seeds = READERS[name].seeds(folder)
    for raw in seeds:  # what is compiled or imported at first use is no input's
        outcome_of(name, raw, folder)
        outcome_of(name, raw, folder)
    (folder / "at").write_bytes(bytes(8))
    with (folder / "at").open("r+b") as file, mmap.mmap(file.fileno(), 8) as at:
        limit_memory()
        counts: dict[str, int] = collections.Counter()
        for number in range(first, last):
            at[:] = number.to_bytes(8, "little")
            raw = input_of(name, seeds, seed, number)
            try:
                counts[judged(name, raw, folder)] += 1
            except BaseException as error:
                print(json.dumps({"at": number, "counts": counts, "finding": repr(error)[:300]}), flush=True)
                traceback.print_exc()
                sys.exit(1)
    print(json.dumps({"at": last, "counts": counts, "finding": None}))


class Work:
    """A child over a part of a reader's inputs."""

    def __init__(self, name: str, seed: int, span: tuple[int, int], seconds: float) -> None:
        self.name, self.seed, self.span, self.seconds = name, seed, span, seconds
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self.files = [open(self.folder / part, "w+b") for part in ("out", "err")]  # noqa: SIM115
        command = [sys.executable, __file__, "--child", name, "--seed", str(seed), "--span", *map(str, span)]
        self.process = subprocess.Popen(
            [*command, "--folder", str(self.folder)], stdout=self.files[0], stderr=self.files[1]
        )
        self.at, self.since = -1, time.monotonic()

    def hangs(self) -> bool:
        """Whether it has been at one input for too long; compiling before the first one has more time."""
        place = self.folder / "at"
        at = int.from_bytes(place.read_bytes(), "little") if place.exists() else -1
        if at != self.at:
            self.at, self.since = at, time.monotonic()
        return time.monotonic() - self.since > (self.seconds if at >= 0 else 20 * self.seconds)

    def end(self, hung: bool) -> tuple[dict[str, int], int | None, str]:
        """What it counted, the input that is a finding, and what is found."""
        if hung:
            self.process.kill()
            self.process.wait()
        lines = (self.folder / "out").read_text().splitlines()
        told = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None
        errors = (self.folder / "err").read_text(errors="replace")[-1500:]
        for file in self.files:
            file.close()
        shutil.rmtree(self.folder)
        if told and told["finding"] is None:
            return told["counts"], None, ""
        if told:
            return told["counts"], told["at"], f"{told['finding']}\n{errors}"
        what = f"hangs for {self.seconds} s" if hung else f"ends the process with {self.process.returncode}"
        return {}, self.at, f"{what}\n{errors}"


def save_finding(work: Work, number: int, out: Path) -> Path:
    """Write the input that is a finding."""
    from fuzzed_readers import READERS

    out.mkdir(exist_ok=True)
    path = out / f"{work.name}-{work.seed}-{number}"
    with tempfile.TemporaryDirectory() as folder:
        path.write_bytes(input_of(work.name, READERS[work.name].seeds(Path(folder)), work.seed, number))
    return path


def run(options: argparse.Namespace, shares: dict[str, int]) -> int:
    """Read all inputs; returns the number of findings."""
    waiting = []
    for name, share in shares.items():
        count = options.inputs * share // sum(shares.values())
        waiting += [(name, (at, min(at + CHUNK, count))) for at in range(0, count, CHUNK)]
    total: dict[str, dict[str, int]] = {name: collections.Counter() for name in shares}
    running: list[Work] = []
    findings = 0
    while waiting or running:
        while waiting and len(running) < options.jobs:
            name, span = waiting.pop(0)
            running.append(Work(name, options.seed, span, options.seconds))
        time.sleep(0.1)
        for work in list(running):
            hung = work.process.poll() is None and work.hangs()
            if work.process.poll() is None and not hung:
                continue
            running.remove(work)
            counts, number, what = work.end(hung)
            total[work.name].update(counts)
            if number is None:
                continue
            findings += 1
            saved = save_finding(work, number, options.out)
            print(f"FINDING {work.name} {number}: {what.strip()}\n  saved as {saved}", flush=True)
            if not options.keep_going:
                waiting.clear()
            elif number + 1 < work.span[1]:
                total[work.name]["finding"] += 1
                waiting.insert(0, (work.name, (number + 1, work.span[1])))
    report(total)
    return findings


def report(total: dict[str, dict[str, int]]) -> None:
    """Print how the inputs of each reader ended."""
    print(f"{'reader':12} {'inputs':>8} {'read':>8} {'refused':>8}  places that refuse")
    for name, counts in total.items():
        count, read = sum(counts.values()), counts.get("read", 0) + counts.get(LARGE, 0)
        places = len(counts.keys() - {"read", LARGE})
        print(f"{name:12} {count:8,} {read:8,} {count - read:8,}  {places}")
    print(f"{'all':12} {sum(sum(counts.values()) for counts in total.values()):8,}\n")
    for name, counts in total.items():
        for place, count in sorted(counts.items(), key=lambda item: -item[1]):
            print(f"{name:12} {count:8,}  {place}")


def main() -> None:
    """Parse the options; status 1 where there are findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all readers together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--readers", default=",".join(SHARES), help="by default all: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="child processes at a time")
    parser.add_argument("--seconds", type=float, default=20.0, help="most that an input may take")
    parser.add_argument("--out", type=Path, default=Path("findings"), help="folder for inputs that are findings")
    parser.add_argument("--keep-going", action="store_true", help="go on behind a finding")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="read this input with the one reader that is named")
    for name, kind in (("--child", str), ("--folder", Path)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--span", type=int, nargs=2, help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    if options.child:
        child(options.child, options.seed, *options.span, options.folder)
        return
    unknown = set(options.readers.split(",")) - set(SHARES)
    if unknown:
        parser.error(f"--readers has {', '.join(sorted(unknown))}; expected some of {', '.join(SHARES)}")
    for name in options.readers.split(","):
        with extras(f"'.[{'pytorch' if name == 'torch' else 'test'}]', or leave {name} out of --readers"):
            for module in NEEDED.get(name, ()):
                importlib.import_module(module)
    if options.replay:
        from fuzzed_readers import without_measurements

        without_measurements()
        with tempfile.TemporaryDirectory() as folder:
            print(outcome_of(options.readers, options.replay.read_bytes(), Path(folder)))
        return
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.exit(1 if run(options, {name: SHARES[name] for name in options.readers.split(",")}) else 0)


if __name__ == "__main__":
    main()
