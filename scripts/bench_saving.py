"""What saving costs a run: ranks made in its kernels, states written at the default interval, records at its end.

    python scripts/bench_saving.py
    python scripts/bench_saving.py --checkpoint baseline.npz --text wiki.test.tokens --limit 20000

Whole runs side by side scatter by more than what is looked for, so that each part is measured where it stands out.
Ranks: one model goes through the text in short calls, every other one with ranks, and the pairs of neighbouring calls
are compared. A state, and the records: written again and again behind the last token, where both are largest. Medians
everywhere. The sum is that of a run over the same text, with a state every 30 seconds and one at its end.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lm_meter import RunOptions, read_text
from lm_meter.corpora import WIKITEXT_103, find_split
from lm_meter.defaults import default_checkpoint, sample_text
from lm_meter.interrupt import deferred_interrupt
from lm_meter.online import OnlinePass
from lm_meter.pass_files import DEFAULT_SAVE_EVERY
from lm_meter.pass_records import PassRecords
from lm_meter.preparation import Prepared, load, prepare
from lm_meter.records import write_records
from lm_meter.state_keeper import StateKeeper, state_identity
from lm_meter.text import Text

WANTED = 0.02
_CALL_SECONDS = 0.02


@dataclass(frozen=True)
class Costs:
    """Seconds of a run that saves nothing, of ranks, of one state, and of records; and how many pairs were compared."""

    run: float
    ranks: float
    state: float
    records: float
    pairs: int

    @property
    def states(self) -> int:
        """States of the run: one each interval, and one at the end."""
        return 1 + int(self.run / DEFAULT_SAVE_EVERY)

    @property
    def fraction(self) -> float:
        """All that saving adds, of the run."""
        return (self.ranks + self.states * self.state + self.records) / self.run


def costs(prepared: Prepared, repeats: int, suffix: str) -> Costs:
    """Measure the parts; ``suffix``: of the records."""
    with deferred_interrupt() as interruption, tempfile.TemporaryDirectory() as folder:
        runtime = load(prepared, interruption, True).runtime
        run = OnlinePass(runtime, prepared.inputs, prepared.targets, prepared.options, ranked=True)
        plain, added, pairs = _ranks(run)
        identity, state, records = state_identity(prepared), Path(folder) / "state", Path(folder) / f"records{suffix}"

        def save() -> None:
            StateKeeper(state, DEFAULT_SAVE_EVERY, identity).save(run)

        def write() -> None:
            write_records(PassRecords(prepared, run), records)

        seconds = _median_seconds(save, repeats, state), _median_seconds(write, repeats, records)
        return Costs(plain, added, *seconds, pairs)


def _ranks(run: OnlinePass) -> tuple[float, float, int]:
    """Seconds of the text without ranks, what these add to them, and how many pairs of calls say so."""
    size, ratios, plain, made = run.block, [], 0.0, 0
    runtime, ranks = run.runtime, run.ranks
    first_is_ranked = False
    while run.done < run.targets.size:
        seconds = {}
        for ranked in (first_is_ranked, not first_is_ranked):
            first, last = run.done, min(run.done + size, run.targets.size)
            inputs, targets = run.inputs[first:last], run.targets[first:last]
            started = time.perf_counter()
            if ranked:
                run.log_probs[first:last], ranks[first:last] = runtime.run_ranked(
                    inputs, targets, run.block, run.tallies
                )
            else:
                run.log_probs[first:last] = runtime.run(inputs, targets, run.block, run.tallies)
            seconds[ranked] = time.perf_counter() - started
            if not ranked:
                plain, made = plain + seconds[ranked], made + last - first
            run.done = last
        first_is_ranked = not first_is_ranked
        if run.done < run.targets.size:
            ratios.append(seconds[True] / seconds[False])
        elif not made:
            raise SystemExit("the text is too short to be measured; expected some thousand word tokens")
        if 2 * seconds[False] < _CALL_SECONDS:
            size *= 2
    whole = plain * run.targets.size / made
    if not ratios:
        raise SystemExit("bench_saving: the text is too short to compare calls in pairs; expected a longer one")
    return whole, whole * (statistics.median(ratios) - 1), len(ratios)


def _median_seconds(action: Callable[[], None], repeats: int, place: Path) -> float:
    seconds = []
    for _ in range(repeats):
        place.unlink(missing_ok=True)  # what it takes to free the one before belongs to none of them
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _text(options: argparse.Namespace) -> Text:
    if options.text:
        return read_text(options.text)
    return find_split(WIKITEXT_103, "test") or sample_text()


def main() -> int:
    """Print a line for each checkpoint; status 1 if saving costs any of them more than is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="default: the LSTM and the transformer that ship")
    parser.add_argument(
        "--text", type=Path, help="default: WikiText-103's test set if it is here, else the sample text"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N word tokens")
    parser.add_argument("--continuous-cache", metavar="SIZE,THETA,LAMBDA")
    parser.add_argument("--records", choices=(".npz", ".csv", ".parquet"), default=".npz")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument("--repeats", type=int, default=9, metavar="N", help="of states and records (default: 9)")
    options = parser.parse_args()
    shipped = default_checkpoint()
    checkpoints = [options.checkpoint] if options.checkpoint else [shipped, shipped.with_name("transformer-small.npz")]
    run = RunOptions(limit=options.limit, oov="unk", continuous_cache=options.continuous_cache, threads=options.threads)
    missed = 0
    for checkpoint in checkpoints:
        found = costs(prepare(checkpoint, _text(options), run), options.repeats, options.records)
        met = found.fraction < WANTED
        missed += not met
        print(
            f"{checkpoint.stem}: {found.run:.1f} s; ranks {100 * found.ranks / found.run:+.2f} % of it in "
            f"{found.pairs} pairs, {found.states} states of {found.state:.3f} s, records {found.records:.3f} s; in all "
            f"{100 * found.fraction:+.2f} %, wanted below {100 * WANTED:g} %: {'met' if met else 'not met'}",
            flush=True,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
