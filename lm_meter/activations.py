"""The maximum transient activation size: the most numbers, and bits, that are alive at any moment of a run.

A moment is a kernel that runs: its inputs, outputs and scratch, and everything kept for a later one, weights excluded.
What lives from token to token is state; the figure is given with it and without it. Numbers have their declared widths:
32 bits, but for inputs that are prepared for a matrix, sums of 64 bits and indices of 64. Padding is not counted, what
each thread has for itself is counted once, and the readout is that of one prediction: so the figure depends neither on
threads nor on the block nor on the CPU. The tokens of the text are no activations; those that a continuous cache keeps
beside its outputs are. Where it depends on the text which experts a token passes, it is the one that takes most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .checkpoint import Checkpoint
from .context import Context
from .models.moments import Moment
from .regions import Region


@dataclass(frozen=True)
class Size:
    """Numbers and bits; each is the most that there ever were, not always at the same moment."""

    elements: int
    bits: int


@dataclass(frozen=True)
class Activations:
    """What was alive: the most in each region, with and without what lives from token to token."""

    with_state: dict[str, Size]
    without_state: dict[str, Size]

    def to_json(self) -> dict[str, Any]:
        """The entry of a result."""
        views = {"with_state": self.with_state, "without_state": self.without_state}
        return {
            **{view: _total(found) for view, found in views.items()},
            "by_region": [
                {
                    "region": region,
                    **{
                        v: {"elements": found[region].elements, "bits": found[region].bits}
                        for v, found in views.items()
                    },
                }
                for region in self.with_state
            ],
        }


def _total(found: dict[str, Size]) -> dict[str, Any]:
    """The most in any region, and in which one: the first of those that have as much."""
    total: dict[str, Any] = {}
    for unit in ("elements", "bits"):
        region = max(found, key=lambda name: getattr(found[name], unit))
        total |= {unit: getattr(found[region], unit), f"{unit}_in": region}
    return total


def activations_of(regions: Sequence[Region], found: Iterable[Moment]) -> Activations:
    """The most of all moments in each region; 0 in those that nothing was done in."""
    most = {region.name: [0, 0, 0, 0] for region in regions}
    for moment in found:
        sizes = [*moment.whole.max(axis=1).tolist(), *moment.transient.max(axis=1).tolist()]
        name = regions[moment.region].name
        most[name] = [max(pair) for pair in zip(most[name], sizes, strict=True)]
    return Activations(
        {name: Size(*sizes[:2]) for name, sizes in most.items()},
        {name: Size(*sizes[2:]) for name, sizes in most.items()},
    )


def full_activations(
    checkpoint: Checkpoint, context: Context | None = None, pause: Callable[[], None] = lambda: None
) -> Activations:
    """What is alive where the context is full, and a continuous cache too; no weight is read.

    Parameters
    ----------
    checkpoint : Checkpoint
    context : Context, optional
        Of a model without a recurrent state; by default the checkpoint's own.
    pause : function, optional
        Called at each moment, of which a long context has many: it may raise what ends the count.

    Raises
    ------
    CheckpointError
    """
    architecture = checkpoint.architecture
    context = context or architecture.context(checkpoint.model_config)
    regions, found = architecture.full_moments(checkpoint, context)

    def at_each() -> Iterator[Moment]:
        for moment in found:
            pause()
            yield moment

    return activations_of(regions, at_each())
