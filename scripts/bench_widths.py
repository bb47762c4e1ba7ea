"""The full-size baseline in every width, against the memory's limit and against the same model in other libraries."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_numpy import NumpyTwin
from bench_report import Measurement, Section
from bench_speed import AGREEMENT, BLOCK, CHECKED_TOKENS, Loaded

from lm_meter import Checkpoint, Text
from lm_meter.models.recurrent import RecurrentRuntime
from lm_meter.quantization.convert import quantize
from lm_meter.quantization.specification import Plan, parse_specification
from lm_meter.threads import ThreadTeam
from lm_meter.timing import Effort, in_turn, rested

TEST_SET_TOKENS, TEST_SET_SECONDS = 245_569, 300.0
LOAD_SECONDS = 2.0
PROPORTION = 1.3  # of the time a byte takes in the pruned matrices, to that in the dense ones
ROUNDED_AGREEMENT = 0.1  # nats between models that are rounded in different ways, in the mean
PRUNED = "float16,prune=0.9,block=1x16"


@dataclass(frozen=True)
class Rival:
    """A way of another library to run the model: tokens at once, and how many times faster we are to be."""

    library: str
    width: str
    chunk: int
    factor: float | None

    @property
    def name(self) -> str:
        """What it is called in the tables."""
        return f"{self.library} {self.width} x {self.chunk}"


@dataclass(frozen=True)
class Width:
    """A version of the baseline: how it is made, and the share of the memory's speed that block 1 must reach."""

    name: str
    specification: str
    share: float
    rivals: tuple[Rival, ...] = ()


BFLOAT16 = (Rival("PyTorch", "bfloat16", 1, 3.0), Rival("PyTorch", "bfloat16", BLOCK, 1.0))
WIDTHS = (
    Width("float32", "keep", 0.95, (
        Rival("PyTorch", "float32", 1, 2.0),
        Rival("ONNX Runtime", "float32", 1, 1.05),
        Rival("PyTorch", "float32", BLOCK, 1.15),
        Rival("NumPy", "float32", 1, None),
    )),
    Width("float16", "float16", 0.92, BFLOAT16),
    Width("bfloat16", "bfloat16", 0.92, BFLOAT16),
    Width("int8", "int8,activations=8", 0.88, (
        Rival("PyTorch", "int8", 1, 4.0), Rival("ONNX Runtime", "int8", 1, 1.1),
    )),
    Width("int4", "int4,activations=8", 0.75),
)  # fmt: skip

# Every version that is made: its name, and how.
VERSIONS = {**{width.name: width.specification for width in WIDTHS}, PRUNED: PRUNED}


def version_of(baseline: Path, specification: str) -> Path:
    """The baseline in a width, made beside it if it is not there."""
    if specification == "keep":
        return baseline
    path = baseline.with_name(f"{baseline.stem}-{specification.replace(',', '-').replace('=', '')}.npz")
    if not path.exists():
        quantize(baseline, path, Plan(parse_specification(specification)))
    return path


class Rivals:
    """Models in other libraries, made from the float32 baseline when they are asked for, and kept."""

    def __init__(self, baseline: Path, threads: int, folder: Path) -> None:
        self._checkpoint, self._threads, self._folder = Checkpoint(baseline), threads, folder
        self._twins: dict[tuple[str, str], Any] = {}

    def twin(self, rival: Rival) -> Any:
        """The model, or the reason (str) why there is none."""
        key = rival.library, rival.width
        if key not in self._twins:
            self._twins.clear()  # one at a time: each holds the weights once more, or twice
            self._twins[key] = self._make(rival)
        return self._twins[key]

    def _make(self, rival: Rival) -> Any:
        if rival.library == "NumPy":
            return NumpyTwin(self._checkpoint)
        needed = ("torch",) if rival.library == "PyTorch" else ("onnx", "onnxruntime")
        if not all(importlib.util.find_spec(name) for name in needed):
            return "not installed"
        if rival.library == "PyTorch":
            import bench_torch
            import torch

            int8 = rival.width == "int8"
            dtype = torch.float32 if int8 else getattr(torch, rival.width)
            return bench_torch.working_twin(self._checkpoint, dtype, self._threads, int8)
        from bench_onnx import OnnxTwin

        return OnnxTwin(self._checkpoint, rival.width == "int8", self._threads, self._folder)

    def call(self, rival: Rival, loaded: Loaded) -> Callable[[int], object] | str:
        """A function that runs the first n tokens, or the reason why there is none."""
        twin = self.twin(rival)
        if isinstance(twin, str):
            return twin
        chunk = () if rival.library == "NumPy" else (rival.chunk,)
        return lambda n: twin.run(loaded.inputs[:n], loaded.targets[:n], *chunk)


def _check(loaded: Loaded, width: Width, rivals: Rivals) -> str:
    """Compare block 1 with block 64, and with every library; a remark, or the end of the program.

    What other libraries round in another way must be the same model still: near in the mean.
    """
    alone, together = (loaded.log_probs(block) for block in (1, BLOCK))
    if alone.tobytes() != together.tobytes():
        raise SystemExit(f"bench: {width.name}: log-probabilities at block 1 and {BLOCK} differ; nothing was timed")
    checked = [f"block 1 and {BLOCK} same bits"]
    for rival in width.rivals:
        call = rivals.call(rival, loaded)
        if isinstance(call, str):
            continue
        rivals.twin(rival).reset()
        differences, exact = np.abs(call(CHECKED_TOKENS) - alone), rival.width == "float32"
        difference = float(differences.max() if exact else differences.mean())
        if not difference <= (AGREEMENT if exact else ROUNDED_AGREEMENT):
            raise SystemExit(f"bench: {rival.name} is {difference} nats away; nothing was timed")
        checked.append(f"{rival.name} within {difference:.0e} nats")
    return "checked: " + ", ".join(checked)


