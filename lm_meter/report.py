"""Results as tables for a terminal of 80 columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from .entry_report import answer_rows, claim_rows, unmetered_heading
from .histogram import rows_from_json
from .models.vocabulary import NEEDED
from .printable import counted, page, printable
from .profiles import PROFILES
from .qualifiers import qualifiers_of, sentences
from .result import Result
from .score import price
from .storage import is_narrow, tensors_from_json
from .tokenizer_rows import token_rows, tokenizer_rows, unscored_words

_TERMINAL = 80  # columns
_LAYER = re.compile(r"^layers\.[0-9]+\.")
_KIND_NAMES = {"multiply": "mult", "add": "add", "divide": "div", "transcendental": "transc", "compare": "cmp",
               "bitwise": "bit", "convert": "conv"}  # fmt: skip


def number(value: float | int | None, digits: int = 1) -> str:
    """A count with thousands separators; whole numbers without a fraction."""
    if value is None:
        return "-"
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.{digits}f}"


def columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Rows as aligned columns: the first to the left, the others to the right."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        (indent + "  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]))
        .rstrip()
        for row in rows
    ]  # fmt: skip


def pairs(rows: Sequence[tuple[str, str]], indent: str = "  ") -> list[str]:
    """Names and their values, both to the left."""
    width = max(len(printable(name)) for name, _ in rows)
    return [f"{indent}{printable(name).ljust(width)}  {printable(value)}" for name, value in rows]


def _folded(regions: dict[str, Any], nothing: Any, add: Callable[[Any, Any], Any]) -> dict[str, Any]:
    """Values of regions, those of all layers added together."""
    found: dict[str, Any] = {}
    for region, value in regions.items():
        name = _LAYER.sub("layers.*.", region)
        found[name] = add(found.get(name, nothing), value)
    return found


def operations_table(operations: dict[str, Any], by_region_and_kind: dict[str, dict[str, float]]) -> list[str]:
    """Operations per token by region and kind; in thousands or millions where these would not fit the terminal.

    What the layers of a deep model have in common is one row: the document has them one by one.
    """
    operations = {**operations, "by_region": _folded(operations["by_region"], 0.0, lambda a, b: a + b)}
    by_region_and_kind = _folded(
        by_region_and_kind, {}, lambda a, b: {k: a.get(k, 0) + b.get(k, 0) for k in {**a, **b}}
    )
    lines = _operations_lines(operations, by_region_and_kind, "{:,.0f}", 1)
    for name, shown, unit in (("thousands", "{:,.1f}", 1_000), ("millions", "{:,.2f}", 1_000_000)):
        if max(map(len, lines)) <= _TERMINAL:
            break
        lines = _operations_lines(operations, by_region_and_kind, shown, unit, f"region, {name}")
    return lines


def _operations_lines(
    operations: dict[str, Any],
    by_region_and_kind: dict[str, dict[str, float]],
    shown: str,
    unit: int,
    corner: str = "region",
) -> list[str]:
    """Aligned lines; ``corner`` names the unit of the numbers in them, and of none outside."""

    def count(value: float) -> str:
        return "." if value == 0 else shown.format(value / unit)

    kinds = [kind for kind in _KIND_NAMES if kind in operations["by_kind"]]
    rows = [[corner, *(_KIND_NAMES[kind] for kind in kinds), "total"]]
    for region, total in operations["by_region"].items():
        cells = by_region_and_kind.get(region, {})
        rows.append([region, *(count(cells.get(kind, 0)) for kind in kinds), count(total)])
    rows.append(["total", *(count(operations["by_kind"][kind]) for kind in kinds), count(operations["total"])])
    return columns(rows)


def product_lines(operations: dict[str, Any]) -> list[str]:
    """What of the operations are products with weight matrices, and all that other counters call MACs."""
    lines = [f"  matrix-vector products with their biases: {number(operations['matrix_vector'])}"]
    if operations["macs"] is not None:
        lines.append(f"  multiply-accumulates of all matrix products (MACs): {number(operations['macs'])}")
    return lines


def region_by_kind(document: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Priced operations per token of each region and kind, from the histogram."""
    profile = PROFILES[document["operations_per_token"]["profile"]]
    roles = {region["name"]: region["role"] for region in document["regions"]}
    narrow = is_narrow(tensors_from_json(document["storage"]["tensors"]))
    priced = price(rows_from_json(document["histogram"]), roles, profile, narrow)
    per = document["text"]["word_tokens"] or document["text"]["scored"]
    return {
        region: {kind: float(value / per) for kind, value in cells.items()}
        for region, cells in priced.by_region_and_kind.items()
    }


