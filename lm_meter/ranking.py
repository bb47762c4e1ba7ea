"""Results beside each other under one price list: ranks by storage, operations and score, and the distinctions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import ConfigError
from .printable import page
from .profiles import Profile
from .qualifiers import sentences
from .report import columns
from .result import Result, price_result
from .score_section import TASK, stored_ratio
from .standing import NOT_VALIDATED, Standing, scored_texts, standings
from .text_in_tokens import tokenizer_cells, tokenizer_figures
from .verdicts import MAX_TOLERANCE, check_max_tolerance

SCHEMA = "lm-meter/ranking/1"
_BY = ("storage", "operations", "score")
_DISTINCTIONS = (("storage", "highly_storage_efficient"), ("operations", "highly_compute_efficient"))


def rank(
    results: Sequence[tuple[str, Result]], profile: Profile, max_tolerance: float = MAX_TOLERANCE
) -> dict[str, Any]:
    """Rank named results, the lowest score first.

    Only what passes is ranked: ``standing.py`` says what. Equal figures share a rank; what has none comes last, with
    the reason, and a foreign entry with the figures that it claims. The best tenth of the ranked by storage and by
    operations, rounded up, are distinguished, as the challenge did with its top 10 %.

    Parameters
    ----------
    results : sequence
        Names, and results as ``load_result`` gives them.
    profile : Profile
    max_tolerance : float
        The widest tolerance of a validation's claim that may pass, as a fraction of it.

    Raises
    ------
    ConfigError
        Where the profile has no score.
    """
    if TASK not in profile.tasks:
        raise ConfigError(f"profile {profile.name} is a general view, under which there is no score to rank by")
    check_max_tolerance(max_tolerance)
    priced = [price_result(result, profile) for _, result in results]
    found = standings([(result.document, result.validation) for result in priced], max_tolerance)
    rows = [
        _row(name, result.document, standing)
        for (name, _), result, standing in zip(results, priced, found, strict=True)
    ]
    ranked = [row for row in rows if row["unranked"] is None]
    for key in _BY:
        figures = sorted(row[key] for row in ranked)
        for row in rows:
            row[f"{key}_rank"] = None if row["unranked"] else 1 + figures.index(row[key])
    distinguished = math.ceil(len(ranked) / 10)
    for key, distinction in _DISTINCTIONS:
        best = sorted(row[key] for row in ranked)[:distinguished]
        for row in rows:
            row[distinction] = row["unranked"] is None and row[key] in best
    rows.sort(key=lambda row: (row["unranked"] is not None, row["unmetered"], row["score"] or 0, row["name"]))
    return {
        "schema": SCHEMA,
        "profile": profile.name,
        "max_tolerance": max_tolerance,
        "distinguished": distinguished,
        "texts": scored_texts([result.document for result in priced]),
        "notes": list(dict.fromkeys(line for standing in found for line in sentences(standing.qualifiers))),
        "results": rows,
    }


def _row(name: str, document: Mapping[str, Any], standing: Standing) -> dict[str, Any]:
    """The figures of a priced result, before any rank."""
    score, text = document["score"], document["text"]
    return {
        "name": name,
        "text": text["name"],
        "text_sha256": text["sha256"],
        "word_tokens": text["word_tokens"],
        "partial": document["partial"],
        "status": standing.status,
        "unranked": standing.excluded,
        "qualifiers": [qualifier.label for qualifier in standing.qualifiers],
        "perplexity": document["perplexity"]["word"],
        "meets_gate": score["meets_gate"],
        "storage": stored_ratio(score),
        "operations": score["operations_ratio"],
        "score": score["total"],
        "claimed": score["claimed"],
        "unmetered": document["entry"] is not None,
        "tokenizer": tokenizer_figures(document),
    }


def ranking_table(found: dict[str, Any]) -> str:
    """``rank`` as a table."""
    gates = {True: "met", False: "NOT MET", None: "not asked"}
    rows = [["result", "status", "perplexity", "gate", "storage", "#", "operations", "#", "score", "#", "qualifiers"]]
    for row in found["results"]:
        figures = [cell for key in _BY for cell in _cells(row, key)]
        perplexity = "overflow" if row["perplexity"] is None else f"{row['perplexity']:.3f}"
        start = [row["name"], row["status"], perplexity, gates[row["meets_gate"]]]
        rows.append([*start, *figures, "; ".join(row["qualifiers"]) or "-"])
    lines = [f"{found['profile']}: lower is better", *columns(rows), ""]
    head = ("tokenizer", "bytes", "longest token", "word tokens a prediction")
    lines += [*columns([head, *((row["name"], *tokenizer_cells(row["tokenizer"])) for row in found["results"])]), ""]
    for _, distinction in _DISTINCTIONS:
        names = ", ".join(row["name"] for row in found["results"] if row[distinction])
        words = distinction.replace("_", " ", 1).replace("_", "-")
        lines.append(f"{words} (the best tenth, here {found['distinguished']}): {names or '-'}")
    lines += [_unranked_line(row) for row in found["results"] if row["unranked"]]
    if all(row["status"] == NOT_VALIDATED for row in found["results"]):
        lines.append("no result here was validated (lm-meter validate): ranks are of measured figures, not of claims")
    if len(found["texts"]) > 1:
        lines.append(f"the results are of different texts: {', '.join(found['texts'])}")
    return page([*lines, *found["notes"]])


def _cells(row: dict[str, Any], key: str) -> tuple[str, str]:
    """A figure and its rank."""
    rank = row[f"{key}_rank"]
    return ("-" if row["unmetered"] else f"{row[key]:.5f}", "-" if rank is None else str(rank))


def _unranked_line(row: dict[str, Any]) -> str:
    """Why a result has no rank; and what a foreign entry claims, apart from what was measured of others."""
    if not row["unmetered"]:
        return f"not ranked: {row['name']} ({row['unranked']})"
    names = (("storage", "storage_ratio"), ("operations", "operations_ratio"), ("score", "total"))
    claimed = [
        f"{name} {row['claimed'][key]:.5f}" for name, key in names if (row["claimed"] or {}).get(key) is not None
    ]
    return f"not ranked, as it is unmetered: {row['name']} (claims {', '.join(claimed) or 'nothing'})"
