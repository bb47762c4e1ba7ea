"""What saving costs: a run that keeps its state and writes records, beside one that does not, in turn.

    python scripts/bench_saving.py --repeats 5
    python scripts/bench_saving.py --checkpoint baseline.npz --text wiki.test.tokens --limit 20000

Both are whole calls of ``evaluate``, from opening the checkpoint to the result; the state is saved at the default
interval and at the end, records are an ``.npz``. Printed is the median of the ratios of neighbouring runs; with
``--apart`` also what the state and the records cost alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from lm_meter import RunOptions, evaluate, read_text
from lm_meter.corpora import WIKITEXT_103, find_split
from lm_meter.defaults import default_checkpoint, sample_text
from lm_meter.pass_files import PassFiles
from lm_meter.text import Text

WANTED = 0.02


def _files(kind: str, folder: Path, suffix: str) -> PassFiles:
    state = folder / "state" if kind in ("state", "both") else None
    return PassFiles(state=state, records=folder / f"records{suffix}" if kind in ("records", "both") else None)


def _seconds(checkpoint: Path, text: Text, options: RunOptions, files: PassFiles) -> float:
    started = time.perf_counter()
    evaluate(checkpoint, text=text, options=options, files=files)
    return time.perf_counter() - started


def costs(
    checkpoint: Path, text: Text, options: RunOptions, repeats: int, saving: tuple[tuple[str, ...], str]
) -> tuple[float, dict[str, float]]:
    """Median seconds of a run that saves nothing, and what each kind of saving adds, as a fraction of it.

    ``saving``: the kinds, and the suffix of records.
    """
    kinds, suffix = saving
    ratios: dict[str, list[float]] = {kind: [] for kind in kinds}
    plain = []
    _seconds(checkpoint, text, options, PassFiles())
    for _ in range(repeats):
        for kind in kinds:
            before = _seconds(checkpoint, text, options, PassFiles())
            with tempfile.TemporaryDirectory() as folder:
                with_files = _seconds(checkpoint, text, options, _files(kind, Path(folder), suffix))
            after = _seconds(checkpoint, text, options, PassFiles())
            plain += [before, after]
            ratios[kind].append(with_files / (0.5 * (before + after)) - 1)
    return statistics.median(plain), {kind: statistics.median(found) for kind, found in ratios.items()}


def main() -> int:
    """Print a line for each checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="default: the LSTM and the transformer that ship")
    parser.add_argument(
        "--text", type=Path, help="default: WikiText-103's test set if it is here, else the sample text"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N word tokens")
    parser.add_argument("--continuous-cache", metavar="SIZE,THETA,LAMBDA")
    parser.add_argument("--records", choices=(".npz", ".csv", ".parquet"), default=".npz")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--apart", action="store_true", help="also the state and the records alone")
    options = parser.parse_args()
    kinds = ("both", "state", "records") if options.apart else ("both",)
    shipped = default_checkpoint()
    checkpoints = [options.checkpoint] if options.checkpoint else [shipped, shipped.with_name("transformer-small.npz")]
    text = read_text(options.text) if options.text else find_split(WIKITEXT_103, "test") or sample_text()
    for checkpoint in checkpoints:
        run = RunOptions(limit=options.limit, oov="unk", continuous_cache=options.continuous_cache)
        seconds, found = costs(checkpoint, text, run, options.repeats, (kinds, options.records))
        parts = ", ".join(f"{kind} {100 * found[kind]:+.2f} %" for kind in kinds)
        met = "met" if found["both"] < WANTED else "not met"
        print(
            f"{checkpoint.name}: {seconds:.1f} s without; {parts}; wanted below {100 * WANTED:g} %: {met}", flush=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
