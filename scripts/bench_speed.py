"""Speed in this process: memory, lm-meter's token loop with and without its meter, and PyTorch on the same weights.

Quantities that are compared are measured in turn, so that a disturbance meets all; ratios are ratios of medians,
and for the small cost of metering the median of the ratios of pairs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from bench_report import Measurement, Section

from lm_meter import Checkpoint, Text, write_checkpoint
from lm_meter.bandwidth import stream_bytes_per_second
from lm_meter.models.recurrent import RecurrentRuntime
from lm_meter.text import first_words
from lm_meter.threads import ThreadTeam
from lm_meter.timing import Effort, amount_for, in_turn, ratio_with_interval, rested, timed
from lm_meter.tokenizers import load_tokenizer

try:
    import bench_torch
    import torch
except ModuleNotFoundError:
    bench_torch = torch = None

BLOCK = 64
_SMALL_VOCABULARY = 100
TEXT_WORDS = 20_000  # of the text; a faster model takes them again from the beginning
BASELINE_PARAMETERS = 159_376_855  # biases included
PYTORCH_RATIO_SMALL, METERING = 5.0, 0.01
# Largest difference allowed between a log-probability here and in PyTorch, both from float32 sums in different orders.
AGREEMENT = 5e-5
CHECKED_TOKENS = 2 * BLOCK
# The meter's cost is a small difference of two times: many short pairs, of which the median ratio is taken.
_METERING_SECONDS = 0.02  # of each timing, a block at least
_METERING_EFFORT = 10  # times as long as another quantity is measured


class Loaded:
    """A checkpoint in memory with the tokens of a text: ``inputs`` enter, ``targets`` are predicted."""

    def __init__(self, path: Path, text: Text, threads: int) -> None:
        self.checkpoint = Checkpoint(path)
        tokenizer = load_tokenizer(self.checkpoint)
        specials = tokenizer.specials
        oov = "error" if specials.unknown is None else "unk"
        tokens = tokenizer.encode(first_words(text, TEXT_WORDS), oov).tokens
        tokens = tokens.astype(np.int64)  # as every library takes them
        self.inputs, self.targets = tokens[:-1], tokens[1:]
        if self.targets.size < CHECKED_TOKENS:
            raise SystemExit(f"bench: the text has {tokens.size} tokens; expected more than {CHECKED_TOKENS}")
        self.team = ThreadTeam(threads)
        self.runtime = RecurrentRuntime(self.checkpoint, self.team)
        self.runtime.reserve(BLOCK)
        self.tallies = self.runtime.new_tallies()

    def advance_and_read_out(self, block: int, metered: bool = True) -> Callable[[int], np.ndarray]:
        """The whole work for the first n tokens."""
        tallies = self.tallies if metered else None
        return lambda n: self.runtime.run(self.inputs[:n], self.targets[:n], block, tallies)

    def advance(self) -> Callable[[int], object]:
        """The recurrent part alone, for n tokens."""
        return lambda n: self.runtime.run(self.inputs[:n], self.targets[:0], BLOCK, self.tallies)

    def read_out(self, block: int) -> Callable[[int], object]:
        """Projection and softmax alone, for n tokens."""
        return lambda n: self.runtime.run(self.inputs[:0], self.targets[:n], block, self.tallies)

    def log_probs(self, block: int, metered: bool = True) -> np.ndarray:
        """Log-probabilities of the first CHECKED_TOKENS targets, from the zero state."""
        self.runtime.reset()
        return self.advance_and_read_out(block, metered)(CHECKED_TOKENS)

    def read_rate(self) -> float:
        """GB/s of a plain read of the packed weights."""
        return stream_bytes_per_second(self.runtime.weights, self.team) / 1e9


def bandwidth_section(effort: Effort) -> Section:
    """Read rate of memory as large as the baseline's float32 weights."""
    section = Section("memory, reading 638 MB (the baseline's weights in float32)")
    data = np.ones(4 * BASELINE_PARAMETERS, np.uint8)
    teams = {f"{n} thread{'s' * (n > 1)}": ThreadTeam(n) for n in sorted({1, effort.threads})}
    samplers = {name: (lambda team=team: stream_bytes_per_second(data, team) / 1e9) for name, team in teams.items()}
    for name, samples in in_turn(samplers, effort.repeats).items():
        section.add(name, "GB/s", samples)
    return section