def result_table(result: Result) -> str:
    """The whole report of a pass."""
    d = result.document
    text, perplexity, operations = d["text"], d["perplexity"], d["operations_per_token"]
    qualifiers, words = sentences(qualifiers_of(d, result.validation)), counted(text["word_tokens"], "word token")
    lines = [*qualifiers, *([""] if qualifiers else [])]
    lines += pairs(
        [
            ("entry" if d["entry"] else "checkpoint", f"{d['checkpoint']['path']} ({d['checkpoint']['architecture']})"),
            ("text", f"{text['name']}: {words}, {counted(text['scored'], 'prediction')}"),
        ],
        indent="",
    )
    lines += ["", "perplexity"]
    lines += pairs(
        [
            ("per word token", _ppl(perplexity["word"]) if text["word_tokens"] else "no word tokens"),
            ("per piece", _ppl(perplexity["piece"])),
            ("bits per byte", _ppl(perplexity["bits_per_byte"]) + unscored_words(text)),
        ]
    )
    lines += _interval_lines(d["uncertainty"])
    if d["entry"]:
        return page([*lines, *_unmetered_lines(d)])
    token = "word token" if text["word_tokens"] else "piece"
    lines += ["", f"operations per {token} ({operations['profile']}: {operations['unit']})"]
    lines += operations_table(operations, region_by_kind(d))
    lines += product_lines(operations)
    lines.append(f"  per piece: {number(operations['per_piece'])}")
    lines += [
        f"  {row['region']}: {row['accumulator']}-bit accumulators overflowed {counted(row['count'], 'time')}"
        for row in d["overflows"]
    ]
    lines += ["", "parameter storage"]
    lines += pairs(
        [
            ("parameters (profile's unit)", number(d["storage"]["parameters"])),
            ("bits", number(d["storage"]["bits"])),
            *_bits_by_role(d["storage"]["tensors"]),
            *tokenizer_rows(d["tokenizer"]),
            *token_rows(text),
        ]
    )
    if d["activations"]:
        lines += ["", *activation_lines(d["activations"])]
    lines += ["", *_score_lines(d["score"]), "", *_speed_lines(d)]
    if d["records"]:
        lines += ["", f"records: {d['records']['file']}", "  ranks in it were found beside the run and are not charged"]
    return page(lines)


