"""The score of a result, with its gate; and what stands in place of a score where nothing was metered."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from .corpora import WIKITEXT_103
from .profiles import Profile, Task
from .score import score

TASK = "wikitext-103"
# What the interval of the perplexity says of the gate.
PASSES, FAILS, TOO_CLOSE = "passes", "fails", "too close to call"
_RATIOS = ("storage_ratio", "operations_ratio", "total")


def score_section(
    document: Mapping[str, Any], profile: Profile, figures: tuple[Fraction, Fraction] | None
) -> dict[str, Any]:
    """Ratios to the baseline, and the gate: a statement about the whole test set as it is, null for any other run.

    ``figures``: parameters, and operations per word token, in the profile's unit; None where they were not measured.
    """
    section: dict[str, Any] = {"profile": profile.name, "task": TASK, **dict.fromkeys(_RATIOS), "claimed": None}
    if TASK not in profile.tasks:
        return section | dict.fromkeys(("meets_gate", "gate_margin", "gate_verdict"))
    task = profile.tasks[TASK]
    word, text = document["perplexity"]["word"], document["text"]
    is_test_set = text["sha256"] == WIKITEXT_103.splits["test"].sha256 and text["whole"]
    as_it_is = text["first_token"] == "score" and text["replaced_by_unk"] == 0
    applies = is_test_set and as_it_is and task.max_perplexity is not None
    return section | {
        **(_ratios(task, *figures) if figures else {}),
        "meets_gate": (word is not None and word <= task.max_perplexity) if applies else None,
        **_margin(document, task.max_perplexity if applies else None),
    }


def unmetered_sections(document: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """What a price list says of a foreign entry: nothing but the gate, and the score that its claims would give."""
    views = ("total", "matrix_vector", "macs", "by_kind", "by_region", "per_piece")
    section = score_section(document, profile, None)
    return {
        "operations_per_token": {"profile": profile.name, "unit": profile.unit, **dict.fromkeys(views)},
        "storage": {**document["storage"], "parameters": None},
        "score": section | {"claimed": _claimed(document, profile)},
    }


def claimed_operations(document: Mapping[str, Any]) -> Fraction | None:
    """Operations per word token that a foreign entry claims, who claims them for each token that it is sent."""
    claimed, text = document["entry"]["claims"]["operations"], document["text"]
    return None if claimed is None else Fraction(claimed) * text["scored"] / (text["word_tokens"] or text["scored"])


def _claimed(document: Mapping[str, Any], profile: Profile) -> dict[str, float | None] | None:
    """The ratios that claims give; None where they are not made in the profile's unit."""
    claims = document["entry"]["claims"]
    if claims is None or claims["profile"] != profile.name or TASK not in profile.tasks:
        return None
    parameters = None if claims["parameters"] is None else Fraction(claims["parameters"])
    return _ratios(profile.tasks[TASK], parameters, claimed_operations(document))


def _ratios(task: Task, parameters: Fraction | None, operations: Fraction | None) -> dict[str, float | None]:
    """Ratios to the baseline; a figure that is not known has none, nor is there a total then."""
    value = score(task, parameters or Fraction(0), operations or Fraction(0))
    return {
        "storage_ratio": None if parameters is None else float(value.storage_ratio),
        "operations_ratio": None if operations is None else float(value.operations_ratio),
        "total": None if parameters is None or operations is None else float(value.total),
    }


def _margin(document: Mapping[str, Any], gate: float | None) -> dict[str, Any]:
    """How far below the gate the perplexity is, and what its interval says of that; the gate itself is the point's."""
    word, interval = document["perplexity"]["word"], document["uncertainty"]
    if gate is None or word is None:
        return {"gate_margin": None, "gate_verdict": None}
    if interval is None or interval["word_low"] is None:
        verdict = None
    elif interval["word_high"] is not None and interval["word_high"] <= gate:
        verdict = PASSES
    else:
        verdict = FAILS if interval["word_low"] > gate else TOO_CLOSE
    return {"gate_margin": gate - word, "gate_verdict": verdict}
