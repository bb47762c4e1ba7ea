"""The section of a report that sets results beside each other: a table, and the plane of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..report import number
from .blocks import Block, Figure, Section, Table, Text
from .facts import Facts
from .plots import pareto_front, plane

_GATES = {True: "met", False: "NOT MET", None: "not asked"}
_SCORES = (4.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)


def comparison_section(entries: Sequence[Facts]) -> Section:
    """All entries, with their scores where the price list has them."""
    blocks: list[Block] = [_table(entries)] if len(entries) > 1 else []
    points = [(facts, *_ratios(facts)) for facts in entries]
    drawn = [(facts, x, y) for facts, x, y in points if x and y]
    if drawn:
        blocks.append(_drawing(drawn))
    flat = [facts.name for facts, x, y in points if None not in (x, y) and not (x and y)]
    if flat:
        blocks.append(
            Text(f"A ratio of 0 has no place on logarithmic axes, so that these are not drawn: {', '.join(flat)}.")
        )
    texts = {facts.document["text"]["sha256"] for facts in entries}
    if len(texts) > 1:
        blocks.append(Text("The results are of different texts: their perplexities cannot be compared."))
    if any(facts.is_unmetered for facts in entries):
        blocks.append(Text("What is marked as claimed was not metered: a foreign program says it of itself."))
    return Section("Results beside each other" if len(entries) > 1 else "On the plane of scores", blocks)


def _score(facts: Facts) -> Mapping[str, Any]:
    score: Mapping[str, Any] = facts.document["score"]
    return (score.get("claimed") or {}) if facts.is_unmetered else score


def _ratios(facts: Facts) -> tuple[float | None, float | None]:
    score = _score(facts)
    return score.get("storage_ratio"), score.get("operations_ratio")


def _table(entries: Sequence[Facts]) -> Table:
    head = ("result", "text", "gate", "by its interval", "perplexity", "95% interval", "operations", "parameters",
            "storage ratio", "operations ratio", "score")  # fmt: skip
    rows = []
    for facts in entries:
        d, score, mark = facts.document, _score(facts), _mark(facts)
        word, interval = d["perplexity"]["word"], d["uncertainty"]
        bounds = [interval["word_low"], interval["word_high"]] if interval else [None, None]
        rows.append(
            (
                facts.name + (" (partial)" if d["partial"] else ""),
                d["text"]["name"],
                _GATES[d["score"]["meets_gate"]],
                d["score"]["gate_verdict"] or "-",
                "-" if word is None else f"{word:.3f}",
                "-" if None in bounds else f"{bounds[0]:.3f} to {bounds[1]:.3f}",
                *(
                    _claimed(value, mark, 1)
                    for value in (d["operations_per_token"]["total"], d["storage"]["parameters"])
                ),
                *(_claimed(score.get(key), mark, 5) for key in ("storage_ratio", "operations_ratio", "total")),
            )
        )
    return Table(f"Results under {entries[0].profile.name}", head, rows, numbers=4, code=(0,))


def _mark(facts: Facts) -> str:
    """What stands behind each figure that was not measured."""
    return " (claimed)" if facts.is_unmetered else ""


def _claimed(value: float | None, mark: str, digits: int) -> str:
    return "-" if value is None else f"{number(value, digits)}{mark}"


def _drawing(drawn: Sequence[tuple[Facts, float | None, float | None]]) -> Figure:
    points = [(facts, x or 0.0, y or 0.0) for facts, x, y in drawn]
    # Claims, which nobody measured, take no place from those that were.
    front = pareto_front([(x, y) for facts, x, y in points if not facts.is_unmetered])
    marks, rows = [], []
    for facts, x, y in points:
        kind = "dot c-1"
        if facts.is_unmetered:
            kind = "dot claimed"
        elif facts.document["score"]["meets_gate"] is False or facts.document["partial"]:
            kind = "dot hollow"
        marks.append((facts.name.removesuffix(".json"), x, y, kind))
        on_front = "-" if facts.is_unmetered else "yes" if (x, y) in front else "no"
        mark = _mark(facts)
        rows.append((facts.name, on_front, *(f"{value:.5f}{mark}" for value in (x, y, x + y))))
    rows.append(("baseline", "-", "1.00000", "1.00000", "2.00000"))
    title = "Storage and operations against the baseline"
    head = ("result", "on the Pareto front", "storage ratio", "operations ratio", "score")
    legend = [("dot c-1", "result"), ("dot hollow", "gate not met, or partial"), ("dot claimed", "claimed, unmetered")]
    used = [(kind, name) for kind, name in legend if kind in {mark[3] for mark in marks}]
    used += [("base", "baseline"), *([("front stroke", "Pareto front of the results")] if front else [])]
    used.append(("equal stroke", "equal score"))
    return Figure(title, plane(title, marks, _SCORES, front), Table(title, head, rows, numbers=2), used)
