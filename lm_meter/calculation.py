"""The calculation behind a histogram: formulas, sizes and laws of regions, and the numbers of a run that they need.

A result holds the laws as text (``models/laws.py``). Together with a handful of numbers, such as how many tokens
entered, they give every row of its histogram. These numbers are not taken on trust: they are solved for from the rows
themselves, which are many more, so that any row that does not fit shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .histogram import Row, rows_from_json, rows_to_json
from .kernels.network import Network
from .law_text import degree_of, names_in, value_of
from .models.laws import laws_of
from .models.plan import Plan
from .models.region_laws import Laws


def calculation_to_json(plan: Plan, network: Network) -> dict[str, Any]:
    """The field ``calculation`` of a result: units of the run, and the laws of each region."""
    return _section(laws_of(plan, network))


def _section(laws: Laws) -> dict[str, Any]:
    return {
        "units": [{"symbol": symbol, "meaning": meaning} for symbol, meaning in laws.units.items()],
        "regions": [
            {
                "region": region.name,
                "formula": "; ".join(region.formulas),
                "sizes": [
                    {"symbol": symbol, "value": value, "meaning": meaning}
                    for symbol, (value, meaning) in region.sizes.items()
                ],
                "laws": [
                    {"kind": kind, "bits_a": a, "bits_b": b, "terms": terms}
                    for (kind, a, b), terms in region.terms.items()
                ],
            }
            for region in laws.regions
        ],
    }


def macs_of(plan: Plan, network: Network, rows: Iterable[Row]) -> int | None:
    """Multiply-accumulates of all matrix products in a histogram; None where it does not determine them.

    These are products of weights, and of activations with each other: queries and keys, probabilities and values,
    queries and vectors of distances, an output and those that a continuous cache keeps. Widths do not matter, and what
    is multiplied element by element is none.
    """
    laws = laws_of(plan, network)
    document = {"calculation": _section(laws), "histogram": rows_to_json(rows), "regions": []}
    found, macs = calculate(document, "the histogram"), 0
    assert found is not None  # of a document with laws
    known = {symbol: value for symbol, value in found.units.items() if value is not None}
    for region in laws.regions:
        symbols = {symbol: value for symbol, (value, _) in region.sizes.items()} | known
        for term in region.macs:
            if not names_in(term) <= symbols.keys():
                return None
            macs += value_of(term, symbols, region.name)
    return macs


@dataclass(frozen=True)
class LawRow:
    """Operations of one kind and widths in a region: the law, its value, and what was counted.

    ``expected`` is None where the law has a unit that the histogram does not determine.
    """

    region: str
    kind: str
    bits_a: int
    bits_b: int
    law: str
    expected: int | None
    counted: int


@dataclass(frozen=True)
class Calculation:
    """The laws of a result beside its histogram.

    ``units``: the value that the histogram gives to each unit of the run, None where it does not determine it.
    """

    units: Mapping[str, int | None]
    rows: Sequence[LawRow]

    @property
    def agrees(self) -> bool:
        """Whether every row that could be calculated is what was counted."""
        return all(row.expected in (None, row.counted) for row in self.rows)

    @property
    def undetermined(self) -> int:
        """Rows that could not be calculated."""
        return sum(row.expected is None for row in self.rows)


@dataclass(frozen=True)
class _Law:
    """A law as a sum of units, each with a whole number of operations."""

    key: tuple[str, str, int, int]
    text: str
    per_unit: Mapping[str, int]


def calculate(document: Mapping[str, Any], path: str | Path) -> Calculation | None:
    """Hold the laws of a result document, which was read from ``path``, against its histogram.

    Raises
    ------
    ConfigError
        Where a law cannot be evaluated.
    """
    section = document["calculation"]
    if section is None:
        return None
    units = {unit["symbol"]: None for unit in section["units"]}
    laws = [law for region in section["regions"] for law in _laws_of(region, units, f"{path}: {region['region']}")]
    counts = {_key(row): row.count for row in rows_from_json(document["histogram"])}
    values = _solved(laws, counts, units)
    rows = []
    for law in laws:
        known = [values[unit] for unit in law.per_unit]
        expected = None
        if None not in known:
            expected = sum(per * (values[unit] or 0) for unit, per in law.per_unit.items())
        rows.append(LawRow(*law.key, law.text, expected, counts.pop(law.key, 0)))
    rows += [LawRow(*key, "", 0, count) for key, count in counts.items()]
    order = {region["name"]: number for number, region in enumerate(document["regions"])}
    return Calculation(values, sorted(rows, key=lambda row: order.get(row.region, len(order))))


def _key(row: Row) -> tuple[str, str, int, int]:
    return row.region, row.kind, row.bits_a, row.bits_b


def _laws_of(region: Mapping[str, Any], units: Mapping[str, None], where: str) -> list[_Law]:
    sizes = {size["symbol"]: size["value"] for size in region["sizes"]}
    found = []
    for law in region["laws"]:
        per_unit: dict[str, int] = {}
        for term in law["terms"]:
            here = [unit for unit in names_in(term) if unit in units]
            symbols = {name: size for name, size in sizes.items() if name not in units} | dict.fromkeys(here, 0)
            if value_of(term, symbols, where):
                raise ConfigError(
                    f"{where}: the law {term!r:.60} counts operations of a run without tokens; expected a unit of the "
                    "run in each of its products; write it again with eval --output"
                )
            if degree_of(term, units) > 1:
                raise ConfigError(
                    f"{where}: the law {term!r:.60} multiplies units of the run by each other; expected one of them in "
                    "each of its products; write it again with eval --output"
                )
            for unit in here:
                # A law is linear in its units: its value where one of them is 1 and the others are 0.
                value = value_of(term, symbols | {unit: 1}, where)
                if value:
                    per_unit[unit] = per_unit.get(unit, 0) + value
        key = (region["region"], law["kind"], law["bits_a"], law["bits_b"])
        found.append(_Law(key, " + ".join(law["terms"]), per_unit))
    return found


def _solved(
    laws: Sequence[_Law], counts: Mapping[tuple[str, str, int, int], int], units: Iterable[str]
) -> dict[str, int | None]:
    """The value of each unit that the histogram determines.

    Of the laws that have one unknown left each row says which value it would have, and the most rows decide: a row that
    was altered does not mislead, and shows as one that does not agree.
    """
    found: dict[str, int | None] = dict.fromkeys(units)
    while True:
        votes: dict[str, Counter[int]] = {}
        for law in laws:
            unknown = [unit for unit in law.per_unit if found[unit] is None]
            if len(unknown) != 1:
                continue
            rest = counts.get(law.key, 0) - sum(per * (found[unit] or 0) for unit, per in law.per_unit.items())
            value, remainder = divmod(rest, law.per_unit[unknown[0]])
            if remainder == 0 and value >= 0:
                votes.setdefault(unknown[0], Counter())[value] += 1
        if not votes:
            return found
        for unit, cast in votes.items():
            found[unit] = cast.most_common(1)[0][0]
