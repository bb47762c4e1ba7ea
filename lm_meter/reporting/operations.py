"""Sections of a report on operations: by region, kind and width, and the law of each beside what was counted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from ..calculation import LawRow
from ..report import number
from .blocks import Block, Figure, Section, Table, Text, pairs
from .facts import Facts
from .plots import bars

_LAYER = re.compile(r"^layers\.[0-9]+\.")
_MOST_SHADES = 4
_PREDICTIONS = "P"  # the unit of the run that its text tells too
_ROLES = {
    "lookup": "rows that are looked up",
    "matrix_vector": "matrix-vector product",
    "elementwise": "element by element",
    "normalisation": "normalisation",
}
Widths = tuple[str, int, int]  # kind, bits_a, bits_b


def widths_name(kind: str, bits_a: int, bits_b: int) -> str:
    """A kind and the widths of its inputs, in words."""
    if kind == "convert":
        return f"convert {bits_a} to {bits_b} bits"
    return f"{kind} {bits_a}\u00d7{bits_b} bits" if bits_b else f"{kind} {bits_a} bits"


def folded(name: str) -> str:
    """A name that all layers share."""
    return _LAYER.sub("layers.*.", name)


def operations_section(facts: Facts) -> Section:
    """Everything on operations."""
    operations = facts.document["operations_per_token"]
    blocks: list[Block] = [
        Text(
            f"Price list {facts.profile.name}: {facts.profile.unit}. All figures are means over "
            f"{number(facts.per)} {facts.token}s; the histogram itself is integers."
        ),
        _totals(facts),
        _drawing(facts),
        _by_region(facts),
    ]
    if operations["profile"] and facts.calculation is None:
        blocks.append(
            Text("This result has no formulas: it was written by an earlier version. Counts of each region follow.")
        )
    elif facts.calculation is not None:
        blocks += _units(facts)
    blocks.append(Section("Region by region", list(_regions(facts)), folded=True))
    return Section("Operations", blocks)


def _totals(facts: Facts) -> Table:
    operations = facts.document["operations_per_token"]
    rows = [
        ("total", number(operations["total"])),
        ("of these products of weight matrices and vectors, with biases", number(operations["matrix_vector"])),
        *(
            [("multiply-accumulates of all matrix products (MACs), a count", number(operations["macs"]))]
            if operations["macs"] is not None
            else []
        ),
        *((f"of these {kind}", number(value)) for kind, value in operations["by_kind"].items()),
        ("total per piece", number(operations["per_piece"])),
    ]
    return pairs(f"Operations per {facts.token}", rows)


def _drawing(facts: Facts) -> Figure:
    cells: dict[str, dict[Widths, Fraction]] = {}
    for row in facts.rows():
        own = cells.setdefault(folded(row.region), {})
        key = (row.kind, row.bits_a, row.bits_b)
        own[key] = own.get(key, Fraction(0)) + row.count * facts.price(*key) / facts.per
    amounts: dict[Widths, Fraction] = {}
    for own in cells.values():
        for key, value in own.items():
            amounts[key] = amounts.get(key, Fraction(0)) + value
    shades = _shades(amounts)
    names = {key: widths_name(*key) for key in shades}
    drawn, rows = [], []
    for region, own in cells.items():
        parts = [(shades[key], names[key], float(own[key])) for key in shades if own.get(key)]
        drawn.append((region, number(float(sum(own.values()))), parts))
        rows += [(region, names[key], number(float(own[key]), 3)) for key in shades if key in own]
    unit = f"operations per {facts.token}, {facts.profile.name}"
    title = "Operations by region, kind and width"
    table = Table(title, ("region", "kind and widths", unit), rows, numbers=2)
    return Figure(title, bars(title, unit, drawn), table, [(shades[key], names[key]) for key in shades], is_told=True)


def _shades(amounts: Mapping[Widths, Fraction]) -> dict[Widths, str]:
    """Classes of colours: one for a kind, lighter for widths of which there are fewer."""
    order = ("multiply", "add", "divide", "transcendental", "compare", "bitwise", "convert")
    found, seen = {}, dict.fromkeys(order, 0)
    for key in sorted(amounts, key=lambda key: (order.index(key[0]), -amounts[key], key)):
        found[key] = f"k-{key[0]} s-{min(seen[key[0]], _MOST_SHADES - 1)}"
        seen[key[0]] += 1
    return found


def _by_region(facts: Facts) -> Table:
    operations = facts.document["operations_per_token"]
    formulas = _formulas(facts)
    whole = operations["total"] or 1.0
    rows = []
    for region in facts.document["regions"]:
        value = operations["by_region"].get(region["name"], 0.0)
        rows.append(
            (
                region["name"],
                formulas.get(region["name"], _ROLES[region["role"]]),
                number(value),
                f"{value / whole:.2%}",
            )
        )
    rows.append(("total", "", number(operations["total"]), f"{1:.2%}" if operations["total"] else "-"))
    head = ("region", "formula", f"operations per {facts.token}", "share")
    return Table("Operations by region", head, rows, numbers=2)


def _formulas(facts: Facts) -> dict[str, str]:
    section = facts.document["calculation"] or {"regions": []}
    return {region["region"]: region["formula"] for region in section["regions"]}


def _units(facts: Facts) -> list[Block]:
    """The few numbers that all counts follow from, and whether they do."""
    found = facts.calculation
    assert found is not None
    meanings = {unit["symbol"]: unit["meaning"] for unit in facts.document["calculation"]["units"]}
    rows = [
        (symbol, meanings[symbol], "not determined" if value is None else number(value))
        for symbol, value in found.units.items()
    ]
    wrong = [row for row in found.rows if row.expected not in (None, row.counted)]
    if wrong:
        names = ", ".join(f"{row.region}: {widths_name(row.kind, row.bits_a, row.bits_b)}" for row in wrong[:5])
        verdict = (
            f"NOT ALL COUNTS FOLLOW FROM THE FORMULAS: {len(wrong)} of {len(found.rows)} differ, such as {names}. "
            "A histogram that was measured agrees with its formulas to the integer."
        )
    else:
        verdict = (
            f"All {len(found.rows)} counts of the histogram follow from the formulas and these numbers, to the integer."
        )
    predicted, scored = found.units.get(_PREDICTIONS), facts.document["text"]["scored"]
    if predicted not in (None, scored):
        verdict = (
            f"THE COUNTS ARE THOSE OF ANOTHER RUN: they follow from {number(predicted)} predictions, and "
            f"{number(scored)} were made. {verdict}"
        )
    if found.undetermined:
        verdict += f" {found.undetermined} have units that the histogram does not determine, and were not compared."
    return [
        Text(
            "The count of each kind and widths is a law in sizes of the model and in units of the run. The units are "
            "not declared but solved for, from the histogram itself, whose rows are many more."
        ),
        Table("Units of the run", ("symbol", "what it is", "value"), rows, numbers=2),
        Text(verdict),
    ]


def _regions(facts: Facts) -> Iterable[Section]:
    laws: dict[str, list[LawRow]] = {}
    for row in facts.calculation.rows if facts.calculation else ():
        laws.setdefault(row.region, []).append(row)
    sizes = {
        region["region"]: region["sizes"] for region in (facts.document["calculation"] or {"regions": []})["regions"]
    }
    formulas, counted = _formulas(facts), _counted(facts)
    for region in facts.document["regions"]:
        name = region["name"]
        blocks: list[Block] = [
            Text(f"{_ROLES[region['role']]}: {formulas[name]}" if formulas.get(name) else _ROLES[region["role"]])
        ]
        if sizes.get(name):
            rows = [(size["symbol"], number(size["value"]), size["meaning"]) for size in sizes[name]]
            blocks.append(Table("Sizes", ("symbol", "value", "what it is"), rows, numbers=3))
        if facts.calculation is not None and laws.get(name):
            blocks.append(_laws(facts, laws[name]))
        elif counted.get(name):
            blocks.append(_counts(facts, counted[name]))
        if not counted.get(name):
            blocks.append(Text("No operation was executed here."))
        blocks += [Text(f"Free: {move}.") for move in region["moves"]]
        yield Section(name, blocks)


def _counted(facts: Facts) -> dict[str, list[LawRow]]:
    found: dict[str, list[LawRow]] = {}
    for row in facts.rows():
        found.setdefault(row.region, []).append(
            LawRow(row.region, row.kind, row.bits_a, row.bits_b, "", None, row.count)
        )
    return found


def _priced(facts: Facts, rows: Sequence[LawRow]) -> Iterable[tuple[str, ...]]:
    """Price and cost of each row."""
    for row in rows:
        price = facts.price(row.kind, row.bits_a, row.bits_b)
        yield str(price), number(float(row.counted * price / facts.per), 3)


def _counts(facts: Facts, rows: Sequence[LawRow]) -> Table:
    head = ("kind and widths", "counted", "price", f"per {facts.token}")
    found = [
        (widths_name(row.kind, row.bits_a, row.bits_b), number(row.counted), *priced)
        for row, priced in zip(rows, _priced(facts, rows), strict=True)
    ]
    return Table("Counts", head, found, code=())


def _laws(facts: Facts, rows: Sequence[LawRow]) -> Table:
    head = ("kind and widths", "law", "law's value", "counted", "price", f"per {facts.token}")
    found = []
    for row, priced in zip(rows, _priced(facts, rows), strict=True):
        expected = "not determined" if row.expected is None else number(row.expected)
        if row.expected not in (None, row.counted):
            expected += " (differs)"
        law = row.law.replace("*", "\u00b7") or "none"
        found.append((widths_name(row.kind, row.bits_a, row.bits_b), law, expected, number(row.counted), *priced))
    return Table("Laws and counts over the whole run", head, found, numbers=2, code=(1,))
