"""Drawings as SVG that stands inside a page: axes, ticks, escaping. Colours are classes that the page's style defines.

A drawing is 480 units wide whatever it shows, so that its letters can be read on a narrow page, where it shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from .blocks import visible

WIDTH = 480
LETTER = 8.0  # width of a letter of the labels, at most
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 12, 12, 46


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """Some words."""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(visible(words))}</text>'


def drawing(height: float, title: str, parts: Sequence[str]) -> str:
    """A whole drawing."""
    named = escape(visible(title), quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{named}" xmlns="http://www.w3.org/2000/svg">'
        f"{''.join(parts)}</svg>"
    )


def clipped(words: str, width: float) -> str:
    """Words that fit into a width."""
    letters = max(1, int(width / LETTER))
    return words if len(words) <= letters else words[: letters - 1] + "\u2026"


def short(value: float) -> str:
    """A number for a tick: 12k, 3.5M, 2e-4."""
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{name}"
    return f"{value:.0e}".replace("e-0", "e-") if 0 < abs(value) < 1e-2 else f"{value:.4g}"


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high``; logarithmic or not."""

    label: str
    low: float
    high: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1."""
        if self.is_log:
            value = max(value, self.low)
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round numbers on it."""
        if self.is_log:
            decades = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            ticks = [10.0**decade for decade in decades]
            if len(ticks) < 3:
                fine = [m * 10.0**d for d in range(decades.start - 1, decades.stop + 1) for m in (1, 2, 5)]
                ticks = [tick for tick in fine if self.low * (1 - 1e-9) <= tick <= self.high * (1 + 1e-9)]
            return ticks
        step = _step((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        return [step * n for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next((m * power for m in (1, 2, 5) if m * power >= rough * (1 - 1e-9)), 10 * power)


def axis_around(label: str, values: Sequence[float], from_zero: bool = False) -> Axis:
    """A linear axis that holds values, with some room."""
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(label, 0.0 if from_zero else max(low - room, 0.0 if low >= 0 else -math.inf), high + room)


def log_axis(label: str, values: Sequence[float], room: float = 1.0) -> Axis:
    """A logarithmic axis that holds values above 0, a factor of ``room`` farther on both sides."""
    low, high = min(values) / room, max(values) * room
    return Axis(label, low, high if high > low else 2 * low, is_log=True)


@dataclass(frozen=True)
class Frame:
    """The place of a plot: two axes and what lies between them."""

    x: Axis
    y: Axis
    height: float = 300

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies in the drawing."""
        inside = self.height - _TOP - _BOTTOM
        return (
            _LEFT + self.x.place(x) * (WIDTH - _LEFT - _RIGHT),
            self.height - _BOTTOM - self.y.place(y) * inside,
        )

    def axes(self) -> list[str]:
        """Lines, ticks and labels."""
        parts, left, bottom = [], _LEFT, self.height - _BOTTOM
        for tick in self.y.ticks():
            y = self.at(self.x.low, tick)[1]
            parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}" class="grid"/>')
            parts.append(text(left - 6, y + 4, short(tick), "end"))
        for tick in self.x.ticks():
            x = self.at(tick, self.y.low)[0]
            parts.append(f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}" class="axis"/>')
            parts.append(text(x, bottom + 18, short(tick), "middle" if x < WIDTH - 30 else "end"))
        parts.append(f'<path d="M{left} {_TOP}V{bottom}H{WIDTH - _RIGHT}" class="axis"/>')
        parts.append(text((left + WIDTH - _RIGHT) / 2, self.height - 8, self.x.label, "middle", "label"))
        middle = (_TOP + bottom) / 2
        parts.append(
            f'<text x="14" y="{middle:.1f}" text-anchor="middle" class="label" transform="rotate(-90 14 {middle:.1f})">'
            f"{escape(self.y.label)}</text>"
        )
        return parts

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> str:
        """A line through points."""
        points = [self.at(x, y) for x, y in zip(xs, ys, strict=True)]
        if len(points) == 1:
            return f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3" class="{kind} dot"/>'
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        return f'<path d="M{path}" class="{kind} line"/>'

    def curve(self, function: Callable[[float], float], xs: Sequence[float], kind: str) -> str:
        """The part of a function's graph that lies in the frame."""
        pairs = [(x, function(x)) for x in xs]
        pairs = [(x, y) for x, y in pairs if self.y.low <= y <= self.y.high]
        return self.line([x for x, _ in pairs], [y for _, y in pairs], kind) if len(pairs) > 1 else ""
