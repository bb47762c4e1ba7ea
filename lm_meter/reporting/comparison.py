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
    is_asked = any(facts.document["score"]["meets_gate"] is not None for facts in entries)
    if drawn:
        blocks.append(_drawing(drawn, is_asked))
        blocks += _left_out([facts for facts, *_ in drawn], is_asked)
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


def _why_left_out(facts: Facts, is_asked: bool) -> str | None:
    """Why a result takes no place on the front; ``is_asked``: whether the gate is asked of any result here."""
    meets_gate = facts.document["score"]["meets_gate"]
    if facts.is_unmetered:
        return "claimed, not metered"
    if facts.document["partial"]:
        return "partial"
    if meets_gate is False:
        return "does not meet the gate"
    return "gate not asked" if is_asked and meets_gate is None else None


def _left_out(drawn: Sequence[Facts], is_asked: bool) -> list[Text]:
    """In words, what the front is of, and what not."""
    reasons = [(facts.name, _why_left_out(facts, is_asked)) for facts in drawn]
    found = [f"{name} ({reason})" for name, reason in reasons if reason]
    told = [f"Drawn, but left out of the Pareto front: {', '.join(found)}."] if found else []
    if not is_asked and len(found) < len(drawn):
        told.append("No result here is of the whole test set as it is: the gate is asked of none, and the front is no "
                    "statement on entries.")  # fmt: skip
    return [Text(" ".join(told))] if told else []


def _drawing(drawn: Sequence[tuple[Facts, float | None, float | None]], is_asked: bool) -> Figure:
    points = [(facts, x or 0.0, y or 0.0, _why_left_out(facts, is_asked)) for facts, x, y in drawn]
    front = pareto_front([(x, y) for _, x, y, reason in points if reason is None])
    marks, rows = [], []
    for facts, x, y, reason in points:
        kind = "dot claimed" if facts.is_unmetered else "dot hollow" if reason else "dot c-1"
        name, mark = facts.name.removesuffix(".json"), _mark(facts)
        marks.append((f"{name} ({reason})" if reason else name, x, y, kind))
        on_front = f"left out: {reason}" if reason else "yes" if (x, y) in front else "no"
        rows.append((facts.name, on_front, *(f"{value:.5f}{mark}" for value in (x, y, x + y))))
    rows.append(("baseline", "-", "1.00000", "1.00000", "2.00000"))
    title = "Storage and operations against the baseline"
    head = ("result", "on the Pareto front", "storage ratio", "operations ratio", "score")
    legend = [("dot c-1", "result"), ("dot hollow", "left out of the front"), ("dot claimed", "claimed, unmetered")]
    used = [(kind, name) for kind, name in legend if kind in {mark[3] for mark in marks}]
    used += [("base", "baseline"), *([("front stroke", "Pareto front of the results")] if front else [])]
    used.append(("equal stroke", "equal score"))
    return Figure(title, plane(title, marks, _SCORES, front), Table(title, head, rows, numbers=2), used)
