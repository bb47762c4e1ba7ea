"""The Pareto front of a report: of valid entries only; what is left out is marked, and named with the reason."""

import re
from dataclasses import replace

import pytest
from report_files import result_file

from lm_meter.profiles import PROFILES
from lm_meter.reporting.document import report_of
from lm_meter.reporting.facts import read_facts
from lm_meter.reporting.html import html
from lm_meter.reporting.markdown import markdown

PROFILE = PROFILES["micronet-2019-06"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Path of a result of a tiny LSTM, and the result."""
    return result_file(tmp_path_factory.mktemp("made"))


def _judged(made, name, ratio, meets_gate=None, partial=False):
    """A result of this ratio to the baseline in storage and operations, with its verdict on the gate."""
    facts = replace(read_facts(str(made[0]), PROFILE), name=name)
    facts.document["score"].update(storage_ratio=ratio, operations_ratio=ratio, total=2 * ratio, meets_gate=meets_gate)
    facts.document.update(partial=partial)
    return facts


def _corners(page):
    """Of each front that is drawn; the legend's line has none."""
    return [path.count("L") for path in re.findall(r'<path d="([^"]*)" class="front line"', page) if "L" in path]


def test_the_front_is_of_valid_entries_and_the_others_are_named_with_the_reason(made):
    valid = _judged(made, "valid.json", 0.5, True), _judged(made, "beaten.json", 0.6, True)
    over = _judged(made, "over.json", 0.1, False)
    partial = _judged(made, "partial.json", 0.2, None, partial=True)
    unasked = _judged(made, "unasked.json", 0.3, None)
    page = markdown(report_of([*valid, over, partial, unasked]))
    assert (
        "Drawn, but left out of the Pareto front: over.json (does not meet the gate), partial.json (partial), "
        "unasked.json (gate not asked)."
    ) in page
    for row in (
        "| `valid.json` | yes |", "| `beaten.json` | no |", "| `over.json` | left out: does not meet the gate |",
        "| `partial.json` | left out: partial |", "| `unasked.json` | left out: gate not asked |",
    ):  # fmt: skip
        assert row in page
    drawn = html(report_of([*valid, over, partial, unasked]))
    assert len(re.findall(r'r="6" class="dot c-1"', drawn)) == 2
    assert len(re.findall(r'r="6" class="dot hollow"', drawn)) == 3
    alone = html(report_of([valid[0]]))
    assert _corners(drawn) == _corners(alone) == [2]
    assert "left out of the" not in alone


def test_the_legend_shows_the_baseline_as_the_drawing_does(made):
    """A square that stands on its corner."""
    page = html(report_of([_judged(made, "valid.json", 0.5, True)]))
    turned = [
        bool(re.search(r'transform="rotate\(45 ', rect)) for rect in re.findall(r'<rect [^>]*class="base"[^>]*>', page)
    ]
    assert turned == [True, True]


def test_without_a_valid_entry_there_is_no_front(made):
    drawn = html(report_of([_judged(made, "over.json", 0.1, False), _judged(made, "partial.json", 0.2, None, True)]))
    assert '"front line"' not in drawn
    assert "Pareto front of the results" not in drawn
    page = markdown(report_of([_judged(made, "over.json", 0.1, False)]))
    assert "left out of the Pareto front: over.json (does not meet the gate)." in page


def test_a_front_of_results_that_the_gate_is_not_asked_of_says_so(made):
    told = "No result here is of the whole test set as it is"
    page = markdown(report_of([_judged(made, "one.json", 0.1), _judged(made, "two.json", 0.2, None, True)]))
    assert told in page
    assert "| `one.json` | yes |" in page
    assert "| `two.json` | left out: partial |" in page
    assert told not in markdown(report_of([_judged(made, "one.json", 0.1, True)]))
