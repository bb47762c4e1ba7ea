"""The drawings of a report: stacked bars, curves, and the plane of scores."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np

from .blocks import visible
from .labels import Labels
from .svg import LETTER, WIDTH, Axis, Frame, clipped, drawing, log_axis, short, text

_ROW, _BAR, _EDGE = 34, 12, 8
_STEPS = 60
_NEAR = 0.1  # to an axis: no place for a number


def bars(title: str, unit: str, rows: Sequence[tuple[str, str, Sequence[tuple[str, str, float]]]]) -> str:
    """Horizontal bars, each below its label.

    Parameters
    ----------
    title, unit : str
    rows : sequence
        Label, value in words, and parts of each bar: class, name and size of each.
    """
    most = max((sum(size for *_, size in parts) for _, _, parts in rows), default=0) or 1.0
    found, scale, y = [], (WIDTH - 2 * _EDGE) / most, 0.0
    for label, value, parts in rows:
        room = WIDTH - 2 * _EDGE - LETTER * (len(value) + 2)
        found.append(text(_EDGE, y + 13, clipped(visible(label), room)))
        found.append(text(WIDTH - _EDGE, y + 13, value, "end", "value"))
        found.append(f'<rect x="{_EDGE}" y="{y + 18}" width="{WIDTH - 2 * _EDGE}" height="{_BAR}" class="track"/>')
        x = float(_EDGE)
        for kind, name, size in parts:
            width = size * scale
            named = escape(visible(f"{label}: {name}, {size:,.6g} {unit}"))
            found.append(
                f'<rect x="{x:.2f}" y="{y + 18}" width="{width:.2f}" height="{_BAR}" class="{kind}">'
                f"<title>{named}</title></rect>"
            )
            x += width
        y += _ROW
    axis = Axis(unit, 0.0, most)
    for tick in axis.ticks():
        x = _EDGE + tick * scale
        found.append(f'<line x1="{x:.1f}" y1="{y:.0f}" x2="{x:.1f}" y2="{y + 5:.0f}" class="axis"/>')
        anchor = "start" if tick == 0 else "end" if x > WIDTH - 40 else "middle"
        found.append(text(x, y + 18, short(tick), anchor))
    found.append(f'<path d="M{_EDGE} {y:.0f}H{WIDTH - _EDGE}" class="axis"/>')
    found.append(text(WIDTH / 2, y + 38, unit, "middle", "label"))
    return drawing(y + 46, title, found)


def lines(title: str, axes: tuple[Axis, Axis], drawn: Sequence[tuple[str, Sequence[float], Sequence[float]]]) -> str:
    """Lines of a class, each through the points of two sequences."""
    frame = Frame(*axes)
    return drawing(frame.height, title, [*frame.axes(), *(frame.line(xs, ys, kind) for kind, xs, ys in drawn)])


def columns(title: str, axes: tuple[Axis, Axis], bars: Sequence[tuple[float, float, float, str]]) -> str:
    """Upright bars: from, to, height and what each is, in words."""
    frame, parts = Frame(*axes), []
    for first, last, value, name in bars:
        (x1, top), (x2, bottom) = frame.at(first, value), frame.at(last, axes[1].low)
        parts.append(
            f'<rect x="{x1 + 0.5:.1f}" y="{top:.1f}" width="{max(x2 - x1 - 1, 1):.1f}" height="{bottom - top:.1f}" '
            f'class="c-1"><title>{escape(visible(name))}</title></rect>'
        )
    return drawing(frame.height, title, [*frame.axes(), *parts])


def plane(
    title: str,
    entries: Sequence[tuple[str, float, float, str]],
    scores: Sequence[float],
    front: Sequence[tuple[float, float]],
) -> str:
    """Entries on the plane of storage and operations ratios, both logarithmic.

    Parameters
    ----------
    title : str
    entries : sequence
        Short name, storage ratio, operations ratio, both above 0, and the class of the mark.
    scores : sequence
        Those whose lines are drawn.
    front : sequence
        The Pareto front, by the first ratio; there may be none.
    """
    xs, ys = [1.0, *(entry[1] for entry in entries)], [1.0, *(entry[2] for entry in entries)]
    frame = Frame(
        log_axis("parameter storage, ratio to the baseline", xs, 2.5),
        log_axis("operations, ratio to the baseline", ys, 2.5),
        height=420,
    )
    corner, end = frame.at(frame.x.low, frame.y.low), frame.at(frame.x.high, frame.y.high)
    labels, parts = Labels(corner[0], end[1], corner[1]), frame.axes()
    for _, x, y, _ in [("", 1.0, 1.0, ""), *entries]:
        labels.mark(*frame.at(x, y))
    parts += _equal_scores(frame, labels, scores)
    if front:
        corners = [(front[0][0], frame.y.high), front[0]]
        for before, after in pairwise(front):
            corners += [(after[0], before[1]), after]
        corners.append((frame.x.high, front[-1][1]))
        parts.append(frame.line([x for x, _ in corners], [y for _, y in corners], "front"))
    x, y = frame.at(1, 1)
    turned = f'transform="rotate(45 {x:.1f} {y:.1f})"'
    parts.append(f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" class="base" {turned}/>')
    labels.add(x, y, "baseline", "")
    for name, ratio, operations, kind in entries:
        x, y = frame.at(ratio, operations)
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" class="{kind}"><title>{escape(visible(name))}: '
            f"{ratio:.5f} + {operations:.5f} = {ratio + operations:.5f}</title></circle>"
        )
        labels.add(x, y, visible(name), "value")
    return drawing(frame.height, title, [*parts, *labels.placed])


def _equal_scores(frame: Frame, labels: Labels, scores: Sequence[float]) -> list[str]:
    """Lines of equal score, each with its number on the diagonal of the frame, or as near to it as the line comes."""
    parts = []
    # Close to its ends such a line is steep: points at equal steps of both ratios.
    shares = (1 / (1 + np.exp(np.linspace(-14, 14, 8 * _STEPS)))).tolist()
    for score in scores:
        points = [(score * share, score * (1 - share)) for share in shares]
        inside = [(x, y) for x, y in points if frame.x.low <= x <= frame.x.high and frame.y.low <= y <= frame.y.high]
        if len(inside) < 2:
            continue
        parts.append(frame.line([x for x, _ in inside], [y for _, y in inside], "equal"))
        x, y = min(inside, key=lambda point: abs(frame.x.place(point[0]) - frame.y.place(point[1])))
        if min(frame.x.place(x), frame.y.place(y)) > _NEAR:
            labels.add(*frame.at(x, y), f"{score:g}", "quiet")
    return parts


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other one is better than in one ratio without being worse in the other, by the first ratio."""
    front: list[tuple[float, float]] = []
    for point in sorted(set(points)):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    return front
