"""The figures of the checkpoint that ships, over the whole test set of WikiText-103, and as another CPU has them.

    python scripts/check_shipped.py

The test set is evaluated: its perplexity must be the one that checkpoints/README.md states. Then the result is verified
whole, by ``lm-meter verify``, in a process whose kernels are compiled for a CPU of 2013 (AVX2, nothing later), in
blocks of 5 and with one thread: every bit of the log-probabilities, every count and every figure must be equal. Both
take a minute. Status 1 where either differs; without the test set on this machine (``lm-meter eval --corpus
wikitext-103`` fetches it) nothing is done, and that is said.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lm_meter import RunOptions, evaluate
from lm_meter.corpora import WIKITEXT_103, find_split
from lm_meter.progress import on_stderr

PAGE = Path(__file__).resolve().parents[1] / "checkpoints" / "README.md"
_STATED = re.compile(r"WikiText-103 test set \| \*\*([0-9.]+)\*\*")
_WORD_TOKENS = 245_569
# Features are stated: Numba would otherwise add this machine's own to the name of the CPU.
_HASWELL = "+avx,+avx2,+bmi,+bmi2,+cmov,+cx16,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3"


def _other_cpu() -> dict[str, str]:
    if platform.machine() != "x86_64":  # its names and features are not these
        return {}
    return {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": _HASWELL}


def main() -> int:
    """Evaluate, compare, verify."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    text = find_split(WIKITEXT_103, "test")
    if text is None:
        print("skipped: the test set of WikiText-103 is not on this machine")
        return 0
    (stated,) = _STATED.findall(PAGE.read_text(encoding="utf-8"))
    result = evaluate(text=text, options=RunOptions(block=64), progress=on_stderr)
    made, word_tokens = f"{result.perplexity:.2f}", result["text"]["word_tokens"]
    print(f"perplexity {made} over {word_tokens:,} word tokens; {stated} stated")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        result.save(path)
        # -P: the package that is installed, not the folder that this is run from.
        command = [sys.executable, "-P", "-m", "lm_meter", "verify", str(path), "--block", "5", "--threads", "1"]
        again = subprocess.run(command, env={**os.environ, **_other_cpu()}, check=False).returncode
    return int((made, word_tokens) != (stated, _WORD_TOKENS) or again != 0)


if __name__ == "__main__":
    sys.exit(main())
