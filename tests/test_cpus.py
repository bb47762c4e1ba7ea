"""The same bits on every CPU: products in other processors' instructions and tiles, and a whole pass in a Haswell's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cpu_bits
import numpy as np
import pytest
from every_model import every_model
from hang import HANG

import lm_meter
from lm_meter.defaults import sample_text
from lm_meter.pass_files import PassFiles

TESTS = Path(__file__).parent
# Features are stated: Numba would otherwise add this machine's own to the name of the CPU.
SANDY = "+avx,+cmov,+cx16,+f16c,+fma,+popcnt,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3"
HASWELL = f"{SANDY},+avx2,+bmi,+bmi2,+lzcnt,+movbe"
CPUS = {
    "without AVX2": ("native", SANDY, [1, 4, 4]),
    # In instructions of a CPU without it: tiles and instructions are chosen apart.
    "tiles of a CPU with AVX-512": ("wide", HASWELL if os.uname().machine == "x86_64" else None, [3, 8, 8]),
}
_PASS = """
import json, sys
import lm_meter
from lm_meter.pass_files import PassFiles
files = PassFiles(records=sys.argv[1] + ".npz")
runs = [lm_meter.evaluate(path, text=sys.argv[1], files=files) for path in sys.argv[2:]]
print(json.dumps([[r.log_probs.view("int64").tolist(), r.ranks.tolist(), r["histogram"]] for r in runs]))
"""
_VERIFY = """
import contextlib, json, sys
from lm_meter import cli
with contextlib.redirect_stdout(sys.stderr):
    status = cli.main(["verify", sys.argv[1], "--block", "5", "--threads", "1", "--quiet"])
print(json.dumps(status))
"""


def _as_if(features, cache, *command):
    """What a Python process prints whose kernels are compiled for a CPU with these features."""
    if features is not None and os.uname().machine != "x86_64":
        pytest.skip("names an x86 processor")
    stated = {} if features is None else {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features}
    environment = {**os.environ, **stated, "LM_METER_CACHE": str(cache), "PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=True, timeout=HANG
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("cpu", CPUS)
def test_products_have_the_same_bits(cpu, tmp_path):
    taken_for, features, tiles = CPUS[cpu]
    reference = cpu_bits.bits()
    assert _as_if(features, tmp_path, TESTS / "cpu_bits.py", taken_for) == [tiles, reference]


def test_a_whole_pass_has_the_same_bits(tmp_path):
    text, paths, reference = tmp_path / "text", [], []
    text.write_text("the cat sat on the mat\na dog ran\n" * 9, encoding="utf-8")
    for number, parts in enumerate(every_model()):
        paths.append(tmp_path / f"model{number}.npz")
        lm_meter.write_checkpoint(paths[-1], *parts)
        run = lm_meter.evaluate(paths[-1], text=text, files=PassFiles(records=tmp_path / "own.npz"))
        reference.append([run.log_probs.view(np.int64).tolist(), run.ranks.tolist(), run["histogram"]])
    assert _as_if(HASWELL, tmp_path / "cache", "-c", _PASS, text, *paths) == reference
    # The result of the model that ships is verified there, at another block and with other threads.
    lm_meter.evaluate(text=sample_text(), options=lm_meter.RunOptions(limit=300)).save(tmp_path / "result.json")
    assert _as_if(HASWELL, tmp_path / "cache", "-c", _VERIFY, tmp_path / "result.json") == 0