def _bits_by_role(tensors: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Bits of each kind of number, where there are others than the weights' own."""
    bits: dict[str, int] = {}
    for tensor in tensors:
        role = tensor.get("role", "values")
        bits[role] = bits.get(role, 0) + tensor["count"] * tensor["width"]
    return [(f"  {role}", number(count)) for role, count in bits.items()] if len(bits) > 1 else []


def activation_lines(activations: dict[str, Any]) -> list[str]:
    """The section on the most numbers alive at any moment, with and without those that live from token to token."""
    rows = []
    for view in ("with_state", "without_state"):
        most = activations[view]
        shown = f"{number(most['elements'])} ({number(most['bits'])} bits), in {most['elements_in']}"
        rows.append((view.replace("_", " "), shown))
    return ["numbers alive at once, weights excluded (MTAS)", *pairs(rows)]


def _interval_lines(uncertainty: dict[str, Any] | None) -> list[str]:
    """The interval of the perplexity per word token, and what was resampled for it."""
    if uncertainty is None:
        return []
    low, high, level = _ppl(uncertainty["word_low"]), _ppl(uncertainty["word_high"]), uncertainty["level"]
    how = f"{uncertainty['method']}, {uncertainty['blocks']:,} {uncertainty['block']}s"
    return [f"  {level:.0%} interval per word token: {low} to {high} ({how})"]


def _ppl(value: float | None) -> str:
    return "overflow" if value is None else f"{value:.3f}"


def _unmetered_lines(d: dict[str, Any]) -> list[str]:
    """The rest of the report of a foreign entry."""
    claims = claim_rows(d)
    lines = ["", unmetered_heading(d), *(pairs(claims) if claims else [])]
    if PROFILES[d["score"]["profile"]].tasks:
        lines.append(_gate_line(d["score"]))
    return [*lines, "", "speed", *pairs(answer_rows(d))]


def _score_lines(score: dict[str, Any]) -> list[str]:
    if score["total"] is None:
        return [f"score: none; {score['profile']} is a general view"]
    return [
        "score (159M parameters and 318M operations are 1 each; lower is better)",
        *pairs(
            [
                ("storage", f"{score['storage_ratio']:.5f}"),
                ("tokenizer", _ratio(score["tokenizer_ratio"])),
                ("operations", f"{score['operations_ratio']:.5f}"),
                ("total", f"{score['total']:.5f} ({score['total_without_tokenizer']:.5f} without the tokenizer)"),
            ]
        ),
        _gate_line(score),
    ]


def _ratio(value: float | None) -> str:
    return "not known" if value is None else f"{value:.5f}"


def _gate_line(score: dict[str, Any]) -> str:
    gate = {True: "met", False: "not met", None: "not asked, not the whole test set as is"}[score["meets_gate"]]
    if score["meets_gate"] is None and score["gate_verdict"]:
        gate = score["gate_verdict"]
    elif score["gate_verdict"]:
        margin = score["gate_margin"]
        side = "below" if margin >= 0 else "above"
        gate += f", {abs(margin):.3f} {side} it; by its interval: {score['gate_verdict']}"
    return f"  gate, word perplexity of 35 or less: {gate}"


def _choices(online: dict[str, Any]) -> list[tuple[str, str]]:
    """The context policy and the bins of the softmax that were evaluated, where there is a choice."""
    lines = []
    if online["context"]:
        lines.append(("context", f"{online['policy']}, {counted(online['context'], 'token')}"))
    if online["softmax_bins"]:
        bins = {"all": "all, for every prediction", "needed": "the first, and the target's"}
        lines.append(("softmax bins", bins[online["softmax_bins"]]))
    if cache := online["continuous_cache"]:
        settings = f"{counted(cache['size'], 'output')}, theta {cache['theta']:g}, lambda {cache['lambda']:g}"
        lines.append(("continuous cache", settings))
    return lines


def _bandwidth(speed: dict[str, Any], needed: bool) -> str:
    """The rate at which weights were read, beside that of a plain reader, which need not be the limit.

    ``needed``: whether bins of the softmax that were not needed count as read.
    """
    fraction, rate = speed["bandwidth_fraction"], f"{speed['stream_bytes_per_second'] / 1e9:.1f} GB/s"
    if fraction is None:
        return "-"
    if fraction <= 1:
        return f"{100 * fraction:.1f} % of {rate}"
    not_read = ", or not all bins were read" if needed else ""
    return f"more than a plain reader's {rate}, which was disturbed, or the weights lay in a cache{not_read}"


def _speed_lines(d: dict[str, Any]) -> list[str]:
    speed, online, threads = d["speed"], d["online"], counted(d["environment"]["threads"], "thread")
    needed = online["softmax_bins"] == NEEDED
    equal = "equal bits" if online["bits_equal"] else "BITS DIFFER"
    return [
        "speed",
        *pairs(
            [
                ("tokens a second", f"{speed['tokens_per_second']:,.1f}"),
                ("seconds", f"{speed['seconds']:.2f} (compiling {speed['compile_seconds']:.2f} not included)"),
                (
                    "weights read",
                    f"{'at most ' if needed else ''}{speed['weight_bytes_per_token'] / 1e6:.2f} MB a token",
                ),
                ("memory bandwidth", _bandwidth(speed, needed)),
                (
                    "on-line",
                    f"block {online['block']}, {counted(online['positions_rechecked'], 'position')} alone: {equal}",
                ),
                *_choices(online),
                ("peak memory", f"{d['memory']['peak_resident_bytes'] / 1e6:.0f} MB, {threads}"),
            ]
        ),
    ]
