"""What is to become of a weight array: a format and how much to prune, as ``int4,group=64,activations=8``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from ..errors import ConfigError
from ..kernels.formats import is_integer
from ..weight_format import CODES, OVERFLOWS, WeightFormat

KEEP = "keep"
ELEMENT = (1, 1)  # the block of what is pruned weight by weight
_NUMBERS = ("group", "activations", "accumulator")
_EXPECTED = {"offsets": "no value", "overflow": " or ".join(OVERFLOWS), "block": "ROWSxCOLUMNS", "prune": "a fraction"}
_KEYS = (*_NUMBERS, "offsets", "overflow", "prune", "block")


@dataclass(frozen=True)
class Specification:
    """A weight array's new declaration, and the fraction of its blocks that are pruned: of its elements without one."""

    declared: WeightFormat
    prune: float = 0.0

    def __post_init__(self) -> None:
        where = f"weights {self}"
        if self.declared.format not in CODES:
            raise ConfigError(f"weights {self.declared.format!r:.40}: expected {', '.join([*CODES, KEEP])}")
        if not is_integer(self.declared.code) and self.declared.activations == 8:
            raise ConfigError(
                f"{where}: 8-bit activations meet integer weights only; expected activations 16 or 32, or int8, int4 "
                "or codebook4 weights"
            )
        if not 0 <= self.prune < 1:
            raise ConfigError(f"{where}: prune is {self.prune}; expected a fraction from 0 to below 1")
        if self.declared.block and not self.prune:
            raise ConfigError(f"{where}: has a block, but nothing is pruned; expected prune beside it")
        if self.prune and not self.declared.block:
            object.__setattr__(self, "declared", replace(self.declared, block=ELEMENT))

    def __str__(self) -> str:
        return ",".join([*self.declared.words(), *([f"prune={self.prune:g}"] if self.prune else [])])


def parse_specification(text: str) -> Specification | None:
    """A specification as ``--tensor`` has it, FORMAT[,key=value ...]; None for "keep"."""
    kind, *options = text.split(",")
    found: dict[str, str] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key in found:
            raise ConfigError(f"weights {text!r:.60}: has {key} twice; expected it once")
        found[key] = value
    return specification_of(kind, found)


def specification_of(kind: str, options: Mapping[str, str]) -> Specification | None:
    """A specification from a format, or "keep", and the options with their values as text; None for "keep"."""
    if kind == KEEP:
        if options:
            raise ConfigError(f"weights {KEEP}: has {', '.join(options)}; expected no option where all stays as it is")
        return None
    found: dict[str, Any] = {}
    for key, value in options.items():
        if key not in _KEYS:
            raise ConfigError(f"weights {kind}: has {key!r:.20}; expected {', '.join(_KEYS)}")
        found[key] = _value(kind, key, value)
    prune = found.pop("prune", 0.0)
    return Specification(WeightFormat(kind, **found), prune)


def _value(kind: str, key: str, value: str) -> Any:
    if key == "offsets" and not value:
        return True
    if key in _NUMBERS and re.fullmatch(r"[0-9]{1,9}", value):
        return int(value)
    if key == "overflow" and value in OVERFLOWS:
        return value
    if key == "block" and re.fullmatch(r"[1-9][0-9]{0,8}x[1-9][0-9]{0,8}", value):
        rows, columns = value.split("x")
        return int(rows), int(columns)
    if key == "prune" and re.fullmatch(r"[0-9]*\.?[0-9]+", value):
        return float(value)
    expected = _EXPECTED.get(key, "a whole number")
    raise ConfigError(f"weights {kind:.20}: {key} is {value!r:.20}; expected {expected}")


@dataclass(frozen=True)
class Plan:
    """Specifications by name pattern: the last pattern that matches a name counts, else the default for matrices.

    What is for matrices only passes by the biases that a pattern matches too, and by the matrices in ``floats``, which
    must be floating-point numbers, none pruned.
    """

    default: Specification | None
    patterns: tuple[tuple[str, Specification | None], ...] = ()
    floats: frozenset[str] = frozenset()

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse a pattern that matches none of these arrays, or none that its specification is for."""
        for pattern, specification in self.patterns:
            matched = [name for name in shapes if fnmatchcase(name, pattern)]
            if not matched:
                raise ConfigError(f"pattern {pattern!r:.60} matches no tensor; there are {', '.join(shapes)}")
            if not any(self._takes(name, shapes[name], specification) for name in matched):
                raise ConfigError(
                    f"pattern {pattern!r:.60} matches no matrix that can be {specification}; expected a plain "
                    "floating-point format, or keep"
                )

    def of(self, name: str, shape: tuple[int, ...]) -> Specification | None:
        """What becomes of an array; None: nothing."""
        found = self.default if len(shape) == 2 and self._takes(name, shape, self.default) else None
        for pattern, specification in self.patterns:
            if fnmatchcase(name, pattern) and self._takes(name, shape, specification):
                found = specification
        return found

    def _takes(self, name: str, shape: tuple[int, ...], specification: Specification | None) -> bool:
        """Whether an array can become this."""
        if specification is None:
            return True
        if name in self.floats:
            return not is_integer(specification.declared.code) and not specification.prune
        return len(shape) == 2 or (specification.declared.is_plain and not specification.prune)


def parse_pattern(text: str) -> tuple[str, Specification | None]:
    """PATTERN=SPECIFICATION."""
    pattern, equals, specification = text.partition("=")
    if not pattern or not equals:
        raise ConfigError(f"--tensor {text!r:.60}: expected PATTERN=FORMAT, as in 'lstm.*=int4'")
    return pattern, parse_specification(specification)