def check(loaded: Loaded, threads: int) -> str:
    """Compare block 1, block 64 and PyTorch in float32 on the same tokens; a remark, or the end of the program."""
    results = [loaded.log_probs(block) for block in (1, BLOCK)]
    if results[0].tobytes() != results[1].tobytes():
        raise SystemExit("bench: log-probabilities at block 1 and 64 differ; nothing was timed")
    inputs, targets = loaded.inputs[:CHECKED_TOKENS], loaded.targets[:CHECKED_TOKENS]
    if bench_torch is None:
        return f"checked: block 1 and {BLOCK} give the same bits (PyTorch is not installed)"
    twin = bench_torch.TorchTwin(loaded.checkpoint, torch.float32, threads)
    difference = float(np.abs(twin.run(inputs, targets, BLOCK) - results[0]).max())
    if not difference <= AGREEMENT:
        raise SystemExit(f"bench: a log-probability differs by {difference} nats from PyTorch's; nothing was timed")
    return f"checked: block 1 and {BLOCK} same bits; PyTorch within {difference:.1e} nats (allowed {AGREEMENT:.0e})"


def _torch_samplers(
    loaded: Loaded, dtypes: tuple[str, ...], effort: Effort, section: Section
) -> dict[str, Callable[[], float]]:
    """PyTorch by 1 and by 64 tokens at once ("x 1", "x 64"); in float32 with oneDNN, its default, and without."""
    samplers = {}
    for dtype in dtypes if bench_torch else ():
        twin = bench_torch.working_twin(loaded.checkpoint, getattr(torch, dtype), effort.threads)
        if isinstance(twin, str):
            section.remarks.append(f"PyTorch in {dtype} does not run here: {twin[:40]}")
            continue
        for chunk in (1, BLOCK):
            for onednn in (True, False) if dtype == "float32" else (True,):

                def call(n: int, twin: Any = twin, chunk: int = chunk, onednn: bool = onednn) -> object:
                    return twin.run(loaded.inputs[:n], loaded.targets[:n], chunk, onednn)

                name = f"PyTorch {dtype} x {chunk}{'' if onednn else ', no oneDNN'}"
                samplers[name] = rested(call, chunk, loaded.targets.size, effort.seconds)
    return samplers


def _fastest_torch(found: Mapping[str, Measurement], chunk: int) -> Measurement | None:
    """The faster way of PyTorch in float32, ``chunk`` tokens at once; None without PyTorch."""
    names = [f"PyTorch float32 x {chunk}", f"PyTorch float32 x {chunk}, no oneDNN"]
    return min((found[name] for name in names if name in found), key=lambda entry: entry.median, default=None)


def _compared(loaded: Loaded, dtypes: tuple[str, ...], effort: Effort, section: Section) -> dict[str, Measurement]:
    """Check, then measure lm-meter, its parts, the read rate and PyTorch in turn."""
    section.remarks.append(check(loaded, effort.threads))
    samplers: dict[str, Callable[[], float]] = {"plain read of the weights": loaded.read_rate}
    works = {
        "block 1": (loaded.advance_and_read_out(1), 1),
        f"block {BLOCK}": (loaded.advance_and_read_out(BLOCK), BLOCK),
        "  recurrent part": (loaded.advance(), BLOCK),
        "  readout, block 1": (loaded.read_out(1), 1),
        f"  readout, block {BLOCK}": (loaded.read_out(BLOCK), BLOCK),
    }
    for name, (call, block) in works.items():
        samplers[name] = rested(call, block, loaded.targets.size, effort.seconds)
    samplers |= _torch_samplers(loaded, dtypes, effort, section)
    measured = in_turn(samplers, effort.repeats)
    found = {"read": section.add("plain read of the weights", "GB/s", measured.pop("plain read of the weights"))}
    for name, samples in measured.items():
        notes, median = "", statistics.median(samples)
        if name in ("block 1", f"block {BLOCK}"):
            speed = loaded.runtime.weight_bytes(1 if name == "block 1" else BLOCK) / median / 1e6
            notes = f"{1e3 / median:,.0f} tokens/s, {speed:.1f} GB/s of weights"
        found[name] = section.add(name, "ms/token", samples, notes)
    return found


def _expect_faster(section: Section, model: str, ours: Measurement, theirs: Measurement | None, wanted: float) -> None:
    if theirs is not None:
        ratio = theirs.median / ours.median
        label = f"{model}, {ours.name}, to {theirs.name}"
        section.expect(label, f">= {wanted:g} x", f"{ratio:.2f} x", ratio >= wanted)


