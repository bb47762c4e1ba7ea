"""The whole report: what stands in it and in which order, whatever it is written as."""

from __future__ import annotations

from collections.abc import Sequence

from ..qualifiers import sentences
from .blocks import Block, Section, Text
from .comparison import comparison_section
from .facts import Facts
from .operations import operations_section
from .records import records_section
from .run import (
    activations_section,
    claims_section,
    conventions_section,
    perplexity_section,
    reproduction_section,
)
from .storage import storage_section


def report_of(entries: Sequence[Facts]) -> Section:
    """The report of one result or of several under one price list."""
    if len(entries) == 1:
        (facts,) = entries
        found = _sections(facts)
        if facts.document["score"]["total"] is not None:
            found.insert(1 + len(facts.qualifiers), comparison_section(entries))
        return Section(f"Report of {facts.name}", [*found, conventions_section(facts)])
    names = ", ".join(facts.name for facts in entries)
    whole: list[Block] = [comparison_section(entries)]
    whole += [Section(facts.name, [*_sections(facts)]) for facts in entries]
    return Section(f"Report of {names}", [*whole, conventions_section(entries[0])])


def _sections(facts: Facts) -> list[Block]:
    found: list[Block] = [Text(f"{sentence}.") for sentence in sentences(facts.qualifiers)]
    found.append(perplexity_section(facts))
    if facts.is_unmetered:
        return [*found, claims_section(facts), records_section(facts), reproduction_section(facts)]
    return [
        *found,
        operations_section(facts),
        storage_section(facts),
        activations_section(facts),
        records_section(facts),
        reproduction_section(facts),
    ]
