"""The on-line pass: one run over a text gives perplexity, counts, storage and speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .bandwidth import stream_bytes_per_second
from .checkpoint import Checkpoint
from .defaults import default_checkpoint
from .errors import ConfigError, MeterError
from .histogram import rows_of
from .interrupt import deferred_interrupt
from .measurement import Measurement, Online, Speed
from .models.lstm import LstmRuntime
from .profiles import DEFAULT_PROFILE, profile_named
from .progress import Progress, Silent
from .result import Result, build_result
from .text import Text, first_words, read_text
from .threads import ThreadTeam, check_threads
from .tokenizers import Encoded, load_tokenizer

DEFAULT_BLOCK = 64
MAX_BLOCK = 4096
# A compiled call works for about this long before Python sees the progress and a Ctrl-C.
_CALL_SECONDS = 0.2
_SEED = 20190601
# After the first call and after each doubling of their number, one position is recomputed alone.
_FIRST_RECHECK = 1


@dataclass(frozen=True)
class RunOptions:
    """How a pass is made.

    Parameters
    ----------
    block : int
        Frozen outputs that are read out together; no bit of the result depends on it. 1: strictly token by token.
    threads : int, optional
        By default every usable processor; no bit depends on it.
    first_token : "score" or "skip"
        "score" predicts every token, the first from the start token. "skip" uses the first token as context only.
    limit : int, optional
        Word tokens to take from the beginning of the text.
    oov : "error" or "unk"
        What an unknown word is: an error, or the vocabulary's unknown token.
    """

    block: int = DEFAULT_BLOCK
    threads: int | None = None
    first_token: str = "score"
    limit: int | None = None
    oov: str = "error"

    def __post_init__(self) -> None:
        if not 1 <= self.block <= MAX_BLOCK:
            raise ConfigError(f"block is {self.block}; expected 1 to {MAX_BLOCK}")
        if self.first_token not in ("score", "skip"):
            raise ConfigError(f"first_token is {self.first_token!r}; expected 'score' or 'skip'")
        if self.oov not in ("error", "unk"):
            raise ConfigError(f"oov is {self.oov!r}; expected 'error' or 'unk'")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit is {self.limit}; expected 1 or more word tokens")
        check_threads(self.threads)


def evaluate(
    checkpoint: str | Path | None = None,
    *,
    text: str | Path | Text,
    profile: str = DEFAULT_PROFILE,
    options: RunOptions | None = None,
    progress: Callable[[int], Progress] | None = None,
) -> Result:
    """Run a checkpoint over a text, one token at a time, and meter it.

    Strictly equivalent to

        model = Model(checkpoint)
        for token in tokens:
            log_prob += model.log_prob(token)
            model.advance(token)

    but for the advance behind the last token, which no prediction needs and which is not made.

    Parameters
    ----------
    checkpoint : path, optional
        By default the checkpoint that ships with the package.
    text : path or Text
        A UTF-8 file, or what ``read_text`` and ``corpus`` return.
    profile : str
        Price list of the report; the histogram in the result can be priced again.
    options : RunOptions, optional
    progress : callable, optional
        Makes a ``Progress`` from the number of predictions to come.

    Returns
    -------
    Result
        Partial, and marked so, where the pass was interrupted by Ctrl-C.

    Raises
    ------
    CheckpointError, TextError, ConfigError, MeterError
    """
    options = options or RunOptions()
    chosen = profile_named(profile)
    opened = Checkpoint(checkpoint if checkpoint is not None else default_checkpoint())
    tokenizer = load_tokenizer(opened)
    source = text if isinstance(text, Text) else read_text(text)
    if options.limit is not None:
        source = first_words(source, options.limit)
    encoded = tokenizer.encode(source, options.oov)
    inputs, targets = _inputs_and_targets(encoded, tokenizer.specials.start, options)

    started = time.perf_counter()
    team = ThreadTeam(check_threads(options.threads))
    runtime = opened.architecture.load(opened, team)
    runtime.reserve(options.block)
    load_seconds = time.perf_counter() - started
    nothing = np.zeros(0, np.int64)
    started = time.perf_counter()
    runtime.run(nothing, nothing, options.block, runtime.new_tallies())
    compile_seconds = time.perf_counter() - started

    meter = progress(targets.size) if progress else Silent()
    try:
        run = _Pass(runtime, inputs, targets, options.block)
        run.go(meter)
    finally:
        meter.close()
    rate = run.done / run.seconds if run.seconds else 0.0
    per_token = runtime.recurrent_bytes + runtime.readout_bytes / options.block
    measurement = Measurement(
        text=source,
        encoded=encoded,
        first_token=options.first_token,
        log_probs=run.log_probs[: run.done],
        partial=run.done < targets.size,
        rows=rows_of(run.tallies.sum(axis=0), runtime.regions),
        regions=runtime.regions,
        speed=Speed(rate, run.seconds, load_seconds, compile_seconds, per_token, stream_bytes_per_second(runtime.weights, team)),
        online=Online(options.block, run.rechecked, True),
        threads=team.threads,
    )
    return build_result(opened, measurement, chosen)


def _inputs_and_targets(encoded: Encoded, start: int | None, options: RunOptions) -> tuple[np.ndarray, np.ndarray]:
    """Token that enters at each step, and the one predicted after it."""
    if options.first_token == "skip":
        inputs, targets = encoded.tokens[:-1], encoded.tokens[1:]
    elif start is None:
        raise ConfigError(
            "the checkpoint has no start token, so the first token of the text has no context; use --first-token skip"
        )
    else:
        inputs, targets = np.concatenate([[start], encoded.tokens[:-1]]), encoded.tokens
    if targets.size == 0:
        raise ConfigError("nothing is left to predict; the text needs at least two tokens with --first-token skip")
    return np.ascontiguousarray(inputs, np.int64), np.ascontiguousarray(targets, np.int64)


class _Pass:
    """One walk over the tokens, call by call."""

    def __init__(self, runtime: LstmRuntime, inputs: np.ndarray, targets: np.ndarray, block: int) -> None:
        self.runtime, self.inputs, self.targets, self.block = runtime, inputs, targets, block
        self.log_probs = np.zeros(targets.size)
        self.tallies = runtime.new_tallies()
        self.done = 0
        self.seconds = 0.0
        self.rechecked = 0
        self._random = np.random.default_rng(_SEED)

    def go(self, progress: Progress) -> None:
        """Predict every target; stop early on Ctrl-C."""
        size, calls, next_recheck = self.block, 0, _FIRST_RECHECK
        nll = 0.0
        with deferred_interrupt() as interruption:
            while self.done < self.targets.size and not interruption.requested:
                first, last = self.done, min(self.done + size, self.targets.size)
                seconds = self._call(first, last)
                nll -= float(self.log_probs[first:last].sum())
                progress.update(self.done, nll)
                calls += 1
                if calls == next_recheck:
                    self._recheck(first, last)
                    next_recheck *= 2
                blocks = max(1, int(_CALL_SECONDS * (last - first) / max(seconds, 1e-9)) // self.block)
                size = self.block * min(blocks, 2 * size // self.block)
        if self.done == 0:
            raise KeyboardInterrupt

    def _call(self, first: int, last: int) -> float:
        started = time.perf_counter()
        values = self.runtime.run(self.inputs[first:last], self.targets[first:last], self.block, self.tallies)
        seconds = time.perf_counter() - started
        if not np.isfinite(values).all():
            position = first + int(np.argmin(np.isfinite(values)))
            raise MeterError(
                f"the log-probability at position {position} is {values[position - first]}; the model overflows float32 "
                "there, so no perplexity exists; check the checkpoint's weights"
            )
        self.log_probs[first:last] = values
        self.done = last
        self.seconds += seconds
        return seconds

    def _recheck(self, first: int, last: int) -> None:
        """Read one position of the last block out again, alone, and compare every bit."""
        block_start = first + (last - 1 - first) // self.block * self.block
        position = int(self._random.integers(block_start, last))
        alone = self.runtime.read_out(self.runtime.frozen(position - block_start), int(self.targets[position]))
        if np.float64(alone).tobytes() != self.log_probs[position].tobytes():
            raise MeterError(
                f"position {position}: log-probability {alone!r} alone, {self.log_probs[position]!r} in a block of "
                f"{self.block}; the bits must be equal; please report this with your CPU's name"
            )
        self.rechecked += 1
