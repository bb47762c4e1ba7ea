"""Kill runs at random moments and let each go on from its saved state: nothing may be lost, nothing counted twice.

    python scripts/check_resume.py --kills 50

For each of four runs (an LSTM and a transformer, without and with a continuous cache) a child process evaluates a
text and saves its state after every call. It is sent SIGKILL at a random moment, wherever that falls: while it loads,
or writes a state, or between two calls. The next child goes on, with another block. When one comes to the end, its
log-probabilities, histogram, records and hash chain are compared, bit for bit, with those of a run that nothing
interrupted. Then the text begins anew, until there were as many kills as were asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lm_meter import RunOptions, evaluate
from lm_meter.defaults import default_checkpoint, sample_path
from lm_meter.pass_files import PassFiles

CACHE = "300,0.3,0.1"
_BLOCKS = (1, 16, 64)
_AFTER_EVERY_CALL = 1e-9


@dataclass(frozen=True)
class Case:
    """A run that is killed."""

    checkpoint: Path
    text: Path
    options: RunOptions


def shipped_cases(limit: int | None) -> dict[str, Case]:
    """The runs of the two models that ship, over the first words of the text that ships."""
    lstm = default_checkpoint()
    cases = {"lstm": lstm, "transformer": lstm.with_name("transformer-small.npz")}
    return {
        f"{name}{', continuous cache' if cache else ''}": Case(
            checkpoint, sample_path(), RunOptions(block=16, limit=limit, continuous_cache=cache)
        )
        for name, checkpoint in cases.items()
        for cache in (None, CACHE)
    }


def _run(case: Case, folder: Path, state: str | None) -> None:
    """Evaluate in this process; what must be the same is written to ``found`` when all is there."""
    files = PassFiles(folder / state if state else None, _AFTER_EVERY_CALL, folder / "records.npz")
    result = evaluate(case.checkpoint, text=case.text, options=case.options, files=files)
    found = {name: result[name] for name in ("histogram", "chain", "nll_nats", "text", "uncertainty")}
    found["sittings"] = result["run"]["sittings"]
    found["records"] = result["records"]["sha256"]
    found["log_probs"] = result.log_probs.tobytes().hex()
    (folder / "found.part").write_text(json.dumps(found), encoding="utf-8")
    os.replace(folder / "found.part", folder / "found")


def _child(case: Case, folder: Path, state: str | None) -> int:
    """Number of a process that runs ``case``."""
    number = os.fork()
    if number == 0:
        status = 1
        try:
            _run(case, folder, state)
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    return number


def _finished(case: Case, folder: Path, state: str | None, seconds: float | None) -> bool:
    """Whether a run came to its end within some seconds, behind which it is killed; an error of its own is ours."""
    number = _child(case, folder, state)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(number, signal.SIGKILL)
    status = os.waitpid(number, 0)[1]
    if status == 0:
        return True
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        raise SystemExit(f"a run ended with status {status}; its message is above")
    return False


@dataclass
class Outcome:
    """Runs that came to their end, those of them that were equal to the reference, and sittings of all of them."""

    ended: int = 0
    equal: int = 0
    sittings: int = 0


def check(case: Case, kills: int, seed: int) -> Outcome:
    """Kill ``case`` so many times, and let the last run come to its end."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(2):  # the first one may have to compile
            started = time.perf_counter()
            _finished(case, folder, None, None)
            whole = time.perf_counter() - started
        reference = _found(folder)
        outcome, killed, unfinished = Outcome(), 0, False
        while killed < kills or unfinished:
            seconds = moments.uniform(0, whole) if killed < kills else None
            sitting = replace(case, options=replace(case.options, block=moments.choice(_BLOCKS)))
            unfinished = not _finished(sitting, folder, "state", seconds)
            if unfinished:
                killed += 1
                continue
            found = _found(folder)
            outcome.sittings += found.pop("sittings")
            outcome.ended += 1
            outcome.equal += all(found[name] == reference[name] for name in found)
            for file in folder.iterdir():
                file.unlink()
        return outcome


def _found(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "found").read_text(encoding="utf-8"))
    return found


def main() -> int:
    """Print a line for each run; status 1 if any that was killed differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="of each run (default: 50)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N word tokens of the sample text")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    different = 0
    for name, case in shipped_cases(options.limit).items():
        found = check(case, options.kills, options.seed)
        print(
            f"{name}: killed {options.kills} times; {found.ended} runs came to their end in {found.sittings} sittings, "
            f"{found.equal} of them with the same bits"
        )
        different += found.ended - found.equal
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
