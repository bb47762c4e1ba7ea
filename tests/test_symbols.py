"""Compiled code that different processes kept must not mix: no two functions of the kernels share a symbol's name."""

import json
import os
import subprocess
import sys
from pathlib import Path

from hang import HANG

from lm_meter.kernels import jit
from lm_meter.kernels.formats import FLOAT32, INT8
from lm_meter.kernels.multiply import Loop, multiply_address

TESTS = Path(__file__).parent

# Compiles some throw-away functions first, so that this process counts its symbols differently, then runs kernels that
# are made of closures (operators on lanes, decoders, tiles) with and without a meter as asked.
_CHILD = """
import json, sys
import numba
for i in range(int(sys.argv[1])):
    numba.njit(lambda x, i=i: x + i)(1)
import numpy as np
from packed import PackedMatrix
from lm_meter.kernels import formats
from lm_meter.kernels.charge import Meter, new_tally
from lm_meter.kernels.elementary import tanh
from lm_meter.kernels.jit import entry
from lm_meter.kernels.lanes import load, store
from lm_meter.kernels.matrix import Scheme
from lm_meter.kernels.product import READS_ON, Place, Span, product

@entry
def run(weights, matrix, x, out, tally):
    product(weights, matrix, Span(0, 2, 32, READS_ON), x, Place(out, 0, 0), Meter(tally, 0))
    store(out, 0, tanh(load(out, 0)) / load(out, 16))

results = []
for metered in sys.argv[2].split(","):
    for code in (formats.FLOAT16, formats.INT8):
        packed = PackedMatrix(32, 24, Scheme(code), bias=True)
        out = np.zeros((1, 32), np.float32)
        x = packed.vectors(np.linspace(-1, 1, 24, dtype=np.float32)[None], 1)
        run(packed.weights, packed.matrix, x, out, new_tally(1) if metered == "yes" else None)
        results.append(out.tolist())
print(json.dumps(results))
"""


def _run(cache, shift, metered):
    script = cache.parent / "child.py"
    script.write_text(_CHILD, encoding="utf-8")
    # The order in which sets are gone through would else be another in each process, and with it the symbols' numbers.
    environment = {**os.environ, "LM_METER_CACHE": str(cache), "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "0"}
    command = [sys.executable, script, str(shift), metered]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    return json.loads(done.stdout)


def test_variants_kept_by_different_processes_agree_when_loaded_together(tmp_path):
    cache = tmp_path / "cache"
    reference = _run(cache, 0, "yes")
    _run(cache, 1, "no")  # compiled by a process whose count is one ahead
    compiled = sorted(cache.rglob("*.nbc"))
    for order in ("yes,no", "no,yes"):
        assert _run(cache, 0, order) == 2 * reference
    assert len(list((cache / "kernels").iterdir())) == 1, "the kernels' sources were edited while the test ran"
    assert sorted(cache.rglob("*.nbc")) == compiled  # found again, nothing compiled anew


def test_kernels_made_by_one_def_have_different_names():
    for code in (FLOAT32, INT8):
        multiply_address(Loop(code))
    names = [native.__qualname__ for native in jit._natives]
    assert len(names) == len(set(names)) >= 2
