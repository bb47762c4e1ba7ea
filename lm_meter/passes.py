"""Passes that one command makes, one after the other: what each writes, and what becomes of the rest if one fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ConfigError, LmMeterError
from .interrupt import deferred_interrupt, times_noted
from .output_files import check_writable, refuse_input
from .printable import printable
from .progress import Progress
from .result import Result

_PLACEHOLDERS = ("{checkpoint}", "{text}")


@dataclass(frozen=True)
class Plan:
    """A pass that is to be made.

    Parameters
    ----------
    name : str
        What a message calls it.
    run : callable
        Makes the pass; it gets what makes a ``Progress``.
    output : str, optional
        File of its result.
    records : path, optional
        File that its records are to be in when it has been made.
    """

    name: str
    run: Callable[[Callable[[int], Progress] | None], Result]
    output: str | None = None
    records: str | Path | None = None


@dataclass
class Made:
    """What was made: results, errors by the names of their passes, and passes that a Ctrl-C left unmade."""

    results: list[Result] = field(default_factory=list)
    failed: list[tuple[str, LmMeterError]] = field(default_factory=list)
    left: int = 0
    is_broken_off: bool = False  # by a Ctrl-C that did not wait

    @property
    def is_interrupted(self) -> bool:
        """Whether Ctrl-C ended a pass, or left some unmade."""
        return self.is_broken_off or bool(self.left) or any(result["partial"] for result in self.results)

    def raise_failure(self, planned: int) -> None:
        """Raise the error of the only pass, or one that names those of several."""
        if self.failed and planned == 1:
            raise self.failed[0][1]
        if self.failed:
            reasons = "; ".join(f"{name}: {error}" for name, error in self.failed)
            raise LmMeterError(f"{len(self.failed)} of {planned} runs failed: {reasons}")


def make_passes(plans: Sequence[Plan], progress: Callable[[int], Progress] | None) -> Made:
    """Make passes one after the other; each result is saved when it is there.

    One that fails is noted, and the rest are made. Ctrl-C and SIGTERM end the one that is under way, whose result is
    partial; the others are not begun.

    Raises
    ------
    KeyboardInterrupt
        Where nothing was made.
    """
    made = Made()
    for number, plan in enumerate(plans):
        if progress and len(plans) > 1:
            print(f"run {number + 1} of {len(plans)}: {printable(plan.name)}", file=sys.stderr, flush=True)
        before = len(made.results)
        try:
            ended = _make(plan, progress, made)
        except KeyboardInterrupt:
            made.is_broken_off = True
            made.left = len(plans) - number - (len(made.results) > before)
            break
        if ended:
            made.left = len(plans) - number - 1
            break
    if made.is_broken_off and not made.results and not made.failed:
        raise KeyboardInterrupt
    return made


def _make(plan: Plan, progress: Callable[[int], Progress] | None, made: Made) -> bool:
    """Make a pass; True if Ctrl-C or SIGTERM came meanwhile."""
    ended, before = False, times_noted()
    try:
        result = plan.run(progress)
        made.results.append(result)
        # A pass is complete where the signal came after its last prediction; the next one is not begun all the same.
        ended = result["partial"] or times_noted() > before
        with deferred_interrupt() as interruption:
            try:
                if plan.output:
                    result.save(plan.output)
            finally:
                ended = ended or interruption.requested
        if plan.records and result["records"] is None:
            raise ConfigError(f"--records {plan.records}: was not written; the result is all there is of this run")
    except LmMeterError as error:
        # A disk that filled up during a long run must not take the printed result with it.
        made.failed.append((plan.name, error))
    return ended


def places(template: str | None, pairs: Sequence[tuple[str, str]]) -> list[str | None]:
    """A file's name for each pair of a checkpoint's name and a text's, which stand in it as {checkpoint} and {text}."""
    names: list[str | None] = []
    for pair in pairs:
        name = template
        for placeholder, value in zip(_PLACEHOLDERS, pair, strict=True):
            name = name and name.replace(placeholder, value)
        names.append(name)
    return names


def check_places(written: Sequence[tuple[str, str, str]], inputs: Sequence[Path]) -> None:
    """Refuse, before any run, files that could not be written, or that would replace each other or an input.

    ``written``: option, file, and name of the run.
    """
    taken: dict[str, tuple[str, str]] = {}
    for option, path, run in written:
        check_writable(path, option)
        refuse_input(path, inputs, option)
        place = os.path.realpath(path)
        other, of = taken.get(place, ("", ""))
        if other not in ("", option):
            raise ConfigError(f"{option} {path}: is also that of {other}; expected two names")
        if other:
            raise ConfigError(
                f"{option} {path}: is that of two runs, {of} and {run}; expected a name for each, such as "
                "'{checkpoint}-{text}.json', of files whose own names without folder and suffix differ"
            )
        taken[place] = option, run
