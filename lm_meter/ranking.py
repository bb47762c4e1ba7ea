"""Results beside each other under one price list: ranks by storage, operations and score, and the distinctions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .errors import ConfigError
from .printable import page
from .profiles import Profile
from .report import columns
from .result import Result, price_result
from .score_section import TASK

SCHEMA = "lm-meter/ranking/1"
_BY = ("storage", "operations", "score")
_DISTINCTIONS = (("storage", "highly_storage_efficient"), ("operations", "highly_compute_efficient"))


def rank(results: Sequence[tuple[str, Result]], profile: Profile) -> dict[str, Any]:
    """Rank named results, the lowest score first.

    Equal figures share a rank. A foreign entry has none, as nothing of it is metered: it comes last, with the figures
    that it claims. Of those that are complete and do not fail the gate, the best tenth by storage and by
    operations, rounded up, are distinguished, as the challenge did with its top 10 %.

    Raises
    ------
    ConfigError
        Where the profile has no score.
    """
    if TASK not in profile.tasks:
        raise ConfigError(f"profile {profile.name} is a general view, under which there is no score to rank by")
    rows = []
    for name, result in results:
        priced = price_result(result, profile)
        score = priced["score"]
        rows.append(
            {
                "name": name,
                "text": priced["text"]["name"],
                "word_tokens": priced["text"]["word_tokens"],
                "partial": priced["partial"],
                "perplexity": priced["perplexity"]["word"],
                "meets_gate": score["meets_gate"],
                "storage": score["storage_ratio"],
                "operations": score["operations_ratio"],
                "score": score["total"],
                "claimed": score["claimed"],
                "unmetered": priced["entry"] is not None,
            }
        )
    for key in _BY:
        figures = sorted(row[key] for row in rows if not row["unmetered"])
        for row in rows:
            row[f"{key}_rank"] = None if row["unmetered"] else 1 + figures.index(row[key])
    fails = [row["meets_gate"] is False or row["partial"] or row["unmetered"] for row in rows]
    distinguished = math.ceil(fails.count(False) / 10)
    for key, distinction in _DISTINCTIONS:
        best = sorted(row[key] for row, failed in zip(rows, fails, strict=True) if not failed)[:distinguished]
        for row, failed in zip(rows, fails, strict=True):
            row[distinction] = not failed and row[key] in best
    rows.sort(key=lambda row: (row["unmetered"], row["score"] or 0, row["name"]))
    return {"schema": SCHEMA, "profile": profile.name, "distinguished": distinguished, "results": rows}


def ranking_table(found: dict[str, Any]) -> str:
    """``rank`` as a table."""
    gates = {True: "met", False: "NOT MET", None: "not asked"}
    rows = [["result", "perplexity", "gate", "storage", "#", "operations", "#", "score", "#"]]
    for row in found["results"]:
        figures = [cell for key in _BY for cell in _cells(row, key)]
        perplexity = "overflow" if row["perplexity"] is None else f"{row['perplexity']:.3f}"
        name = f"{row['name']} (partial)" if row["partial"] else row["name"]
        rows.append([name, perplexity, gates[row["meets_gate"]], *figures])
    lines = [f"{found['profile']}: lower is better", *columns(rows), ""]
    for _, distinction in _DISTINCTIONS:
        names = ", ".join(row["name"] for row in found["results"] if row[distinction])
        words = distinction.replace("_", " ", 1).replace("_", "-")
        lines.append(f"{words} (the best tenth, here {found['distinguished']}): {names or '-'}")
    failed = [row["name"] for row in found["results"] if row["meets_gate"] is False or row["partial"]]
    lines += [_unmetered_line(row) for row in found["results"] if row["unmetered"]]
    if failed:
        lines.append(f"not among these, as they do not meet the gate or are partial: {', '.join(failed)}")
    texts = sorted({f"{row['text']} ({row['word_tokens']:,} word tokens)" for row in found["results"]})
    if len(texts) > 1:
        lines.append(f"the results are of different texts: {', '.join(texts)}")
    return page(lines)


def _cells(row: dict[str, Any], key: str) -> tuple[str, str]:
    """A figure and its rank."""
    return ("-", "-") if row["unmetered"] else (f"{row[key]:.5f}", str(row[f"{key}_rank"]))


def _unmetered_line(row: dict[str, Any]) -> str:
    """What a foreign entry claims, said of it apart from what was measured of others."""
    names = (("storage", "storage_ratio"), ("operations", "operations_ratio"), ("score", "total"))
    claimed = [
        f"{name} {row['claimed'][key]:.5f}" for name, key in names if (row["claimed"] or {}).get(key) is not None
    ]
    return f"not ranked, as it is unmetered: {row['name']} (claims {', '.join(claimed) or 'nothing'})"
