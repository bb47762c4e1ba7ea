"""Regions of a model: what the rows of a tally stand for."""

from __future__ import annotations

from dataclasses import dataclass

ROLES = ("lookup", "matrix_vector", "elementwise", "normalisation")


@dataclass(frozen=True)
class Region:
    """A part of a model that is metered on its own.

    ``role`` is one of ``ROLES``. ``moves`` lists what the region does that
    is no operation under the rules, with the reason: nothing is silently free.
    """

    name: str
    role: str
    moves: tuple[str, ...] = ()
