"""A model in the user's own loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .checkpoint import Checkpoint
from .errors import ConfigError, MeterError
from .histogram import Row, rows_of
from .models.runtime import Frozen
from .threads import ThreadTeam, check_threads, is_whole
from .tokenizers import load_tokenizer


class Model:
    """A loaded checkpoint that predicts one token at a time.

        model = Model("model.npz")
        for token in tokens:
            total += model.log_prob(token)   # from what the model knew before this token
            model.advance(token)             # now it knows it

    Parameters
    ----------
    checkpoint : path or Checkpoint
    threads : int, optional
        By default every usable processor.

    Attributes
    ----------
    tokenizer
        ``encode(text)`` and ``token(number)``.
    vocabulary : int
        V; tokens are 0 to V - 1.
    """

    def __init__(self, checkpoint: str | Path | Checkpoint, threads: int | None = None) -> None:
        opened = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
        self.tokenizer = load_tokenizer(opened)
        self.vocabulary = opened.model_config.vocabulary
        self._team = ThreadTeam(check_threads(threads))
        self._runtime = opened.architecture.load(opened, self._team)
        self.reset()

    def reset(self) -> None:
        """Forget everything: zero state, then the start token if the checkpoint has one; the histogram is emptied."""
        self._runtime.reset()
        self._frozen: Frozen | None = None
        self._tallies = self._runtime.new_tallies()
        start = self.tokenizer.specials.start
        if start is not None:
            self.advance(start)

    def log_prob(self, token: int) -> float:
        """Log-probability, in nats, of ``token`` as the next one."""
        return self._runtime.read_out(self._context(), self._checked(token), self._tallies)

    def log_probs(self) -> np.ndarray:
        """Log-probabilities, in nats, of every token as the next one: (V,) float64. Not charged."""
        return self._runtime.distribution(self._context())

    def advance(self, token: int) -> None:
        """Tell the model that the next token is ``token``."""
        self._runtime.run(np.array([self._checked(token)]), np.zeros(0, np.int64), 1, self._tallies)
        self._frozen = self._runtime.frozen(0)

    @property
    def histogram(self) -> list[Row]:
        """Operations of all calls since the last reset."""
        return rows_of(self._tallies.sum(axis=0), self._runtime.regions)

    def _context(self) -> Frozen:
        if self._frozen is None:
            raise MeterError("the model has seen no token and has no start token; call advance(token) first")
        return self._frozen

    def _checked(self, token: int) -> int:
        if not is_whole(token) or not 0 <= token < self.vocabulary:
            raise ConfigError(f"token is {token!r:.60}; expected 0 to {self.vocabulary - 1}")
        return int(token)
