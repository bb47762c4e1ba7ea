"""Settings of a continuous cache: past outputs of a model as a second model beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import ConfigError

MAX_SIZE = 1 << 20
# The kernels have theta in float32, in which it must become neither 0 nor infinite.
MIN_THETA, MAX_THETA = 1e-30, 1e6
_EXPECTED = "SIZE,THETA,LAMBDA, as in 2000,0.3,0.1, or off"


@dataclass(frozen=True)
class ContinuousCache:
    """A continuous cache (Grave, Joulin and Usunier, 2017).

    Parameters
    ----------
    size : int
        Past outputs that a prediction sees; 0: there is no cache.
    theta : float
        Factor of the dot products of the output with them.
    share : float
        Weight of the cache's probabilities, above 0 and below 1: the paper's lambda.
    """

    size: int
    theta: float
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE:
            raise ConfigError(f"continuous cache: size is {self.size}; expected 0 to {MAX_SIZE} outputs")
        if not MIN_THETA <= self.theta <= MAX_THETA:
            raise ConfigError(
                f"continuous cache: theta is {self.theta:g}; expected a number from {MIN_THETA:g} to {MAX_THETA:g}"
            )
        if not 0 < self.share < 1:
            raise ConfigError(f"continuous cache: lambda is {self.share:g}; expected a number above 0 and below 1")

    def to_json(self) -> dict[str, float]:
        """The entry of a result."""
        return {"size": self.size, "theta": self.theta, "lambda": self.share}


OFF = ContinuousCache(0, 1.0, 0.5)


def parse_continuous_cache(text: str) -> ContinuousCache:
    """A cache from ``SIZE,THETA,LAMBDA``, or ``off``."""
    if text == "off":
        return OFF
    size, comma, numbers = text.partition(",")
    parts = numbers.split(",")
    try:
        theta, share = (float(part) for part in parts)
    except ValueError:
        comma = ""
    if not comma or not re.fullmatch(r"[0-9]{1,9}", size):
        raise ConfigError(f"continuous cache is {text!r:.60}; expected {_EXPECTED}")
    return ContinuousCache(int(size), theta, share)
