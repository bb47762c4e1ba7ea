"""Options of a pass, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass

from .context import check_length, parse_policy
from .continuous_cache import parse_continuous_cache
from .errors import ConfigError
from .threads import check_threads, is_whole

DEFAULT_BLOCK = 64
MAX_BLOCK = 4096
FIRST_TOKEN = ("score", "skip")


def checked_options(options: RunOptions | None) -> RunOptions:
    """Options as they were given, or the default ones; ConfigError where they are something else."""
    if options is None:
        return RunOptions()
    if not isinstance(options, RunOptions):
        raise ConfigError(f"options is {options!r:.60}; expected lm_meter.RunOptions, such as RunOptions(block=1)")
    return options


@dataclass(frozen=True)
class RunOptions:
    """How a pass is made.

    Parameters
    ----------
    block : int
        Frozen outputs that are read out together; no bit of the result depends on it. 1: strictly token by token.
    threads : int, optional
        By default as many as are fastest, up to every usable processor, by a trial; no bit depends on it.
    first_token : "score" or "skip"
        "score" predicts every token, the first from the start token. "skip" uses the first token as context only.
    limit : int, optional
        Word tokens to take from the beginning of the text.
    oov : "error" or "unk"
        What an unknown word is: an error, or the vocabulary's unknown token.
    policy : str, optional
        What a model without a recurrent state sees, and what of it is kept: "cache", "recompute", "segment" or
        "segment:OVERLAP"; see ``Context``. By default "cache", or "segment" where positions are learned.
    context : int, optional
        Tokens of that; by default the checkpoint's own.
    continuous_cache : str, optional
        ``SIZE,THETA,LAMBDA`` of a cache of past outputs, or ``off``; by default the checkpoint's own.
    """

    block: int = DEFAULT_BLOCK
    threads: int | None = None
    first_token: str = "score"
    limit: int | None = None
    oov: str = "error"
    policy: str | None = None
    context: int | None = None
    continuous_cache: str | None = None

    def __post_init__(self) -> None:
        if not is_whole(self.block) or not 1 <= self.block <= MAX_BLOCK:
            raise ConfigError(f"block is {self.block!r:.60}; expected 1 to {MAX_BLOCK}")
        if self.first_token not in FIRST_TOKEN:
            raise ConfigError(f"first_token is {self.first_token!r:.60}; expected 'score' or 'skip'")
        if self.oov not in ("error", "unk"):
            raise ConfigError(f"oov is {self.oov!r:.60}; expected 'error' or 'unk'")
        if self.limit is not None and (not is_whole(self.limit) or self.limit < 1):
            raise ConfigError(f"limit is {self.limit!r:.60}; expected 1 or more word tokens")
        check_threads(self.threads)
        for name in ("policy", "continuous_cache"):
            if not isinstance(getattr(self, name), str | None):
                raise ConfigError(f"{name} is {getattr(self, name)!r:.40}; expected a string")
        if self.policy is not None:
            parse_policy(self.policy)
        if self.continuous_cache is not None:
            parse_continuous_cache(self.continuous_cache)
        if self.context is not None:
            check_length(self.context)
        for name in ("block", "threads", "limit", "context"):  # NumPy's whole numbers would not go into a JSON document
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else int(value))
