"""Compiled code that different processes kept must not mix: no two functions of the kernels share a symbol's name."""

import json
import os
import subprocess
import sys

from tiny import tiny_checkpoint

from lm_meter.kernels import jit
from lm_meter.kernels.formats import FLOAT32, INT8
from lm_meter.kernels.multiply import multiply_address

# Compiles some throw-away functions first, so that this process counts its symbols differently, then runs the model
# with and without a meter as asked.
_CHILD = """
import json, sys
import numba
for i in range(int(sys.argv[2])):
    numba.njit(lambda x, i=i: x + i)(1)
import numpy as np
from lm_meter import Checkpoint
from lm_meter.threads import ThreadTeam
opened = Checkpoint(sys.argv[1])
results = []
for metered in sys.argv[3].split(","):
    runtime = opened.architecture.load(opened, ThreadTeam(1))
    runtime.reserve(8)
    tokens = np.arange(12) % 15
    tallies = runtime.new_tallies() if metered == "yes" else None
    results.append(runtime.run(tokens, tokens, 8, tallies).tolist())
print(json.dumps(results))
"""


def _run(checkpoint, cache, shift, metered):
    environment = {**os.environ, "LM_METER_CACHE": str(cache)}
    command = [sys.executable, "-c", _CHILD, str(checkpoint), str(shift), metered]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, timeout=200).stdout)


def test_variants_kept_by_different_processes_agree_when_loaded_together(tmp_path):
    checkpoint, cache = tiny_checkpoint(tmp_path / "model.npz", dtype="float16"), tmp_path / "cache"
    reference = _run(checkpoint, cache, 0, "yes")[0]
    _run(checkpoint, cache, 1, "no")  # compiled by a process whose count is one ahead
    for order in ("yes,no", "no,yes"):
        assert _run(checkpoint, cache, 0, order) == [reference, reference]


def test_kernels_made_by_one_def_have_different_names():
    for code in (FLOAT32, INT8):
        multiply_address(code, False)
    names = [native.__qualname__ for native in jit._natives]
    assert len(names) == len(set(names)) >= 2
