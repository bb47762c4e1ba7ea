"""Quantise a checkpoint to a grid of widths and prunings, evaluate each on-line, and show what the bits buy.

    python scripts/sweep_widths.py --text wiki.valid.tokens --work DIR --csv sweep.csv --plot sweep.png

Every row of the CSV is one run of lm-meter: perplexity, and the score under each profile of the challenge, with a mark
where no other row has both a lower score and a lower perplexity (the Pareto front). Results are kept in DIR: a sweep
that was cut goes on where it stood. The plot needs matplotlib (pip install matplotlib).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_meter import Checkpoint, ConfigError, LmMeterError, evaluate
from lm_meter.defaults import default_checkpoint
from lm_meter.profiles import profile_named
from lm_meter.quantization.convert import quantize
from lm_meter.quantization.specification import Plan, parse_pattern, parse_specification
from lm_meter.result import Result, load_result, price_result

PROFILES = ("micronet-2019-06", "micronet-2019-final")
# Each entry: the default for matrices, then PATTERN=SPECIFICATION for some of them. "keep" is the checkpoint as it is.
WIDTHS = [
    ["keep"],
    ["float16,activations=16"],
    ["bfloat16"],
    ["int8"],
    ["int8,activations=16"],
    ["int8,activations=8"],
    ["int8,activations=8,accumulator=25"],
    ["int8,activations=8,accumulator=16,overflow=saturate"],
    ["int8,activations=8,group=32"],
    ["int4"],
    ["int4,activations=16"],
    *([f"int4,activations=8{group}"] for group in ("", ",group=32", ",group=16", ",group=8")),
    ["int4,activations=8,group=32,offsets"],
    ["int4,activations=8,group=8,accumulator=14"],
    *([f"int4,activations=8,accumulator={bits},overflow=saturate"] for bits in (16, 14, 12)),
    *([f"codebook4,activations=8{group}"] for group in ("", ",group=32", ",group=16")),
    ["int8,activations=8", "embedding=int4,activations=8"],
    ["int8,activations=8", "lstm.*=int4,activations=8"],
    ["int4,activations=8", "projection.*=int8,activations=8"],
    ["int4,activations=8,group=32", "projection.*=int8,activations=8"],
    ["codebook4,activations=8", "projection.*=int8,activations=8"],
]
PRUNINGS = [
    *([f"int8,activations=8,prune={part}"] for part in (0.1, 0.2, 0.3, 0.5)),
    *([f"int4,activations=8,prune={part}"] for part in (0.1, 0.2)),
    *([f"int8,activations=8,prune={part},block={block}"] for block in ("4x4", "1x16") for part in (0.1, 0.2)),
    *(["int8,activations=8", f"lstm.*=int8,activations=8,prune={part}"] for part in (0.2, 0.4)),
    ["int4,activations=8", "lstm.*=int4,activations=8,prune=0.2"],
    ["float16,prune=0.2"],
]


def result_of(entry: Sequence[str], options: argparse.Namespace) -> Result:
    """The result of one entry of the grid, from the work folder if it is there."""
    name = "+".join(entry).replace("*", "").replace("=", "").replace(",", "-")
    saved = options.work / f"{name}.json"
    if saved.exists():
        return _found_again(saved, options)
    checkpoint = options.checkpoint
    if entry != ["keep"]:
        checkpoint = options.work / "entry.npz"
        plan = Plan(parse_specification(entry[0]), tuple(map(parse_pattern, entry[1:])))
        quantize(options.checkpoint, checkpoint, plan)
    result = evaluate(checkpoint, text=options.text)
    if result["partial"]:
        raise SystemExit(f"{' '.join(entry)}: interrupted; what is done so far is in {options.work}")
    result.save(saved)
    return result


def _found_again(saved: Path, options: argparse.Namespace) -> Result:
    """A kept result, if it is one of the text that is asked for."""
    result = load_result(saved)
    if result["text"]["sha256"] != hashlib.sha256(options.text.read_bytes()).hexdigest():
        raise ConfigError(f"{saved}: is of another text; choose another --work")
    return result


def row_of(entry: Sequence[str], result: Result) -> dict[str, Any]:
    """One row of the table."""
    row = {"weights": entry[0], "tensors": " ".join(entry[1:]), "perplexity": result.perplexity}
    row["bits"] = result["storage"]["bits"]
    row["overflows"] = sum(overflow["count"] for overflow in result.document.get("overflows", []))
    for profile in PROFILES:
        score = price_result(result, profile_named(profile))["score"]
        row[f"storage {profile}"], row[f"operations {profile}"] = score["storage_ratio"], score["operations_ratio"]
        row[f"score {profile}"] = score["total"]
    return row


def mark_fronts(rows: list[dict[str, Any]]) -> None:
    """Add to each row whether it is on the Pareto front of perplexity and score, for each profile."""
    for profile in PROFILES:
        best = float("inf")
        for row in sorted(rows, key=lambda row: (row[f"score {profile}"], row["perplexity"])):
            row[f"front {profile}"] = row["perplexity"] < best
            best = min(best, row["perplexity"])


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Perplexity against score under each profile, the front marked."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(PROFILES), figsize=(13, 6), sharey=True)
    highest = 1.25 * min(row["perplexity"] for row in rows)
    for axis, profile in zip(axes, PROFILES, strict=True):
        shown = [row for row in rows if row["perplexity"] <= highest]
        front = sorted((row for row in shown if row[f"front {profile}"]), key=lambda row: row[f"score {profile}"])
        axis.scatter([row[f"score {profile}"] for row in shown], [row["perplexity"] for row in shown], s=18, c="0.6")
        axis.plot([row[f"score {profile}"] for row in front], [row["perplexity"] for row in front], "o-", c="tab:red")
        for row in front:
            label = " ".join(filter(None, [row["weights"], row["tensors"]]))
            place = (row[f"score {profile}"], row["perplexity"])
            axis.annotate(label, place, fontsize=6, rotation=25, xytext=(3, 4), textcoords="offset points")
        axis.set_xlabel(f"score under {profile} (lower is better)")
        axis.set_title(
            f"{len(rows)} versions, {len(rows) - len(shown)} of them above {highest:.0f} not shown", fontsize=8
        )
        axis.grid(alpha=0.3)
        axis.margins(x=0.12, y=0.15)  # room for the labels
    axes[0].set_ylabel("word perplexity")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def _check(options: argparse.Namespace) -> None:
    """Refuse before the first run what would fail behind the last one."""
    for path in filter(None, (options.csv, options.plot)):
        if not path.resolve().parent.is_dir():
            raise ConfigError(f"{path}: there is no such folder; choose another place")
    if options.plot and not importlib.util.find_spec("matplotlib"):
        raise ConfigError("--plot needs matplotlib; pip install matplotlib")


def main() -> None:
    """Parse the arguments, make every entry, write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=default_checkpoint(), metavar="CKPT.npz")
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="UTF-8 text to evaluate on")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="results are kept here")
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    options = parser.parse_args()
    try:
        _check(options)
        # A folder for each checkpoint: an entry's name says nothing of what it was made from.
        options.work = options.work / Checkpoint(options.checkpoint).sha256()[:16]
        options.work.mkdir(parents=True, exist_ok=True)
    except (LmMeterError, OSError) as error:
        parser.error(str(error))
    rows = []
    for entry in [*WIDTHS, *PRUNINGS]:
        try:
            rows.append(row_of(entry, result_of(entry, options)))
        except LmMeterError as error:
            parser.error(f"{' '.join(entry)}: {error}")
        row = rows[-1]
        print(
            f"{row['perplexity']:9.3f}  {row[f'score {PROFILES[0]}']:.5f}  {' '.join(entry)}",
            file=sys.stderr,
            flush=True,
        )
    mark_fronts(rows)
    with open(options.csv, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
