"""What a checkpoint costs on this machine: memory's read rate, time of a step against it, where the time goes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bandwidth import stream_bytes_per_second
from .checkpoint import Checkpoint
from .environment import describe
from .errors import ConfigError
from .kernels.clock import WAITING
from .models.runtime import Runtime
from .printable import counted, page
from .report import columns, number, pairs
from .threads import ThreadTeam, check_threads
from .timing import ENOUGH_FOR_INTERVAL, Amount, amount_for, in_turn, ratio_with_interval, timed

SCHEMA = "lm-meter/bench/1"
MAX_BLOCK = 4096
_SEED = 1
_TOKENS = 4096  # random ones, taken again from the beginning where more are timed
_WAITING = "waiting for other threads"


@dataclass(frozen=True)
class BenchOptions:
    """How to measure: predictions read out together, threads (None: all), repeats, seconds of each timing, context."""

    block: int = 64
    threads: int | None = None
    repeats: int = 7
    seconds: float = 0.3
    policy: str | None = None
    context: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.block <= MAX_BLOCK:
            raise ConfigError(f"block is {self.block}; expected 2 to {MAX_BLOCK}, to be compared with block 1")
        if not 1 <= self.repeats <= 1000:
            raise ConfigError(f"repeats is {self.repeats}; expected 1 to 1000")
        check_threads(self.threads)


class _Subject:
    """A loaded checkpoint and tokens to run it over."""

    def __init__(self, checkpoint: Checkpoint, options: BenchOptions) -> None:
        self.team = ThreadTeam(check_threads(options.threads))
        architecture = checkpoint.architecture
        self.context = architecture.context(checkpoint.model_config, options.policy, options.context)
        self.runtime: Runtime = architecture.load(checkpoint, self.team, self.context)
        self.runtime.reserve(options.block)
        vocabulary = checkpoint.model_config.vocabulary
        self.tokens = np.random.default_rng(_SEED).integers(0, vocabulary, _TOKENS)
        self.tallies, self.clocks = self.runtime.new_tallies(), self.runtime.new_clocks()

    def run(self, block: int, metered: bool = True, clocks: np.ndarray | None = None) -> Callable[[int], object]:
        """Steps and predictions of the first n tokens."""
        tallies = self.tallies if metered else None
        return lambda n: self.runtime.run(self.tokens[:n], self.tokens[:n], block, tallies, clocks)


def bench(checkpoint: Checkpoint, options: BenchOptions) -> dict[str, Any]:
    """Measure a checkpoint at block 1 and at ``options.block``.

    Read rate, metered and unmetered steps are measured in turn, so that a disturbance meets all. Times and the read
    rate are medians; the cost of metering is the median ratio of pairs, with its 95 % interval if these are enough.
    """
    subject = _Subject(checkpoint, options)
    blocks, rates = (1, options.block), "read rate"
    samplers: dict[str, Callable[[], float]] = {
        rates: lambda: stream_bytes_per_second(subject.runtime.weights, subject.team, subject.runtime.threads)
    }
    amounts: dict[int, Amount] = {}
    for block in blocks:
        amounts[block] = amount_for(subject.run(block), block, _TOKENS, options.seconds)
        subject.run(block, metered=False)(block)  # compiled before it is timed
        samplers[f"{block}"] = timed(subject.run(block), amounts[block])
        samplers[f"{block} bare"] = timed(subject.run(block, metered=False), amounts[block])
    samples = in_turn(samplers, options.repeats)
    rate, context = statistics.median(samples[rates]), subject.context
    return {
        "schema": SCHEMA,
        "checkpoint": {"path": str(checkpoint.path), "sha256": checkpoint.sha256()},
        "environment": describe(subject.runtime.threads),
        "context": {"policy": str(context), "tokens": context.length} if context else None,
        "memory": {"bytes": subject.runtime.weights.size, "read_bytes_per_second": rate},
        "blocks": [
            _block(subject, amounts[block], block, (samples[f"{block}"], samples[f"{block} bare"]), rate)
            for block in blocks
        ],
    }


def _block(
    subject: _Subject, amount: Amount, block: int, samples: tuple[Sequence[float], Sequence[float]], rate: float
) -> dict[str, Any]:
    """Figures of one size of block; ``samples`` are milliseconds a token, metered and not, in pairs."""
    milliseconds = statistics.median(samples[0])
    limit = 1e3 * subject.runtime.weight_bytes(block) / rate if rate else 0.0
    cost, low, high = (ratio - 1 for ratio in ratio_with_interval(*samples))
    enough = len(samples[0]) >= ENOUGH_FOR_INTERVAL
    return {
        "block": block,
        "milliseconds_per_token": milliseconds,
        "tokens_per_second": 1e3 / milliseconds,
        "weight_bytes_per_token": subject.runtime.weight_bytes(block),
        "limit_milliseconds": limit,
        "share_of_limit": limit / milliseconds,
        "metering": {"cost": cost, "low": low, "high": high} if enough else {"cost": cost, "low": None, "high": None},
        "samples": list(samples[0]),
        "regions": _regions(subject, amount, block, milliseconds),
    }


def _regions(subject: _Subject, amount: Amount, block: int, milliseconds: float) -> list[dict[str, Any]]:
    """The time of a token, shared out among the regions as the threads' clocks say."""
    subject.clocks[...] = 0
    subject.run(block, clocks=subject.clocks)(block)  # compiled, and awake
    subject.clocks[...] = 0
    timed(subject.run(block, clocks=subject.clocks), amount)()
    spent = subject.clocks.sum(axis=0)
    names = [region.name for region in subject.runtime.regions]
    parts = [*zip(names, spent.tolist(), strict=False), (_WAITING, int(spent[WAITING]))]
    total = sum(part for _, part in parts) or 1
    return [{"region": name, "milliseconds": milliseconds * part / total} for name, part in parts]