def default_section(path: Path, text: Text, effort: Effort) -> Section:
    """The checkpoint that ships with the package."""
    section = Section(f"default checkpoint, {effort.threads} threads")
    loaded = Loaded(path, text, effort.threads)
    found = _compared(loaded, ("float32",), effort, section)
    for block in (1, BLOCK):
        _expect_faster(section, "default", found[f"block {block}"], _fastest_torch(found, 1), PYTORCH_RATIO_SMALL)
    return section


def metering_section(path: Path, name: str, blocks: tuple[int, ...], text: Text, effort: Effort) -> Section:
    """The same kernels with the meter and compiled without it, in pairs: A B, B A ..."""
    section = Section(f"cost of metering, {name}")
    loaded = Loaded(path, text, effort.threads)
    if loaded.log_probs(BLOCK).tobytes() != loaded.log_probs(BLOCK, False).tobytes():
        raise SystemExit("bench: log-probabilities with and without the meter differ; nothing was timed")
    section.remarks.append("checked: same bits with the meter and without")
    for block in blocks:
        calls = {
            f"block {block}, metered": loaded.advance_and_read_out(block),
            f"block {block}, not metered": loaded.advance_and_read_out(block, False),
        }
        # The same amount for both, or what a call costs beside its tokens would tell in their ratio.
        amount = amount_for(loaded.advance_and_read_out(block), block, loaded.targets.size, _METERING_SECONDS)
        samplers = {what: timed(call, amount) for what, call in calls.items()}
        started = time.perf_counter()
        in_turn(samplers, 1)
        each = time.perf_counter() - started
        pairs = max(effort.repeats, int(_METERING_EFFORT * effort.repeats * effort.seconds / each))
        with_meter, without = (
            section.add(what, "ms/token", samples).samples for what, samples in in_turn(samplers, pairs).items()
        )
        cost, low, high = (ratio - 1 for ratio in ratio_with_interval(with_meter, without))
        section.remarks.append(
            f"block {block}: {pairs} pairs; found is the median of their ratios, and its 95 % interval"
        )
        found = f"{cost:+.2%} ({low:+.1%} to {high:+.1%})"
        section.expect(f"metering, {name}, block {block}", f"< {METERING:.0%}", found, high < METERING)
    return section


def small_section(work: Path, effort: Effort) -> Section:
    """A model of a few thousand weights with one thread and with all: meeting must not cost more than it saves."""
    section = Section("a model of 3,748 weights")
    path = work / "small.npz"
    write_checkpoint(path, *_small_model())
    tokens = np.random.default_rng(2).integers(0, _SMALL_VOCABULARY, 20_000)
    samplers = {}
    for threads in (1, effort.threads):
        checkpoint = Checkpoint(path)
        runtime = RecurrentRuntime(checkpoint, ThreadTeam(threads))
        runtime.reserve(BLOCK)
        tallies = runtime.new_tallies()
        for block in (1, BLOCK):

            def call(n: int, runtime: Any = runtime, tallies: Any = tallies, block: int = block) -> object:
                return runtime.run(tokens[:n], tokens[:n], block, tallies)

            name = f"block {block}, {threads} thread{'s' * (threads > 1)}"
            samplers[name] = rested(call, block, tokens.size, effort.seconds)
    found = {
        name: section.add(name, "ms/token", samples) for name, samples in in_turn(samplers, effort.repeats).items()
    }
    for block in (1, BLOCK) if effort.threads > 1 else ():
        ratio = found[f"block {block}, {effort.threads} threads"].median / found[f"block {block}, 1 thread"].median
        section.expect(f"small model, block {block}, all threads to one", "<= 1.05 x", f"{ratio:.2f} x", ratio <= 1.05)
    return section


def _small_model() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    shapes = {"embedding": (_SMALL_VOCABULARY, 16), "lstm.0.weight": (64, 32), "softmax.bias": (_SMALL_VOCABULARY,)}
    arrays = {name: rng.standard_normal(shape, np.float32) * np.float32(0.3) for name, shape in shapes.items()}
    words = [f"w{n}" for n in range(_SMALL_VOCABULARY)]
    arrays["tokenizer.words"] = np.frombuffer("\n".join(words).encode(), np.uint8)
    config = {
        "architecture": "lstm",
        "dimensions": {"vocabulary": _SMALL_VOCABULARY, "embedding": 16, "hidden": [16], "projection": None},
        "tied": True,
        "bias": {"lstm": False, "projection": False, "softmax": True},
        "tokenizer": {"kind": "word", "start": "w0", "end_of_line": "w0", "unknown": None},
    }
    return config, arrays
