"""Results as rows, one a run: a table for a terminal, Markdown, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from .entry_result import ARCHITECTURE
from .printable import counted, page, printable
from .qualifiers import labels, qualifiers_of, sentences
from .report import columns, number
from .reporting.markdown import plain_text
from .result import Result
from .short_names import short_names

# Columns of a CSV file, in their order; README.md says what each is.
COLUMNS = (
    "checkpoint",
    "checkpoint_sha256",
    "architecture",
    "text",
    "text_sha256",
    "partial",
    "word_tokens",
    "predictions",
    "perplexity",
    "perplexity_low",
    "perplexity_high",
    "perplexity_per_piece",
    "bits_per_byte",
    "profile",
    "operations",
    "operations_matrix_vector",
    "macs",
    "operations_per_piece",
    "parameters",
    "storage_bits",
    "activation_elements",
    "activation_bits",
    "score",
    "meets_gate",
    "gate_verdict",
    "tokens_per_second",
    "seconds",
    "bytes",
    "unscored_bytes",
    "lost_characters",
    "word_tokens_replaced",
    "tokenizer_bits",
    "qualifiers",
)
_UNMETERED = "unmetered"  # of a foreign entry; its claims stand in its result
_GATES = {True: "met", False: "NOT MET", None: "not asked"}


def run_row(result: Result) -> dict[str, Any]:
    """The figures of a run under the names of ``COLUMNS``; None is what a result does not have."""
    text, perplexity, interval = result["text"], result["perplexity"], result["uncertainty"] or {}
    operations, storage, score = result["operations_per_token"], result["storage"], result["score"]
    activations = (result["activations"] or {}).get("with_state", {})
    values = (
        result["checkpoint"]["path"],
        result["checkpoint"]["sha256"],
        result["checkpoint"]["architecture"],
        text["name"],
        text["sha256"],
        result["partial"],
        text["word_tokens"],
        text["scored"],
        perplexity["word"],
        interval.get("word_low"),
        interval.get("word_high"),
        perplexity["piece"],
        perplexity["bits_per_byte"],
        operations["profile"],
        operations["total"],
        operations["matrix_vector"],
        operations["macs"],
        operations["per_piece"],
        storage["parameters"],
        storage["bits"],
        activations.get("elements"),
        activations.get("bits"),
        score["total"],
        score["meets_gate"],
        score["gate_verdict"],
        result["speed"]["tokens_per_second"],
        result["speed"]["seconds"],
        text["bytes"],
        text["unscored_bytes"],
        text["lost_characters"],
        text["word_tokens_replaced"],
        None if result["tokenizer"] is None else result["tokenizer"]["bits"],
        labels(qualifiers_of(result.document, result.validation)),
    )
    return dict(zip(COLUMNS, values, strict=True))


def rows_csv(results: Sequence[Result]) -> str:
    """Rows as CSV (RFC 4180), after one of names: floats with all digits, ``true``, ``false``, nothing for None."""
    file = io.StringIO()
    writer = csv.writer(file)  # its defaults are the RFC's: commas, CR LF, quotes where they are needed, doubled inside
    writer.writerow(COLUMNS)
    for result in results:
        writer.writerow([_csv_cell(value) for value in run_row(result).values()])
    return file.getvalue()


def _csv_cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def rows_markdown(results: Sequence[Result]) -> str:
    """Rows as a table of Markdown."""
    head, *rows = _shown_rows([run_row(result) for result in results], everything=True)
    rule = [":--" if name in ("checkpoint", "text") else "--:" for name in head]
    lines = [head, rule, *([plain_text(printable(cell)) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rows_table(results: Sequence[Result]) -> str:
    """Rows as a table for a terminal; what is the same in all of them stands above it."""
    rows = [run_row(result) for result in results]
    lines = [f"checkpoint  {rows[0]['checkpoint']}"] if len(_distinct(rows, "checkpoint")) == 1 else []
    for name in _distinct(rows, "text"):
        counts = {row["word_tokens"] for row in rows if row["text"] == name}
        lines.append(f"text        {name}" + (f": {counted(counts.pop(), 'word token')}" if len(counts) == 1 else ""))
    operations = results[0]["operations_per_token"]
    lines.append(f"profile     {operations['profile']}: {operations['unit']}")
    lines += ["", *columns(_shown_rows(rows, everything=False), indent="")]
    qualifiers = [each for result in results for each in qualifiers_of(result.document, result.validation)]
    return page([*lines, *sentences(qualifiers)])


def _distinct(rows: Sequence[dict[str, Any]], key: str) -> list[Any]:
    return list(dict.fromkeys(row[key] for row in rows))


def _shown_rows(rows: Sequence[dict[str, Any]], everything: bool) -> list[list[str]]:
    """The row of names, and a row of texts for each run.

    Without ``everything``, no column of one name for all, of lengths of texts that stand above, or of what no run has.
    """
    names = {key: short_names([row[key] for row in rows]) for key in ("checkpoint", "text")}
    table: list[list[str]] = []
    for at, row in enumerate(rows):
        low, high = (_fixed(row[f"perplexity_{end}"], 3) for end in ("low", "high"))
        cells = {
            "checkpoint": names["checkpoint"][at],
            "text": names["text"][at],
            "word tokens": number(row["word_tokens"]),
            "perplexity": _fixed(row["perplexity"], 3),
            "95% interval": "-" if row["perplexity_low"] is None else f"{low} to {high}",
            **{name: _cost(row, name) for name in ("operations", "parameters")},
            "score": _fixed(row["score"], 5),
            "gate": row["gate_verdict"] or _GATES[row["meets_gate"]],
            "tokens/s": _fixed(row["tokens_per_second"], 0),
            "qualifiers": row["qualifiers"] or "-",
        }
        table.append(list(cells.values()))
    head = list(cells)
    if everything:
        return [head, *table]
    needless = {key for key in ("checkpoint", "text") if len(_distinct(rows, key)) == 1}
    if len({(row["text"], row["word_tokens"]) for row in rows}) == len(_distinct(rows, "text")):
        needless.add("word tokens")
    optional = (("score", "score"), ("gate", "meets_gate"), ("qualifiers", "qualifiers"))
    needless |= {name for name, key in optional if all(row[key] in (None, "") for row in rows)}
    kept = [n for n, name in enumerate(head) if name not in needless]
    return [[row[n] for n in kept] for row in [head, *table]]


def _cost(row: dict[str, Any], name: str) -> str:
    return _UNMETERED if row["architecture"] == ARCHITECTURE else number(row[name])


def _fixed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
