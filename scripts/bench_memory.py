"""Peak resident memory of ``lm-meter eval`` over a short and a long text: it does not grow with the text.

    python scripts/bench_memory.py --text wiki.test.tokens --runs 3
    python scripts/bench_memory.py --text wiki.test.tokens --checkpoint model.npz --threads 1

The text is repeated, and cut, until it has as many word tokens as are asked for. Each run is a process of its own,
whose peak (as wait4 reports it) is printed: the median of the runs, their range, and the growth from the first text to
each longer one, in all and for each word token, beside the growth that is wanted.

NumPy asks for huge pages for its larger arrays. Of tables that are nearly empty, as tallies are, it is chance how many
whole ones then are in memory; they are turned off here, so that what is measured is what a run touches.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lm_meter.defaults import default_checkpoint

MOST_GROWTH = 500_000  # bytes, of the median peak; runs of one text differ by as much


def cut(content: str, word_tokens: int) -> str:
    """The first word tokens of a text that is repeated as often as needed; line ends count."""
    found: list[str] = []
    left = word_tokens
    while left > 0:
        for line in content.splitlines(keepends=True):
            words = line.split()
            if len(words) + 1 > left:
                found.append(" ".join(words[: left - 1]) + "\n")
                return "".join(found)
            found.append(line)
            left -= len(words) + 1
            if left == 0:
                break
    return "".join(found)


def peak_bytes(command: list[str]) -> tuple[int, float]:
    """Peak resident bytes of a process, and the seconds that it took."""
    started = time.perf_counter()
    environment = os.environ | {"NUMPY_MADVISE_HUGEPAGE": "0"}
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)}: status {status}\n{errors.read().decode()}")
    return usage.ru_maxrss * 1024, time.perf_counter() - started


def main() -> None:
    """Parse the options, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="a text of words, repeated as often as needed")
    parser.add_argument("--checkpoint", action="append", help="default: those that ship, an LSTM and a transformer")
    parser.add_argument("--tokens", type=int, nargs="+", default=[10_000, 245_000], help="word tokens of the texts")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", default="2")
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="other options of eval")
    options = parser.parse_args()
    transformer = default_checkpoint().with_name("transformer-small.npz")
    content = options.text.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for checkpoint in options.checkpoint or [default_checkpoint(), transformer]:
            medians = []
            for tokens in options.tokens:
                path = Path(folder) / "text"
                path.write_text(cut(content, tokens), encoding="utf-8")
                command = [
                    sys.executable,
                    "-m",
                    "lm_meter",
                    "eval",
                    "--checkpoint",
                    str(checkpoint),
                    "--text",
                    str(path),
                    "--oov",
                    "unk",
                ]
                command += ["--threads", options.threads, *options.options]
                peak_bytes([*command, "--limit", "500"])  # what is compiled once is compiled now
                peaks, seconds = zip(*(peak_bytes(command) for _ in range(options.runs)), strict=True)
                medians.append(statistics.median(peaks))
                print(
                    f"{Path(checkpoint).stem}, {tokens:,} word tokens: {medians[-1] / 1e6:.1f} MB "
                    f"({min(peaks) / 1e6:.1f} to {max(peaks) / 1e6:.1f}), {statistics.median(seconds):.1f} s",
                    flush=True,
                )
            for tokens, median in zip(options.tokens[1:], medians[1:], strict=True):
                growth, more = median - medians[0], tokens - options.tokens[0]
                print(
                    f"{Path(checkpoint).stem}, {tokens:,} word tokens: {growth / 1e6:+.2f} MB, "
                    f"{growth / more:+.2f} bytes a word token; wanted at most {MOST_GROWTH / 1e6:+.2f} MB: "
                    f"{'met' if growth <= MOST_GROWTH else 'NOT met'}"
                )


if __name__ == "__main__":
    main()
