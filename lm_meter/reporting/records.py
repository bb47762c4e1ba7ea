"""The section of a report that is made from records: where the loss is, and how operations grow with the context."""

from __future__ import annotations

import math

from ..report import number
from .blocks import Block, Figure, Section, Table, Text
from .curves import Curve
from .facts import Facts
from .plots import columns, lines
from .svg import axis_around, log_axis

_NATS = "loss, nats per piece"


def records_section(facts: Facts) -> Section:
    """Curves, or why there are none."""
    curves = facts.curves
    if curves is None:
        return Section("Along the text", [Text(f"No curves of loss and operations: {facts.why_no_curves}.")])
    figures: list[Block] = [
        _position(curves.by_position),
        _operations(curves.operations),
        _frequency(curves.by_frequency),
    ]
    if not curves.operations.mean.any():
        del figures[1]  # a foreign program's are not known
    if curves.in_article is not None:
        figures.insert(1, _article(curves.in_article))
    return Section("Along the text", figures)


def _range(first: int, last: int) -> str:
    return number(first) if first == last else f"{number(first)} to {number(last)}"


def _table(title: str, what: str, unit: str, curve: Curve) -> Table:
    digits = 4 if curve.mean.max() < 1000 else 1
    rows = [
        (_range(first, last), number(count), f"{mean:,.{digits}f}")
        for first, last, count, mean in zip(
            curve.first.tolist(), curve.last.tolist(), curve.count.tolist(), curve.mean.tolist(), strict=True
        )
    ]
    return Table(title, (what, "predictions", unit), rows, code=())


def _position(curve: Curve) -> Figure:
    title = "Loss against position"
    mean, running, middle = curve.mean.tolist(), curve.running.tolist(), curve.middle.tolist()
    axes = axis_around("position in the text, pieces", [1.0, float(curve.last[-1])]), axis_around(_NATS, mean + running)
    drawing = lines(title, axes, [("c-1", middle, mean), ("c-2", curve.last.tolist(), running)])
    legend = [("c-1 stroke", "mean of a part of the text"), ("c-2 stroke", "mean of all up to there")]
    return Figure(title, drawing, _table(title, "positions", _NATS, curve), legend)


def _article(curve: Curve) -> Figure:
    title = "Loss against position in the article"
    axes = (
        log_axis("position in the article, pieces", [1.0, float(curve.last[-1])]),
        axis_around(_NATS, curve.mean.tolist()),
    )
    drawing = lines(title, axes, [("c-1", curve.middle.tolist(), curve.mean.tolist())])
    return Figure(title, drawing, _table(title, "positions", _NATS, curve))


def _operations(curve: Curve) -> Figure:
    title, unit = "Operations against position", "operations per piece, any kind 1"
    axes = (
        log_axis("position in the text, pieces", [1.0, float(curve.last[-1])]),
        axis_around(unit, curve.mean.tolist(), from_zero=True),
    )
    drawing = lines(title, axes, [("c-1", curve.middle.tolist(), curve.mean.tolist())])
    return Figure(title, drawing, _table(title, "positions", unit, curve))


def _frequency(curve: Curve) -> Figure:
    title, unit = "Loss against word frequency", "loss, nats per word token"
    head = ("occurrences in the text", "word tokens", unit, "share of the loss")
    rows, bars = [], []
    for first, last, mean, count, share in zip(
        curve.first.tolist(),
        curve.last.tolist(),
        curve.mean.tolist(),
        curve.count.tolist(),
        curve.share.tolist(),
        strict=True,
    ):
        rows.append((_range(first, last), number(count), f"{mean:.4f}", f"{share:.2%}"))
        bars.append(
            (
                float(first),
                float(last + 1),
                mean,
                f"{_range(first, last)} occurrences: {mean:.3f} nats, {share:.1%} of the loss",
            )
        )
    axes = (
        log_axis("occurrences of the word in the text", [1.0, 2.0 ** math.ceil(math.log2(curve.last[-1] + 1))]),
        axis_around(unit, curve.mean.tolist(), from_zero=True),
    )
    return Figure(title, columns(title, axes, bars), Table(title, head, rows, code=()))