def width_section(baseline: Path, width: Width, text: Text, effort: Effort) -> Section:
    """One width of the baseline, its rivals and the read rate, in turn."""
    section = Section(f"baseline, 159M parameters, {width.specification}, {effort.threads} threads")
    loaded = Loaded(version_of(baseline, width.specification), text, effort.threads)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=baseline.parent)))
        rivals = Rivals(baseline, effort.threads, folder)
        section.remarks.append(_check(loaded, width, rivals))
        ours = {
            "block 1": rested(loaded.advance_and_read_out(1), 1, loaded.targets.size, effort.seconds),
            f"block {BLOCK}": rested(loaded.advance_and_read_out(BLOCK), BLOCK, loaded.targets.size, effort.seconds),
        }
        found: dict[str, Measurement] = {}
        # Each rival is measured in turn with ours and the read rate: all twins at once would not fit into memory.
        for rival in width.rivals or (None,):
            samplers: dict[str, Callable[[], float]] = {"plain read of the weights": loaded.read_rate, **ours}
            if rival is not None:
                call = rivals.call(rival, loaded)
                if isinstance(call, str):
                    section.remarks.append(f"{rival.name}: {call[:60]}")
                    continue
                samplers[rival.name] = rested(call, rival.chunk, loaded.targets.size, effort.seconds)
            _add(section, found, in_turn(samplers, effort.repeats), rival)
        _judge(section, width, loaded, found)
    return section


def _add(
    section: Section, found: dict[str, Measurement], samples: Mapping[str, list[float]], rival: Rival | None
) -> None:
    """Add the samples of a turn to what was found, and compare the rival with ours of the same turn."""
    turn = {name: Measurement(name, "ms/token", values) for name, values in samples.items()}
    for name, measurement in turn.items():
        unit = "GB/s" if name.startswith("plain") else "ms/token"
        before = list(found[name].samples) if name in found else []
        found[name] = Measurement(name, unit, [*before, *measurement.samples])
    if rival is not None and rival.factor is not None:
        mine = turn["block 1" if rival.chunk == 1 else f"block {BLOCK}"]
        ratio = turn[rival.name].median / mine.median
        section.expect(
            f"{mine.name}, to {rival.name}", f">= {rival.factor:g} x", f"{ratio:.2f} x", ratio >= rival.factor
        )


def _judge(section: Section, width: Width, loaded: Loaded, found: Mapping[str, Measurement]) -> None:
    rate = found["plain read of the weights"].median
    for name, measurement in found.items():
        notes = ""
        if name in ("block 1", f"block {BLOCK}"):
            speed = loaded.runtime.weight_bytes(1 if name == "block 1" else BLOCK) / measurement.median / 1e6
            notes = f"{1e3 / measurement.median:,.0f} tokens/s, {speed:.1f} GB/s of weights, {speed / rate:.1%} of read"
        section.add(name, measurement.unit, measurement.samples, notes)
    share = loaded.runtime.weight_bytes(1) / found["block 1"].median / 1e6 / rate
    section.expect(f"{width.name}, block 1", f">= {width.share:.0%} of read", f"{share:.1%}", share >= width.share)
    if width.name == "int8":
        seconds = TEST_SET_TOKENS * found[f"block {BLOCK}"].median / 1e3
        section.expect(
            "int8, whole test set", f"< {TEST_SET_SECONDS:.0f} s", f"{seconds:.0f} s", seconds < TEST_SET_SECONDS
        )


def pruned_section(baseline: Path, text: Text, effort: Effort) -> Section:
    """90 % pruned by 1 x 16 blocks in float16, beside the dense matrices: the time that a byte takes."""
    section = Section(f"baseline, {PRUNED}, beside float16, {effort.threads} threads")
    versions = {name: Loaded(version_of(baseline, name), text, effort.threads) for name in ("float16", PRUNED)}
    samplers = {}
    for name, loaded in versions.items():
        if loaded.log_probs(1).tobytes() != loaded.log_probs(BLOCK).tobytes():
            raise SystemExit(f"bench: {name}: log-probabilities at block 1 and {BLOCK} differ; nothing was timed")
        samplers[name] = rested(loaded.advance_and_read_out(1), 1, loaded.targets.size, effort.seconds)
    each = {}
    for name, samples in in_turn(samplers, effort.repeats).items():
        read = versions[name].runtime.weight_bytes(1)
        measured = section.add(name, "ms/token", samples, f"{read / 1e6:.1f} MB read")
        each[name] = measured.median / read
    ratio = each[PRUNED] / each["float16"]
    section.expect("pruned 1x16, time a byte, to dense", f"<= {PROPORTION:g} x", f"{ratio:.2f} x", ratio <= PROPORTION)
    return section


def load_section(baseline: Path, effort: Effort) -> Section:
    """Seconds from a file in the system's cache to packed weights, checksums and all."""
    section = Section(f"loading the baseline, {effort.threads} threads")
    team = ThreadTeam(effort.threads)
    for name, specification in VERSIONS.items():
        path, samples = version_of(baseline, specification), []
        for _ in range(min(effort.repeats, 3) + 1):
            started = time.perf_counter()
            RecurrentRuntime(Checkpoint(path), team)
            samples.append(time.perf_counter() - started)
        found = section.add(name, "s", samples[1:])  # the first one brings the file into the cache
        section.expect(
            f"loading, {name}", f"< {LOAD_SECONDS:g} s", f"{found.median:.2f} s", found.median < LOAD_SECONDS
        )
    return section
