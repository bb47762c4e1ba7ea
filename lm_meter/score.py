"""Scores of the MicroNet challenge, and the pricing of a histogram."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from .errors import ConfigError
from .histogram import Row
from .profiles import Profile, Task


@dataclass(frozen=True)
class Priced:
    """A histogram in a profile's unit: the sum, the matrix-vector products alone, and three groupings."""

    total: Fraction
    matrix_vector: Fraction
    by_kind: Mapping[str, Fraction]
    by_region: Mapping[str, Fraction]
    by_region_and_kind: Mapping[str, Mapping[str, Fraction]]


def price(rows: Iterable[Row], roles: Mapping[str, str], profile: Profile, narrow: bool) -> Priced:
    """Price a histogram.

    Parameters
    ----------
    rows : iterable of Row
    roles : mapping
        Role of each region, in the order in which regions are to be listed.
    profile : Profile
    narrow : bool
        Whether anything in the model is quantised below 16 bits.
    """
    by_kind: dict[str, Fraction] = defaultdict(Fraction)
    cells: dict[str, dict[str, Fraction]] = {region: defaultdict(Fraction) for region in roles}
    by_region = {region: Fraction(0) for region in roles}
    matrix_vector = Fraction(0)
    for row in rows:
        cost = row.count * profile.operation(row.kind, row.bits_a, row.bits_b, narrow)
        by_kind[row.kind] += cost
        by_region[row.region] += cost
        cells[row.region][row.kind] += cost
        if roles[row.region] == "matrix_vector":
            matrix_vector += cost
    return Priced(sum(by_region.values(), Fraction(0)), matrix_vector, dict(by_kind), by_region, cells)


@dataclass(frozen=True)
class Score:
    """Score of an entry: the sum of two ratios to the baseline; lower is better."""

    storage_ratio: Fraction
    operations_ratio: Fraction

    @property
    def total(self) -> Fraction:
        """The score."""
        return self.storage_ratio + self.operations_ratio


def task_of(profile: Profile, task: str) -> Task:
    """The task called ``task`` under a profile's rules."""
    if not profile.tasks:
        raise ConfigError(f"profile {profile.name} is a general view without a score; use micronet-2019-06 or -final")
    if task not in profile.tasks:
        raise ConfigError(f"task is {task!r}; expected one of {', '.join(profile.tasks)}")
    return profile.tasks[task]


def score(task: Task, parameters: Fraction, operations: Fraction) -> Score:
    """Score of ``parameters`` and ``operations`` per input, both in the profile's unit."""
    return Score(parameters / task.parameters, operations / task.operations)
