"""What a pass needs before its first prediction: the text in tokens, the model in memory, the loop compiled."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .checkpoint import Checkpoint
from .context import Context
from .continuous_cache import parse_continuous_cache
from .defaults import default_checkpoint
from .errors import ConfigError
from .interrupt import Interruption
from .models.runtime import Runtime
from .run_options import RunOptions
from .spool import Spool, in_parts
from .text import Text, first_words, read_text
from .threads import ThreadTeam, check_threads
from .tokenizers import Encoded, Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Prepared:
    """A checkpoint and a text, checked and tokenized.

    Attributes
    ----------
    checkpoint : Checkpoint
        As it is run, with the continuous cache that the options give it.
    options : RunOptions
    text : Text
        As far as it is to be run.
    encoded : Encoded
    tokenizer : Tokenizer
    context : Context or None
        None: the state of a recurrent model.
    inputs, targets : (n,) int32
        Token that enters at each step, and the one predicted after it.
    cut : bool
        Whether only the first of the text's predictions are to be made.
    """

    checkpoint: Checkpoint
    options: RunOptions
    text: Text
    encoded: Encoded
    tokenizer: Tokenizer
    context: Context | None
    inputs: np.ndarray
    targets: np.ndarray
    cut: bool = False

    @property
    def own_context(self) -> int | None:
        """Tokens of the context that the checkpoint gives as its own; None of a state."""
        return self.checkpoint.architecture.own_context(self.checkpoint.model_config)

    def first(self, predictions: int) -> Prepared:
        """The same with the first predictions only."""
        cut = self.cut or predictions < self.targets.size
        return replace(self, inputs=self.inputs[:predictions], targets=self.targets[:predictions], cut=cut)


def prepare(checkpoint: str | Path | Checkpoint | None, text: str | Path | Text, options: RunOptions) -> Prepared:
    """Open, read, tokenize and check; by default the checkpoint that ships."""
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
    inputs, targets = inputs_and_targets(encoded, tokenizer.specials.start, options)
    if options.first_token != "skip":
        encoded = replace(encoded, tokens=targets)  # the same numbers: the text's tokens are held once
    return Prepared(opened, options, source, encoded, tokenizer, context, inputs, targets)


@dataclass(frozen=True)
class Loaded:
    """A model that is ready for its first token, the seconds of reading and packing its weights, and of compiling.

    Compiling: until the loop over tokens is there, compiled or read from the cache.
    """

    runtime: Runtime
    load_seconds: float
    compile_seconds: float


def load(prepared: Prepared, interruption: Interruption, ranks: bool = False) -> Loaded:
    """Load a model, with room for ranks if they are wanted; KeyboardInterrupt where Ctrl-C came meanwhile."""
    started = time.perf_counter()
    checkpoint, block = prepared.checkpoint, prepared.options.block
    team = ThreadTeam(check_threads(prepared.options.threads))
    runtime = checkpoint.architecture.load(checkpoint, team, prepared.context)
    runtime.reserve(block, ranks)
    load_seconds = time.perf_counter() - started
    interruption.obey()
    return Loaded(runtime, load_seconds, _compile(runtime, block))


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


def inputs_and_targets(encoded: Encoded, start: int | None, options: RunOptions) -> tuple[np.ndarray, np.ndarray]:
    """Token that enters at each step, and the one predicted after it: views of one array."""
    tokens = encoded.tokens
    if options.first_token != "skip":
        if start is None:
            raise ConfigError(
                "the checkpoint has no start token, so the first token of the text has no context; --first-token skip "
                "leaves it unscored; convert --start TOKEN gives a model the token that it was trained with"
            )
        begun = Spool(tokens.dtype)
        for part in itertools.chain([np.array([start])], in_parts(tokens)):
            begun.add(part)
        tokens = begun.array()
    inputs, targets = tokens[:-1], tokens[1:]
    if targets.size == 0:
        raise ConfigError("nothing is left to predict; the text needs at least two tokens with --first-token skip")
    return inputs, targets
