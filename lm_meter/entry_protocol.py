"""Version 1 of the protocol of foreign entries; ``entries/README.md`` describes it for those who write one.

A line of JSON each way, then tokens as decimal lines to the entry, and for each of them the distribution of the next
one back, as little-endian floats. Here is what is said, and how an answer is checked; nothing here starts a program.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import EntryError
from .profiles import PROFILES
from .strict_json import parse_json
from .tokenizers import Specials

VERSION = 1
PROTOCOL = f"lm-meter/entry/{VERSION}"
LONGEST_ANSWER = 1 << 16  # bytes of the line that answers the handshake
TOLERANCE = 1e-4  # of the sum of a distribution
LOG_PROBABILITIES, PROBABILITIES = "log-probabilities", "probabilities"
VALUES = (LOG_PROBABILITIES, PROBABILITIES)
DTYPES: dict[str, np.dtype] = {"float32": np.dtype("<f4"), "float64": np.dtype("<f8")}
_LONGEST_NAME = 200  # characters
_TOO_MUCH = 2**63  # as of measured counts
EXPECTED = "expected one distribution for each token, after it has been sent, and nothing else on standard output"


@dataclass(frozen=True)
class Claims:
    """What an entry says of itself and nobody has measured, in the unit of a price list.

    ``operations``: for each token that it is sent.
    """

    profile: str
    parameters: float | None
    operations: float | None

    def to_json(self) -> dict[str, Any]:
        """The entry of a result."""
        return {"profile": self.profile, "parameters": self.parameters, "operations": self.operations}


@dataclass(frozen=True)
class Answer:
    """What an entry answers to the handshake: its name, what its distributions are made of, and its claims."""

    name: str | None
    values: str
    dtype: str
    claims: Claims | None


def handshake(tokens: Sequence[str], specials: Specials, timeout: float) -> bytes:
    """The line that an entry is sent first."""
    message = {
        "protocol": PROTOCOL,
        "size": len(tokens),
        "start": specials.start,
        "end_of_line": specials.end_of_line,
        "unknown": specials.unknown,
        "timeout": timeout,
        "vocabulary": list(tokens),
    }
    return json.dumps(message).encode() + b"\n"


def token_line(token: int) -> bytes:
    """The line that reveals a token."""
    return b"%d\n" % token


def parse_answer(line: bytes) -> Answer:
    """Check an entry's answer to the handshake; ``line`` is all that has come."""
    content, end, rest = line.partition(b"\n")
    shown = content[:40].decode("utf-8", "replace")
    if not end:
        raise EntryError(f"no line end within {len(line)} bytes, which begin {shown!r}; expected a line of JSON")
    try:
        answer = parse_json(content)
    except ValueError as error:
        raise EntryError(f"its answer {shown!r} is not JSON ({error}); expected one line, an object") from None
    if not isinstance(answer, dict):
        raise EntryError(f"its answer is {shown!r}; expected a JSON object with protocol, values and dtype")
    if answer.get("protocol") != PROTOCOL:
        raise EntryError(f"its protocol is {answer.get('protocol')!r:.40}; this runner speaks {PROTOCOL!r}")
    unknown = sorted(set(answer) - {"protocol", "name", "values", "dtype", "claims"})
    if unknown:
        raise EntryError(f"its answer has {unknown[0]!r:.40}; expected protocol, name, values, dtype and claims")
    for key, allowed in (("values", VALUES), ("dtype", tuple(DTYPES))):
        if answer.get(key) not in allowed:
            raise EntryError(f"its {key} is {answer.get(key)!r:.40}; expected {' or '.join(allowed)}")
    name = answer.get("name")
    if name is not None and (not isinstance(name, str) or not name.isprintable() or len(name) > _LONGEST_NAME):
        raise EntryError(f"its name is {name!r:.40}; expected up to {_LONGEST_NAME} printable characters")
    if rest:
        raise EntryError(f"{len(rest)} bytes came behind its answer, before a token was sent; {EXPECTED}")
    return Answer(name, answer["values"], answer["dtype"], _claims(answer.get("claims")))


def _claims(claims: Any) -> Claims | None:
    if claims is None:
        return None
    found = claims.get("profile") if isinstance(claims, dict) else claims
    if not isinstance(claims, dict) or found not in tuple(PROFILES):
        raise EntryError(
            f"claims.profile is {found!r:.40}; expected the price list of the claims, one of {', '.join(PROFILES)}"
        )
    for key, value in claims.items():
        if key not in ("profile", "parameters", "operations"):
            raise EntryError(f"claims has {key!r:.40}; expected profile, parameters and operations")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if key != "profile" and value is not None and not (is_number and 0 <= value < _TOO_MUCH):
            raise EntryError(f"claims.{key} is {value!r:.40}; expected a number of 0 or more")
    figures = (claims.get(key) for key in ("parameters", "operations"))
    # Of the two zeros the one without a sign.
    return Claims(claims["profile"], *(None if figure is None else abs(figure) for figure in figures))


class Checker:
    """Checks distributions, and remembers between what limits they summed.

    Attributes
    ----------
    low, high : float
        Smallest and largest sum so far; NaN before the first.
    """

    def __init__(self, answer: Answer, tokens: Sequence[str]) -> None:
        self._are_logs = answer.values == LOG_PROBABILITIES
        self._tokens, self._kind = tokens, answer.values
        self._exponentials = np.empty(len(tokens) if self._are_logs else 0, DTYPES[answer.dtype])
        self.low, self.high = math.inf, -math.inf

    def log_prob(self, values: np.ndarray, target: int) -> float:
        """Log-probability of ``target`` in a distribution, (V,), which must be one.

        A sum above 1 is divided out, however little it is above: it would be gained at every prediction.
        """
        least, total = float(values.min()), self._sum(values)
        if not math.isfinite(least) or not math.isfinite(total) or (least < 0 and not self._are_logs):
            self._refuse(values)
        if abs(total - 1) > TOLERANCE:
            raise EntryError(f"its {self._kind} sum to {total:.6g}; expected 1 within {TOLERANCE:g}")
        self.low, self.high = min(self.low, total), max(self.high, total)
        value, surplus = float(values[target]), math.log(max(total, 1.0))
        if self._are_logs:
            return min(value - surplus, 0.0)  # it may be rounded to more than a certainty
        if value == 0:
            raise EntryError(
                f"it gave probability 0 to token {target} ({self._tokens[target]!r}), which came: the perplexity is "
                "infinite; expected some probability for every token"
            )
        return min(math.log(value) - surplus, 0.0)

    def rank(self, values: np.ndarray, target: int) -> int:
        """1 and how many tokens have a larger probability than ``target``."""
        return 1 + int(np.count_nonzero(values > values[target]))

    def _sum(self, values: np.ndarray) -> float:
        """Sum of the probabilities."""
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            if self._are_logs:
                values = np.exp(values, out=self._exponentials)
            return float(values.sum(dtype=np.float64))

    def _refuse(self, values: np.ndarray) -> None:
        wrong = ~np.isfinite(values) if self._are_logs else ~(np.isfinite(values) & (values >= 0))
        if wrong.any():
            token = int(np.argmax(wrong))
            wanted = "finite numbers" if self._are_logs else "finite numbers of 0 or more"
            raise EntryError(
                f"it has {values[token]} for token {token} ({self._tokens[token]!r}); expected {self._kind}, {wanted}"
            )
        raise EntryError(f"its {self._kind} sum to more than any float; expected 1 within {TOLERANCE:g}")
