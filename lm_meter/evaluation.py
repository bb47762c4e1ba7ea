"""The on-line pass: one run over a text gives perplexity, counts, storage, activations alive at once, and speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .activations import activations_of
from .bandwidth import stream_bytes_per_second
from .checkpoint import Checkpoint
from .continuous_cache import parse_continuous_cache
from .defaults import default_checkpoint
from .errors import ConfigError
from .histogram import overflows_of, rows_of
from .interrupt import deferred_interrupt
from .measurement import Measurement, Online, Speed
from .models.runtime import Runtime
from .online import OnlinePass
from .profiles import DEFAULT_PROFILE, profile_named
from .progress import Progress, Silent
from .result import Result, build_result
from .run_options import RunOptions
from .text import Text, first_words, read_text
from .threads import ThreadTeam, check_threads
from .tokenizers import Encoded, load_tokenizer


def evaluate(
    checkpoint: str | Path | Checkpoint | None = None,
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
    checkpoint : path or Checkpoint, optional
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
        Partial, and marked so, where the pass was interrupted by Ctrl-C. One that comes after the last prediction,
        while the result is put together, is not obeyed: the result is complete.

    Raises
    ------
    CheckpointError, TextError, ConfigError, MeterError
    KeyboardInterrupt
        Where Ctrl-C came before the first prediction.
    """
    options = options or RunOptions()
    chosen = profile_named(profile)
    if checkpoint is None:
        checkpoint = default_checkpoint()
    opened = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    opened = as_run(opened, options)
    tokenizer = load_tokenizer(opened)
    source = text if isinstance(text, Text) else read_text(text)
    if options.limit is not None:
        source = first_words(source, options.limit)
    encoded = tokenizer.encode(source, options.oov)
    context = opened.architecture.context(opened.model_config, options.policy, options.context)
    inputs, targets = _inputs_and_targets(encoded, tokenizer.specials.start, options)
    ends = opened.model_config.ends
    with deferred_interrupt() as interruption:
        started = time.perf_counter()
        team = ThreadTeam(check_threads(options.threads))
        runtime = opened.architecture.load(opened, team, context)
        runtime.reserve(options.block)
        load_seconds = time.perf_counter() - started
        interruption.obey()
        compile_seconds = _compile(runtime, options.block)
        run = OnlinePass(runtime, inputs, targets, options.block)
        meter = progress(targets.size) if progress else Silent()
        try:
            run.go(meter, interruption)
        finally:
            meter.close()
        measurement = Measurement(
            text=source,
            encoded=encoded,
            first_token=options.first_token,
            log_probs=run.log_probs[: run.done],
            partial=run.done < targets.size,
            rows=rows_of(run.tallies.sum(axis=0), runtime.regions),
            overflows=overflows_of(run.tallies.sum(axis=0), runtime.regions),
            regions=runtime.regions,
            activations=activations_of(runtime.regions, runtime.moments(inputs[: run.done], targets[: run.done])),
            speed=Speed(
                tokens_per_second=run.done / run.seconds if run.seconds else 0.0,
                seconds=run.seconds,
                load_seconds=load_seconds,
                compile_seconds=compile_seconds,
                weight_bytes_per_token=runtime.weight_bytes(options.block),
                stream_bytes_per_second=stream_bytes_per_second(runtime.weights, team, runtime.threads),
            ),
            online=Online(options.block, run.rechecked, True, context, ends.softmax_evaluated, ends.continuous),
            threads=runtime.threads,
        )
        return build_result(opened, measurement, chosen)


def as_run(checkpoint: Checkpoint, options: RunOptions) -> Checkpoint:
    """A checkpoint with the continuous cache that the options give it, if they do."""
    if options.continuous_cache is None:
        return checkpoint
    return checkpoint.with_continuous_cache(parse_continuous_cache(options.continuous_cache))


def _compile(runtime: Runtime, block: int) -> float:
    """Seconds until the loop over tokens is there, compiled or read from the cache: it runs over no token."""
    nothing = np.zeros(0, np.int64)
    started = time.perf_counter()
    runtime.run(nothing, nothing, block, runtime.new_tallies())
    return time.perf_counter() - started


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
