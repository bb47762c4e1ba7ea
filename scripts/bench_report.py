"""What the benchmark's parts hand over: measurements, findings against wanted figures, and both as tables."""

from __future__ import annotations

import json
import statistics
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lm_meter.atomic_file import atomic_file
from lm_meter.report import columns

SCHEMA = "lm-meter/comparison/1"


@dataclass(frozen=True)
class Measurement:
    """One quantity, measured several times. ``notes`` are further figures that belong to it, ready to print."""

    name: str
    unit: str
    samples: Sequence[float]
    notes: str = ""

    @property
    def median(self) -> float:
        """Median of the samples."""
        return statistics.median(self.samples)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.samples),
            "max": max(self.samples),
            "samples": list(self.samples),
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Finding:
    """A figure that the project promises: what was wanted, what was found, and whether that is enough."""

    what: str
    wanted: str
    found: str
    met: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"what": self.what, "wanted": self.wanted, "found": self.found, "met": self.met}


@dataclass
class Section:
    """One part of the benchmark. ``remarks`` are lines of text: what was checked, what could not be measured."""

    title: str
    measurements: list[Measurement] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, name: str, unit: str, samples: Sequence[float], notes: str = "") -> Measurement:
        """Append a measurement and return it."""
        self.measurements.append(Measurement(name, unit, samples, notes))
        return self.measurements[-1]

    def expect(self, what: str, wanted: str, found: str, met: bool) -> None:
        """Append a finding."""
        self.findings.append(Finding(what, wanted, found, bool(met)))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "title": self.title,
            "measurements": [measurement.to_json() for measurement in self.measurements],
            "findings": [finding.to_json() for finding in self.findings],
            "remarks": self.remarks,
        }


def _figure(value: float) -> str:
    """Four significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def section_table(section: Section) -> str:
    """A section's remarks and measurements, in at most 80 columns."""
    lines = [section.title, *(f"  {remark}" for remark in section.remarks)]
    if section.measurements:
        rows = [["", "median", "min", "max", ""]]
        for m in section.measurements:
            rows.append([m.name, *(_figure(value) for value in (m.median, min(m.samples), max(m.samples))), m.unit])
        lines += columns(rows)
        lines += [f"  {m.name}: {m.notes}" for m in section.measurements if m.notes]
    return "\n".join(lines) + "\n"


def measure(parts: Iterable[tuple[str, Callable[[], Section]]], output: Path, about: Mapping[str, Any]) -> int:
    """Measure part after part, print each, and write all so far to a JSON file with what else there is to say.

    A part that fails is a finding, and the rest is measured. Returns the exit status: 1 where one failed.
    """
    done: list[Section] = []
    failed = False
    for name, part in parts:
        try:
            section = part()
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            failed, section = True, Section(name, remarks=[f"failed: {type(error).__name__}: {error}"])
            section.expect(name, "measured", "failed", False)
        done.append(section)
        print(section_table(section), flush=True)
        _write(output, done, about)
    print(findings_table(_findings(done)))
    print(f"written to {output}")
    return int(failed)


def _findings(sections: Sequence[Section]) -> list[Finding]:
    return [finding for section in sections for finding in section.findings]


def _write(output: Path, sections: Sequence[Section], about: Mapping[str, Any]) -> None:
    document = {
        "schema": SCHEMA,
        **about,
        "sections": [section.to_json() for section in sections],
        "findings": [finding.to_json() for finding in _findings(sections)],
    }
    with atomic_file(output) as file:
        file.write((json.dumps(document, indent=1) + "\n").encode())


def findings_table(findings: Sequence[Finding]) -> str:
    """Wanted and found side by side, in at most 80 columns."""
    rows = [["what it must show", "wanted", "found", "met"]]
    rows += [[f.what, f.wanted, f.found, "yes" if f.met else "NO"] for f in findings]
    return "\n".join(columns(rows)) + "\n"
