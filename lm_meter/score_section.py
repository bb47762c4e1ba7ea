"""The score of a result, with its gate; and what stands in place of a score where nothing was metered."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from .corpora import WIKITEXT_103
from .profiles import DEFAULT_PROFILE, PROFILES, Profile, Task
from .score import score
from .text_in_tokens import are_too_few, hold_text

TASK = "wikitext-103"
# What the interval of the perplexity says of the gate.
PASSES, FAILS, TOO_CLOSE = "passes", "fails", "too close to call"
# Why the gate is not judged although the whole test set was run.
LOST, IN_TOKENS = "not judged: characters are lost", "not judged: tokens hold the text"
_RATIOS = ("storage_ratio", "tokenizer_ratio", "operations_ratio", "total", "total_without_tokenizer")


class Figures(NamedTuple):
    """What a score is of, in the profile's unit; what is not known is None.

    ``parameters`` of the model, those that the tables of its ``tokenizer`` count as, ``operations`` per word token.
    """

    parameters: Fraction | None
    tokenizer: Fraction | None
    operations: Fraction | None


def score_section(document: Mapping[str, Any], profile: Profile, figures: Figures | None) -> dict[str, Any]:
    """Ratios to the baseline, and the gate: a statement about the whole test set as it is, null for any other run.

    Nor is the gate judged where characters of the text were lost, or where the tokens hold the text: the verdict says
    so. ``figures``: None where they were not measured.
    """
    section: dict[str, Any] = {"profile": profile.name, "task": TASK, **dict.fromkeys(_RATIOS), "claimed": None}
    # The gate is a matter of text and perplexity: it is asked under a price list without a score, too.
    task = profile.tasks.get(TASK) or PROFILES[DEFAULT_PROFILE].tasks[TASK]
    word, text = document["perplexity"]["word"], document["text"]
    is_test_set = text["sha256"] == WIKITEXT_103.splits["test"].sha256 and text["whole"]
    as_it_is = text["first_token"] == "score" and text["replaced_by_unk"] == 0
    applies = is_test_set and as_it_is and task.max_perplexity is not None
    obstacle = _obstacle(text) if applies else None
    judged = applies and obstacle is None
    return section | {
        **(_ratios(task, figures) if figures and TASK in profile.tasks else {}),
        "meets_gate": (word is not None and word <= task.max_perplexity) if judged else None,
        **_margin(document, task.max_perplexity if judged else None),
        **({"gate_verdict": obstacle} if obstacle else {}),
    }


def stored_ratio(score: Mapping[str, Any]) -> float | None:
    """The part of a score that is storage: the model's, and that of its tokenizer's tables where these are known."""
    return None if score["storage_ratio"] is None else score["storage_ratio"] + (score.get("tokenizer_ratio") or 0.0)


def why_it_never_passes(document: Mapping[str, Any]) -> str | None:
    """Why a result passes no validation, of whatever text it is and whatever it claims; None where it may."""
    text = document["text"]
    if are_too_few(text):
        return "its predictions are fewer than a hundredth of its word tokens"
    if text["replaced_by_unk"]:
        return "words were replaced"
    return {LOST: "characters were lost", IN_TOKENS: "its tokens hold the text", None: None}[_obstacle(text)]


def _obstacle(text: Mapping[str, Any]) -> str | None:
    """Why the gate is not judged of a text that was run whole."""
    if text["lost_characters"]:
        return LOST
    return IN_TOKENS if hold_text(text) else None


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
    ratios = _ratios(profile.tasks[TASK], Figures(parameters, None, claimed_operations(document)))
    return {key: ratios[key] for key in ("storage_ratio", "operations_ratio", "total")}


def _ratios(task: Task, figures: Figures) -> dict[str, float | None]:
    """Ratios to the baseline; a figure that is not known has none.

    Without parameters or operations there is no total; that of a result which is too old to have the tokenizer's tables
    is without them.
    """
    parameters, tokenizer, operations = figures
    value = score(task, parameters or Fraction(0), operations or Fraction(0))
    tables = score(task, tokenizer or Fraction(0), Fraction(0)).storage_ratio
    is_known = parameters is not None and operations is not None
    return {
        "storage_ratio": None if parameters is None else float(value.storage_ratio),
        "tokenizer_ratio": None if tokenizer is None else float(tables),
        "operations_ratio": None if operations is None else float(value.operations_ratio),
        "total": float(value.total + tables) if is_known else None,
        "total_without_tokenizer": float(value.total) if is_known else None,
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
