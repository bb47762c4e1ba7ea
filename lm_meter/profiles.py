"""Price lists: what an operation and a parameter cost under a set of rules.

The histogram of a run is the measurement; a profile is a view of it. Prices are exact fractions, so a sum over
10**11 operations is exact before it is rounded for printing.

The two challenge profiles follow the public texts of the MicroNet challenge (NeurIPS 2019): the version of June 2019
and the final one. Where a text is silent the docstring of the price function says what is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from .errors import ConfigError

# Width of the widest input at which an input is taken to be a float with a sign bit of its own.
_FLOAT_BITS = (16, 32, 64)


@dataclass(frozen=True)
class Task:
    """A task of the challenge: its baseline's parameters and operations, and its gate on perplexity if it has one."""

    parameters: int
    operations: int
    max_perplexity: float | None = None


@dataclass(frozen=True)
class Profile:
    """A price list.

    ``operation(kind, bits_a, bits_b, narrow)`` and ``parameter(bits, narrow)`` give prices; ``narrow`` says whether
    anything in the model is quantised below 16 bits. ``tasks`` is empty for a general view, which has no score.
    ``table_bits``: bits of a tokenizer's tables that count as a parameter; None where they are not counted.
    ``is_vocabulary_free``: whether a vocabulary that the task itself gives costs nothing.
    """

    name: str
    unit: str
    operation: Callable[[str, int, int, bool], Fraction]
    parameter: Callable[[int, bool], Fraction]
    tasks: Mapping[str, Task]
    table_bits: int | None = None
    is_vocabulary_free: bool = False


def _width(kind: str, bits_a: int, bits_b: int) -> int:
    """Width of an operation: the wider of its inputs; the output is ignored, which a conversion's bits_b is."""
    return bits_a if kind == "convert" else max(bits_a, bits_b)


def _june_operation(kind: str, bits_a: int, bits_b: int, narrow: bool) -> Fraction:
    """A 16-bit operation is 1; what is wider counts 1 too, since any model may be taken as quantised to 16 bits."""
    return min(Fraction(1), Fraction(_width(kind, bits_a, bits_b), 16))


def _june_parameter(bits: int, narrow: bool) -> Fraction:
    return min(Fraction(1), Fraction(bits, 16))


# Signed integers of so many bits are exact in float32, whose significand has 24.
_EXACT_INTEGER_BITS = 25


def _final_operation(kind: str, bits_a: int, bits_b: int, narrow: bool) -> Fraction:
    """A 32-bit operation is 1.

    A multiply by a weight of one bit only flips the sign bit of a float: 1/32. One bit is recorded of +1 and -1 alone
    (``charged_width.py``); steps that they are multiplied by are multiplies of their own. A conversion of a value that
    float32 holds exactly is free if its target holds it exactly too, which is what widening is: of a float, or of an
    integer of at most 25 bits. The one conversion that keeps a width of 32 bits is that of a longer sum of integers to
    float32, which rounds it. Without anything below
    16 bits, the model may be taken as quantised to 16: multiplies are halved, adds stay. What is wider than 32 bits is
    priced by its width.
    """
    if kind == "multiply" and 1 in (bits_a, bits_b) and _width(kind, bits_a, bits_b) in _FLOAT_BITS:
        return Fraction(1, 32)
    if kind == "convert" and (bits_a <= min(bits_b, _EXACT_INTEGER_BITS) or bits_a <= 32 < bits_b):
        return Fraction(0)
    price = Fraction(_width(kind, bits_a, bits_b), 32)
    if kind == "multiply" and not narrow:
        return min(price, Fraction(1, 2))
    return price


def _final_parameter(bits: int, narrow: bool) -> Fraction:
    price = Fraction(bits, 32)
    return price if narrow else min(price, Fraction(1, 2))


def _one(kind: str, bits_a: int, bits_b: int, narrow: bool) -> Fraction:
    return Fraction(1)


def _multiply_only(kind: str, bits_a: int, bits_b: int, narrow: bool) -> Fraction:
    return Fraction(kind == "multiply")


def _bit_product(kind: str, bits_a: int, bits_b: int, narrow: bool) -> Fraction:
    """Product of the widths; an operation with one input counts its width."""
    return Fraction(bits_a * max(bits_b, 1))


def _each_parameter(bits: int, narrow: bool) -> Fraction:
    return Fraction(1)


def _each_bit(bits: int, narrow: bool) -> Fraction:
    return Fraction(bits)


_WIKITEXT = Task(159_000_000, 318_000_000, 35.0)
_IMAGENET = Task(6_900_000, 1_170_000_000)

PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "micronet-2019-06",
            "16-bit operations and parameters",
            _june_operation,
            _june_parameter,
            {"wikitext-103": _WIKITEXT, "imagenet": _IMAGENET, "cifar-100": _IMAGENET},
            table_bits=16,
        ),
        Profile(
            "micronet-2019-final",
            "32-bit operations and parameters",
            _final_operation,
            _final_parameter,
            {"wikitext-103": _WIKITEXT, "imagenet": _IMAGENET, "cifar-100": Task(36_500_000, 10_490_000_000)},
            table_bits=32,
            is_vocabulary_free=True,
        ),
        Profile("flops", "operations of any width", _one, _each_parameter, {}),
        Profile("macs", "multiplies of any width", _multiply_only, _each_parameter, {}),
        Profile("bops", "products of input widths; storage in bits", _bit_product, _each_bit, {}, table_bits=1),
    )
}
DEFAULT_PROFILE = "micronet-2019-06"


def profile_named(name: str) -> Profile:
    """The profile called ``name``."""
    if not isinstance(name, str) or name not in PROFILES:
        raise ConfigError(f"profile is {name!r:.60}; expected one of {', '.join(PROFILES)}")
    return PROFILES[name]