def bench_table(found: dict[str, Any]) -> str:
    """What ``bench`` found, as a table."""
    here, memory, blocks = found["environment"], found["memory"], found["blocks"]
    rate = memory["read_bytes_per_second"] / 1e9
    lines = pairs(
        [
            ("checkpoint", found["checkpoint"]["path"]),
            ("processor", f"{here['cpu']}, {counted(here['threads'], 'thread')}"),
            ("weights", f"{memory['bytes'] / 1e6:.1f} MB, which a plain reader reads at {rate:.1f} GB/s"),
            *_context(found["context"]),
        ],
        indent="",
    )
    rows = [
        ["", *(f"block {b['block']}" for b in blocks)],
        ["milliseconds a token", *(f"{b['milliseconds_per_token']:.4f}" for b in blocks)],
        ["tokens a second", *(number(b["tokens_per_second"]) for b in blocks)],
        ["weights read, MB a token", *(f"{b['weight_bytes_per_token'] / 1e6:.2f}" for b in blocks)],
        ["limit by reading them, ms", *(f"{b['limit_milliseconds']:.4f}" for b in blocks)],
        ["share of the limit", *(_share(b["share_of_limit"]) for b in blocks)],
        ["cost of metering", *(f"{100 * b['metering']['cost']:+.2f} %" for b in blocks)],
        ["  95 % interval", *(_interval(b["metering"]) for b in blocks)],
    ]
    lines += ["", *columns(rows)]
    if any(b["share_of_limit"] > 1 for b in blocks):
        lines.append("  above 100 %: the plain reader was disturbed, or the weights lay in a cache")
    lines += ["", "where the time goes, ms a token"]
    regions = [region["region"] for region in blocks[0]["regions"]]
    lines += columns(
        [[name, *(f"{b['regions'][i]['milliseconds']:.4f}" for b in blocks)] for i, name in enumerate(regions)]
    )
    return page(lines)


def _context(context: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What the times depend on, where there is a choice."""
    if context is None:
        return []
    return [("context", f"{context['policy']}, up to {context['tokens']} tokens: it grows while it is timed")]


def _share(share: float) -> str:
    """Of the limit, which is what a plain reader came to."""
    return "above 100 %" if share > 1 else f"{100 * share:.1f} %"


def _interval(metering: dict[str, Any]) -> str:
    if metering["low"] is None:
        return f"fewer than {ENOUGH_FOR_INTERVAL} pairs"
    return f"{100 * metering['low']:+.1f} to {100 * metering['high']:+.1f} %"
