"""Context policies: which tokens a prediction of a model without a recurrent state is made from."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from .errors import ConfigError
from .threads import is_whole

CACHE, RECOMPUTE, SEGMENT = "cache", "recompute", "segment"
POLICIES = (CACHE, RECOMPUTE, SEGMENT)
MAX_LENGTH = 1 << 20  # what is larger is a mistake, refused before anything is allocated
STATE = "state"  # of a recurrent model: no policy to choose
_EXPECTED = f"{CACHE}, {RECOMPUTE}, {SEGMENT} or {SEGMENT}:OVERLAP"


@dataclass(frozen=True)
class Context:
    """How much of the text before a token the model sees, and what of it is kept.

    Parameters
    ----------
    policy : str
        ``cache``: keys and values are kept, those of the last ``length`` tokens are seen. ``recompute``: the last
        ``length`` tokens are run afresh for every prediction. ``segment``: keys and values are kept, and forgotten
        when there are ``length``; the last ``overlap`` tokens are then run again.
    length : int
        Tokens, the one before the prediction included.
    overlap : int
    """

    policy: str
    length: int
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ConfigError(f"context policy is {self.policy!r:.40}; expected {_EXPECTED}")
        check_length(self.length)
        if not 0 <= self.overlap < self.length:
            raise ConfigError(
                f"context policy {self}: overlap is {self.overlap}; expected 0 to {self.length - 1}, less than the "
                f"context of {self.length} tokens"
            )

    def __str__(self) -> str:
        return f"{self.policy}:{self.overlap}" if self.overlap else self.policy

    @property
    def longest_chunk(self) -> int:
        """Most tokens that enter together."""
        return self.length if self.policy == RECOMPUTE else self.overlap + 1

    def chunks(self, seen: int, before: int, tokens: int) -> np.ndarray:
        """What enters for each of the next tokens.

        Parameters
        ----------
        seen : int
            Tokens that have entered since the text began.
        before : int
            How many of them are at hand, in front of the next ones.
        tokens : int

        Returns
        -------
        (tokens, 3) int64
            Place of the first token that enters, counted from those at hand; how many; whether the context is forgotten
            before.
        """
        number = seen + np.arange(tokens)
        place = before + np.arange(tokens)
        if self.policy == CACHE:
            count, fresh = np.ones(tokens, np.int64), number == 0
        elif self.policy == RECOMPUTE:
            count, fresh = np.minimum(number + 1, self.length), np.ones(tokens, bool)
        else:
            again = (number >= self.length) & ((number - self.length) % (self.length - self.overlap) == 0)
            count, fresh = np.where(again, self.overlap + 1, 1), again | (number == 0)
        return np.ascontiguousarray(np.stack([place - count + 1, count, fresh], axis=1), np.int64)


def check_length(length: int) -> None:
    """Refuse what is no number of tokens."""
    if not is_whole(length) or not 1 <= length <= MAX_LENGTH:
        raise ConfigError(f"context is {length!r:.60}; expected 1 to {MAX_LENGTH} tokens")


def parse_policy(text: str) -> tuple[str, int]:
    """A policy and its overlap from ``cache``, ``recompute``, ``segment`` or ``segment:OVERLAP``."""
    policy, colon, overlap = text.partition(":")
    if policy not in POLICIES or (colon and (policy != SEGMENT or not re.fullmatch(r"[0-9]{1,9}", overlap))):
        raise ConfigError(f"context policy is {text!r:.40}; expected {_EXPECTED}")
    return policy, int(overlap) if colon else 0
