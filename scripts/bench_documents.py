"""Time of ``lm-meter report`` on a run as long as the WikiText-103 test set; wanted: under 10 s, and a page under 1 MB.

    python scripts/bench_documents.py [--keep FOLDER]

The result is that of the shipped model over the sample text, again and again until there are 245,569 predictions or a
few more; its records are random, with words of one piece and with words of several.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import lm_meter
from lm_meter.defaults import sample_path
from lm_meter.record_table import Records
from lm_meter.records import write_records
from lm_meter.text import text_from_bytes
from lm_meter.word_texts import WordTexts

PREDICTIONS = 245_569
WANTED_SECONDS, WANTED_BYTES = 10.0, 1_000_000
REPEATS = 3
VOCABULARY = 5_000


class Spoken(Records):
    """Records whose words of several pieces have texts."""

    def word_texts(self) -> WordTexts | None:
        """A word for each number."""
        if self.word_start.all():
            return None
        numbers = _zipf(np.random.default_rng(2), int(self.word[-1]) + 1).tolist()
        return WordTexts(text_from_bytes(" ".join(f"word{number}" for number in numbers).encode(), "words"))


def _zipf(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.minimum(rng.zipf(1.3, count) - 1, VOCABULARY - 1)


def records_of(result: lm_meter.Result, pieces: bool) -> Records:
    """Random records of a result: 60 articles, operations that grow at the beginning."""
    rng, size = np.random.default_rng(1), result["text"]["scored"]
    start = rng.random(size) < 0.8 if pieces else np.ones(size, bool)
    start[0] = True
    token, place = _zipf(rng, size), np.arange(size)
    used = np.unique(token)
    operations = 1_000_000 + 2_000 * np.minimum(place, 512)
    operations[-1] += sum(row["count"] for row in result["histogram"]) - operations.sum()
    return Spoken(
        position=place,
        line=place // 60,
        article=(place * 60 // size).astype(np.int32),
        word=np.cumsum(start) - 1,
        token=token,
        log_prob=result.log_probs,
        rank=1 + rng.integers(0, VOCABULARY, size),
        operations=operations,
        word_start=start,
        token_id=used,
        token_text=np.array([f"piece{number}" for number in used]),
        text_sha256=result["text"]["sha256"],
        checkpoint_sha256=result["checkpoint"]["sha256"],
    )


def main() -> int:
    """Write, time, compare with what was wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", help="write result, records and reports here")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(keep or temporary)
        (folder / "long.txt").write_bytes(sample_path().read_bytes() * 48)
        result = lm_meter.evaluate(text=folder / "long.txt")
        assert result["text"]["scored"] >= PREDICTIONS
        result.save(folder / "result.json")
        good = True
        for name in ("words", "pieces"):
            records = folder / f"{name}.npz"
            write_records(records_of(result, name == "pieces"), records)
            command = [
                sys.executable,
                "-m",
                "lm_meter",
                "report",
                str(folder / "result.json"),
                "--records",
                str(records),
            ]
            command += ["--html", str(folder / f"{name}.html"), "--markdown", str(folder / f"{name}.md")]
            seconds = []
            for _ in range(REPEATS):
                started = time.perf_counter()
                subprocess.run(command, check=True)
                seconds.append(time.perf_counter() - started)
            median, size = statistics.median(seconds), (folder / f"{name}.html").stat().st_size
            good &= median < WANTED_SECONDS and size < WANTED_BYTES
            print(
                f"{name}: {result['text']['scored']:,} predictions, {median:.2f} s (from {min(seconds):.2f} to "
                f"{max(seconds):.2f}; wanted: under {WANTED_SECONDS:g}), page {size:,} bytes (wanted: under "
                f"{WANTED_BYTES:,}), Markdown {(folder / f'{name}.md').stat().st_size:,} bytes"
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
