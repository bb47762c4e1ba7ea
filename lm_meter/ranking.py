"""Results beside each other under one price list: ranks by storage, operations and score, and the distinctions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .errors import ConfigError
from .profiles import Profile
from .report import columns
from .result import TASK, Result, price_result

SCHEMA = "lm-meter/ranking/1"
_BY = ("storage", "operations", "score")
_DISTINCTIONS = (("storage", "highly_storage_efficient"), ("operations", "highly_compute_efficient"))


def rank(results: Sequence[tuple[str, Result]], profile: Profile) -> dict[str, Any]:
    """Rank named results, the lowest score first.

    Equal figures share a rank. Of those that are complete and do not fail the gate, the best tenth by storage and by
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
            }
        )
    for key in _BY:
        figures = sorted(row[key] for row in rows)
        for row in rows:
            row[f"{key}_rank"] = 1 + figures.index(row[key])
    fails = [row["meets_gate"] is False or row["partial"] for row in rows]
    distinguished = math.ceil(fails.count(False) / 10)
    for key, distinction in _DISTINCTIONS:
        best = sorted(row[key] for row, failed in zip(rows, fails, strict=True) if not failed)[:distinguished]
        for row, failed in zip(rows, fails, strict=True):
            row[distinction] = not failed and row[key] in best
    rows.sort(key=lambda row: (row["score"], row["name"]))
    return {"schema": SCHEMA, "profile": profile.name, "distinguished": distinguished, "results": rows}


def ranking_table(found: dict[str, Any]) -> str:
    """``rank`` as a table."""
    gates = {True: "met", False: "NOT MET", None: "not asked"}
    rows = [["result", "perplexity", "gate", "storage", "#", "operations", "#", "score", "#"]]
    for row in found["results"]:
        figures = [cell for key in _BY for cell in (f"{row[key]:.5f}", str(row[f"{key}_rank"]))]
        perplexity = "overflow" if row["perplexity"] is None else f"{row['perplexity']:.3f}"
        name = f"{row['name']} (partial)" if row["partial"] else row["name"]
        rows.append([name, perplexity, gates[row["meets_gate"]], *figures])
    lines = [f"{found['profile']}: lower is better", *columns(rows), ""]
    for _, distinction in _DISTINCTIONS:
        names = ", ".join(row["name"] for row in found["results"] if row[distinction])
        words = distinction.replace("_", " ", 1).replace("_", "-")
        lines.append(f"{words} (the best tenth, here {found['distinguished']}): {names or '-'}")
    failed = [row["name"] for row in found["results"] if row["meets_gate"] is False or row["partial"]]
    if failed:
        lines.append(f"not among these, as they do not meet the gate or are partial: {', '.join(failed)}")
    texts = sorted({f"{row['text']} ({row['word_tokens']:,} word tokens)" for row in found["results"]})
    if len(texts) > 1:
        lines.append(f"the results are of different texts: {', '.join(texts)}")
    return "\n".join(lines) + "\n"
