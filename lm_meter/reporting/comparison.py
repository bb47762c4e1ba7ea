"""The section of a report that sets results beside each other: a table, and the plane of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..qualifiers import labels
from ..report import number
from ..score_section import stored_ratio
from ..standing import NOT_VALIDATED, Standing, scored_texts, standings
from ..text_in_tokens import tokenizer_cells, tokenizer_figures
from .blocks import Block, Figure, Section, Table, Text
from .facts import Facts
from .plots import pareto_front, plane

_GATES = {True: "met", False: "NOT MET", None: "not asked"}
_SCORES = (4.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)


def comparison_section(entries: Sequence[Facts]) -> Section:
    """All entries, with their scores where the price list has them."""
    of = [(facts.document, facts.validation) for facts in entries]
    found = standings(of, entries[0].max_tolerance)
    placed = list(zip(entries, found, strict=True))
    blocks: list[Block] = [_standing_table(placed), _cost_table(entries)] if len(entries) > 1 else []
    blocks.append(_tokenizer_table(entries))
    points = [(facts, standing, *_ratios(facts)) for facts, standing in placed]
    drawn = [(facts, standing, x, y) for facts, standing, x, y in points if x and y]
    if drawn:
        blocks.append(_drawing(drawn))
        blocks += _left_out(drawn)
    flat = [facts.name for facts, _, x, y in points if None not in (x, y) and not (x and y)]
    if flat:
        blocks.append(
            Text(f"A ratio of 0 has no place on logarithmic axes, so that these are not drawn: {', '.join(flat)}.")
        )
    texts = scored_texts([facts.document for facts in entries])
    if len(texts) > 1:
        blocks.append(
            Text(f"The results are of different texts, whose perplexities cannot be compared: {', '.join(texts)}.")
        )
    if any(facts.is_unmetered for facts in entries):
        blocks.append(Text("What is marked as claimed was not metered: a foreign program says it of itself."))
    return Section("Results beside each other" if len(entries) > 1 else "On the plane of scores", blocks)


def _score(facts: Facts) -> Mapping[str, Any]:
    score: Mapping[str, Any] = facts.document["score"]
    return (score.get("claimed") or {}) if facts.is_unmetered else score


def _ratios(facts: Facts) -> tuple[float | None, float | None]:
    score = _score(facts)
    stored = stored_ratio(score) if score else None
    return stored, score.get("operations_ratio")


def _standing_table(placed: Sequence[tuple[Facts, Standing]]) -> Table:
    """What each result is worth: its validation, the gate, perplexity and score."""
    head = ("result", "validation", "qualifiers", "gate", "by its interval", "perplexity", "95% interval", "score")
    rows = []
    for facts, standing in placed:
        d, interval = facts.document, facts.document["uncertainty"]
        word, bounds = d["perplexity"]["word"], [interval["word_low"], interval["word_high"]] if interval else [None]
        rows.append(
            (
                facts.name,
                standing.status,
                labels(standing.qualifiers) or "-",
                _GATES[d["score"]["meets_gate"]],
                d["score"]["gate_verdict"] or "-",
                "-" if word is None else f"{word:.3f}",
                "-" if None in bounds else f"{bounds[0]:.3f} to {bounds[1]:.3f}",
                _claimed(_score(facts).get("total"), _mark(facts), 5),
            )
        )
    return Table(f"Results under {placed[0][0].profile.name}", head, rows, numbers=5, code=(0,))


def _cost_table(entries: Sequence[Facts]) -> Table:
    """What the score of each is made of."""
    head = ("result", "text", "operations", "parameters", "storage ratio", "tokenizer ratio", "operations ratio")
    rows = []
    for facts in entries:
        d, score, mark = facts.document, _score(facts), _mark(facts)
        costs = d["operations_per_token"]["total"], d["storage"]["parameters"]
        ratios = (score.get(key) for key in ("storage_ratio", "tokenizer_ratio", "operations_ratio"))
        rows.append(
            (
                facts.name,
                d["text"]["name"],
                *(_claimed(value, mark, 1) for value in costs),
                *(_claimed(value, mark, 5) for value in ratios),
            )
        )
    return Table("Operations per word token and parameters", head, rows, numbers=2, code=(0,))


def _tokenizer_table(entries: Sequence[Facts]) -> Table:
    """How much of its text the tokenizer of each knows."""
    head = ("result", "tokenizer, bytes", "longest token, bytes", "word tokens a prediction")
    rows = [(facts.name, *tokenizer_cells(tokenizer_figures(facts.document))) for facts in entries]
    return Table("Tokenizers", head, rows, numbers=1, code=(0,))


def _mark(facts: Facts) -> str:
    """What stands behind each figure that was not measured."""
    return " (claimed)" if facts.is_unmetered else ""


def _claimed(value: float | None, mark: str, digits: int) -> str:
    return "-" if value is None else f"{number(value, digits)}{mark}"


def _left_out(drawn: Sequence[tuple[Facts, Standing, float, float]]) -> list[Text]:
    """In words, what the front is of, and what not."""
    found = [f"{facts.name} ({standing.excluded})" for facts, standing, *_ in drawn if standing.excluded]
    told = [f"Drawn, but left out of the Pareto front: {', '.join(found)}."] if found else []
    on_front = [(facts, standing) for facts, standing, *_ in drawn if not standing.excluded]
    if on_front and on_front[0][0].document["score"]["meets_gate"] is None:
        told.append("No result here is of the whole test set as it is: the gate is asked of none, and the front is no "
                    "statement on entries.")  # fmt: skip
    if on_front and on_front[0][1].status == NOT_VALIDATED:
        told.append("No result here was validated: the front is of measured figures, not of claims.")
    return [Text(" ".join(told))] if told else []


def _drawing(drawn: Sequence[tuple[Facts, Standing, float, float]]) -> Figure:
    front = pareto_front([(x, y) for _, standing, x, y in drawn if standing.excluded is None])
    marks, rows = [], []
    for facts, standing, x, y in drawn:
        reason = standing.excluded
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
