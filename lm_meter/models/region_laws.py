"""What laws are made of: regions with formulas, sizes and laws, and the units of a run that laws are written in."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..kernels.charge import KINDS, MULTIPLY, UNARY
from ..kernels.matrix import FLOAT_BITS

# Units of a run.
TOKENS, PREDICTIONS = "T", "P"
MEANINGS = {
    TOKENS: "tokens that entered the network, those that are run again among them",
    PREDICTIONS: "predictions",
}


@dataclass
class RegionLaws:
    """A region: what it computes, and how many operations of each kind and widths that takes.

    ``sizes``: value and meaning of each symbol; ``terms``: the parts of the law of (kind, bits_a, bits_b); ``macs``:
    those of them that are multiply-accumulates of a matrix product.
    """

    name: str
    formulas: list[str] = field(default_factory=list)
    sizes: dict[str, tuple[int, str]] = field(default_factory=dict)
    terms: dict[tuple[str, int, int], list[str]] = field(default_factory=dict)
    macs: list[str] = field(default_factory=list)

    def computes(self, formula: str) -> None:
        """Add a formula, if it is a new one."""
        if formula not in self.formulas:
            self.formulas.append(formula)

    def size(self, symbol: str, value: int, meaning: str) -> str:
        """Declare a symbol; returns it."""
        self.sizes[symbol] = (int(value), meaning)
        return symbol

    def charge(self, kind: int, law: str, bits_a: int = FLOAT_BITS, bits_b: int = FLOAT_BITS) -> None:
        """Add operations of a kind on two inputs of these widths."""
        self.terms.setdefault((KINDS[kind], int(bits_a), int(bits_b)), []).append(law)

    def multiply_matrix(self, law: str, bits_a: int = FLOAT_BITS, bits_b: int = FLOAT_BITS) -> None:
        """Add the multiplies of a matrix product."""
        self.charge(MULTIPLY, law, bits_a, bits_b)
        self.macs.append(law)

    def charge_one(self, kind: int, law: str, bits: int = FLOAT_BITS) -> None:
        """Add operations of a kind with one input."""
        self.charge(kind, law, bits, UNARY)


@dataclass
class Laws:
    """The regions of a network by their numbers, and the meaning of each unit of the run."""

    regions: list[RegionLaws]
    units: dict[str, str] = field(default_factory=dict)

    def unit(self, symbol: str, meaning: str | None = None) -> str:
        """Declare a unit; returns its symbol."""
        self.units[symbol] = MEANINGS[symbol] if meaning is None else meaning
        return symbol
