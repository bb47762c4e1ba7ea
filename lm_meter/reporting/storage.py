"""The section of a report on parameter storage: tensor by tensor, with its price."""

from __future__ import annotations

from ..report import number
from .blocks import Figure, Section, Table, Text
from .facts import Facts
from .operations import folded
from .plots import bars

_ROLES = ("values", "scales", "offsets", "codebook", "mask", "levels")


def storage_section(facts: Facts) -> Section:
    """All tensors; one that is tied to another is stored there."""
    storage = facts.document["storage"]
    rows = []
    for tensor in storage["tensors"]:
        price = facts.price_of_parameter(tensor["width"])
        tied = tensor["tied_to"] is not None
        rows.append(
            (
                tensor["name"],
                " \u00d7 ".join(number(n) for n in tensor["shape"]),
                tensor["format"],
                tensor.get("role", "values") if not tied else f"tied to {tensor['tied_to']}",
                str(tensor["width"]),
                number(tensor["count"]),
                str(price),
                number(float(tensor["count"] * price), 3),
                number(tensor["count"] * tensor["width"]),
            )
        )
    count = sum(tensor["count"] for tensor in storage["tensors"])
    rows.append(("total", "", "", "", "", number(count), "", number(storage["parameters"], 3), number(storage["bits"])))
    head = ("tensor", "shape", "format", "role", "bits each", "numbers", "price", "parameters", "bits")
    return Section(
        "Parameter storage",
        [
            Text(
                f"{number(storage['parameters'], 3)} parameters in the unit of {facts.profile.name}, "
                f"{number(storage['bits'])} bits ({storage['bits'] / 8e6:,.3f} MB)."
            ),
            _drawing(facts),
            *_tokenizer_table(facts),
            Table("Tensors", head, rows, numbers=4),
        ],
    )


def _tokenizer_table(facts: Facts) -> list[Table]:
    """Bits of the tokenizer's tables, and what they count as."""
    tokenizer = facts.document["tokenizer"]
    if tokenizer is None:
        return []
    unit = facts.profile.table_bits
    is_free = tokenizer["is_given"] and facts.profile.is_vocabulary_free
    rows = []
    for name in ("vocabulary", "merges", "scores", "rules", "all"):
        bits = tokenizer["bits" if name == "all" else f"{name}_bits"]
        counted = "-" if unit is None else "0, as the task gives it" if is_free else number(bits / unit, 3)
        rows.append((name, number(bits), counted))
    return [Table("Tables of the tokenizer", ("table", "bits", "parameters"), rows, numbers=2)]


def _drawing(facts: Facts) -> Figure:
    cells: dict[str, dict[str, int]] = {}
    for tensor in facts.document["storage"]["tensors"]:
        if not tensor["count"]:
            continue
        role, name = tensor.get("role", "values"), folded(tensor["name"])
        if role != "values" and "." in name:
            name = name.rpartition(".")[0]  # what belongs to weights stands with them
        own = cells.setdefault(name, {})
        own[role] = own.get(role, 0) + tensor["count"] * tensor["width"]
    drawn, rows = [], []
    for name, own in sorted(cells.items(), key=lambda item: -sum(item[1].values())):
        parts = [(f"r-{role}", role, own[role] / 8e6) for role in _ROLES if role in own]
        drawn.append((name, f"{sum(own.values()) / 8e6:,.3f} MB", parts))
        rows += [(name, role, f"{own[role] / 8e6:,.4f}") for role in _ROLES if role in own]
    title = "Parameter storage by tensor"
    used = [role for role in _ROLES if any(role in own for own in cells.values())]
    table = Table(title, ("tensor", "role", "MB"), rows, numbers=2)
    return Figure(title, bars(title, "megabytes of 8,000,000 bits", drawn), table, [(f"r-{r}", r) for r in used], True)
