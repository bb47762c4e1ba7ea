"""Labels of points that do not lie on each other: each takes the first place beside its point that is free."""

from __future__ import annotations

from .svg import LETTER, WIDTH, clipped, text

_HEIGHT, _AWAY, _EDGE = 16.0, 10.0, 6.0
Box = tuple[float, float, float, float]  # left, top, right, bottom


class Labels:
    """What is taken in a drawing between two heights, and the labels that were placed."""

    def __init__(self, left: float, top: float, bottom: float) -> None:
        self.left, self.top, self.bottom = left, top, bottom
        self.taken: list[Box] = []
        self.placed: list[str] = []

    def mark(self, x: float, y: float) -> None:
        """A point that no label may cover."""
        self.taken.append((x - 7, y - 7, x + 7, y + 7))

    def add(self, x: float, y: float, words: str, kind: str) -> None:
        """Label a point; where every place is taken, one line of words below the other."""
        room = max(WIDTH - _EDGE - x, x - self.left) - _AWAY
        shown = clipped(words, room)
        width = LETTER * len(shown)
        places = [
            (side, y + shift * _HEIGHT)
            for shifts in ((-0.5, 1.0), (-1.5, 2.0, -2.5, 3.0, -3.5, 4.0, -4.5, 5.0))
            for side in ("start", "end")
            for shift in shifts
        ]
        free = [place for place in places if self._fits(self._box(x, width, *place))]
        side, at = free[0] if free else ("start" if x + _AWAY + width < WIDTH else "end", y)
        self.taken.append(self._box(x, width, side, at))
        self.placed.append(text(x + _AWAY if side == "start" else x - _AWAY, at, shown, side, kind))

    def _box(self, x: float, width: float, side: str, y: float) -> Box:
        first = x + _AWAY if side == "start" else x - _AWAY - width
        return first, y - _HEIGHT + 4, first + width, y + 4

    def _fits(self, box: Box) -> bool:
        left, top, right, bottom = box
        if left < self.left or right > WIDTH - 2 or top < self.top or bottom > self.bottom:
            return False
        return not any(left < r and right > x1 and top < b and bottom > t for x1, t, r, b in self.taken)
