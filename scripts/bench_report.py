"""What the benchmark's parts hand over: measurements, findings against wanted figures, and both as tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
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


def finish(output: Path, sections: Sequence[Section], about: Mapping[str, Any]) -> None:
    """Print all findings, and write them with the sections and what else there is to say to a JSON file."""
    findings = [finding for section in sections for finding in section.findings]
    print(findings_table(findings))
    document = {
        "schema": SCHEMA,
        **about,
        "sections": [section.to_json() for section in sections],
        "findings": [finding.to_json() for finding in findings],
    }
    with atomic_file(output) as file:
        file.write((json.dumps(document, indent=1) + "\n").encode())
    print(f"written to {output}")


def findings_table(findings: Sequence[Finding]) -> str:
    """Wanted and found side by side, in at most 80 columns."""
    rows = [["what it must show", "wanted", "found", "met"]]
    rows += [[f.what, f.wanted, f.found, "yes" if f.met else "NO"] for f in findings]
    return "\n".join(columns(rows)) + "\n"
