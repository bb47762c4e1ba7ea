"""A chain of hashes over the log-probabilities of a pass: what a later pass must give again, link by link.

    link[0] = SHA-256(start),    link[n] = SHA-256(link[n - 1], log-probabilities 1,024 (n - 1) .. 1,024 n - 1)

with the log-probabilities as little-endian float64; the last link may be of fewer. ``start`` says what is run: two
passes over the same text share no link if checkpoint or options differ.
"""

from __future__ import annotations

import hashlib

import numpy as np

TOKENS_PER_LINK = 1024


class HashChain:
    """Links of a pass that goes on; ``links()`` are those so far."""

    def __init__(self, start: bytes) -> None:
        self._links = [hashlib.sha256(start).hexdigest()]
        self._begun = self._next()
        self._held = 0

    def _next(self) -> hashlib._Hash:
        return hashlib.sha256(bytes.fromhex(self._links[-1]))

    @classmethod
    def behind(cls, link: str) -> HashChain:
        """The chain that goes on behind a link, in hexadecimal."""
        chain = cls(b"")
        chain._links = [link]
        chain._begun = chain._next()
        return chain

    def add(self, log_probs: np.ndarray) -> None:
        """Append log-probabilities, (n,) float64, in the order of the text."""
        values = np.ascontiguousarray(log_probs, "<f8")
        while values.size:
            part, values = np.split(values, [TOKENS_PER_LINK - self._held])
            self._begun.update(part.tobytes())
            self._held += part.size
            if self._held == TOKENS_PER_LINK:
                self._links.append(self._begun.hexdigest())
                self._begun, self._held = self._next(), 0

    def links(self) -> list[str]:
        """All links, in hexadecimal; the last one is of what has come since the one before it, if anything has."""
        return [*self._links, self._begun.hexdigest()] if self._held else list(self._links)
