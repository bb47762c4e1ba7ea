"""A comparison of two results as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .comparison import HIGHER, LOWER, verdict_of
from .printable import counted, page, printable
from .report import columns, number, operations_table, pairs

_HEAD = ("", "A", "B", "B - A")
_STORED = (("parameters", "parameters (profile's unit)"), ("bits", "bits"))
_MOST_TENSORS = 12
_MOST_TEXT = 24  # characters of a word or of the name of a tensor
_SIDES = ("A", "B")


def comparison_table(found: dict[str, Any]) -> str:
    """``compare`` as a table."""
    text = found["text"]
    lines = pairs(
        [
            *((side, f"{each['file']} ({'; '.join([each['architecture'], *_labels(each)])})")
              for side, each in zip(_SIDES, found["results"], strict=True)),
            ("text", f"{text['name']}: {counted(text['word_tokens'], 'word token')}"),
        ],
        indent="",
    )  # fmt: skip
    qualifiers = [f"{each['label']}: {each['sentence']}" for side in found["results"] for each in side["qualifiers"]]
    lines += [f"note: {note}" for note in dict.fromkeys([*qualifiers, *found["notes"]])]
    lines += ["", *_perplexity_lines(found["perplexity"])]
    if found["loss"]:
        lines += _loss_lines(found["loss"])
    if found["operations"]:
        lines += ["", *_operations_lines(found), "", *_storage_lines(found["storage"])]
    if found["activations"]:
        lines += ["", *_activation_lines(found["activations"])]
    if found["score"]["difference"] is not None:
        lines += ["", "score", *columns([_HEAD, _row("total", found["score"], 5)])]
    lines += ["", *_speed_lines(found["speed"])]
    return page(lines)


def _labels(side: dict[str, Any]) -> list[str]:
    return [qualifier["label"] for qualifier in side["qualifiers"]]


def _fixed(value: float | None, digits: int, plus: str = "") -> str:
    return "-" if value is None else f"{value:{plus},.{digits}f}"


def _row(name: str, figures: dict[str, Any], digits: int) -> list[str]:
    difference = _fixed(figures["difference"], digits, "+")
    return [name, *(_fixed(figures[side], digits) for side in ("first", "second")), difference]


def _count_row(name: str, figures: dict[str, Any]) -> list[str]:
    difference = figures["difference"]
    plus = "+" if difference > 0 else ""
    return [name, number(figures["first"]), number(figures["second"]), plus + number(difference)]


def _perplexity_lines(found: dict[str, Any]) -> list[str]:
    lines = [
        "perplexity",
        *columns([(*_HEAD, "B / A"), [*_row("per word token", found, 3), _fixed(found["ratio"], 5)]]),
    ]
    interval = found["interval"]
    if interval:
        ratios = [_beside_one(interval[f"ratio_{end}"]) for end in ("low", "high")]
        differences = [interval[f"difference_{end}"] for end in ("low", "high")]
        low, high = (_fixed(value, 3, "+") for value in differences)
        how = f"paired {interval['method']}, {interval['blocks']:,} {interval['block']}s"
        verdict = f"B is {found['verdict']}" if found["verdict"] in (LOWER, HIGHER) else found["verdict"]
        lines += [
            f"  {interval['level']:.0%} interval of B / A: {ratios[0]} to {ratios[1]} ({how}); by it: {verdict}",
            f"  of B - A, from the same blocks: {low} to {high}",
        ]
        if None not in differences and (other := verdict_of(*differences)) != found["verdict"]:
            lines.append(f"  by the interval of B - A alone the verdict were: {other}; the two are made apart")
    return lines


def _beside_one(ratio: float | None) -> str:
    """A ratio in which, however near, it can be seen on which side of 1 it is."""
    shown = _fixed(ratio, 5)
    return f"1{ratio - 1:+.1e}" if ratio is not None and ratio != 1 and float(shown.replace(",", "")) == 1 else shown


def _loss_lines(loss: dict[str, Any]) -> list[str]:
    head = ("words", "A", "B", "B - A", "total")
    by_frequency = [("times in this text", *head), *map(_band, loss["by_frequency"])]
    by_place = [(f"place in {loss['position_in']}", *head), *map(_band, loss["by_position"])]
    by_word = [("word", "count", "A", "B", "total")]
    by_word += [
        (
            _shown(row["word"]),
            f"{row['count']:,}",
            _fixed(row["first_nats"], 3),
            _fixed(row["second_nats"], 3),
            _fixed(row["total_difference"], 2, "+"),
        )
        for row in loss["by_word"]
    ]
    return [
        "",
        "loss in nats per word token, by how often the word stands in this text",
        *columns(by_frequency),
        "",
        f"loss by the word's place in its {loss['position_in']}, from 1" if loss["position_in"] != "text"
        else "loss by the word's place in the text, from 1",
        *columns(by_place),
        "",
        "words whose losses differ most in all",
        *columns(by_word),
    ]  # fmt: skip


def _band(row: dict[str, Any]) -> Sequence[str]:
    last = row["to"]
    name = f"{row['from']:,}" if last == row["from"] else f"{row['from']:,} or more" if last is None else ""
    return (
        name or f"{row['from']:,}-{last:,}",
        f"{row['words']:,}",
        _fixed(row["first_nats_per_word"], 3),
        _fixed(row["second_nats_per_word"], 3),
        _fixed(row["difference"], 4, "+"),
        _fixed(row["total_difference"], 1, "+"),
    )


def _shown(text: str) -> str:
    """A word on one line of a table: no line ends or other signs that are not printed, and not without end."""
    plain = printable(text)
    return plain if len(plain) <= _MOST_TEXT else plain[: _MOST_TEXT - 3] + "..."


def _operations_lines(found: dict[str, Any]) -> list[str]:
    operations = found["operations"]
    token = "word token" if found["text"]["word_tokens"] else "piece"
    rows = [_HEAD, _count_row("total", operations["total"])]
    rows += [_count_row(f"  {kind}", figures) for kind, figures in operations["by_kind"].items()]
    lines = [f"operations per {token} ({found['profile']}: {found['unit']})", *columns(rows)]
    if operations["total"]["difference"] == 0 and not any(_differing(operations["by_region"])):
        return [*lines, "  no region differs"]

    def differences(figures: dict[str, Any]) -> dict[str, float]:
        return {name: each["difference"] for name, each in figures.items()}

    changed = {
        "total": operations["total"]["difference"],
        "by_kind": differences(operations["by_kind"]),
        "by_region": differences(operations["by_region"]),
    }
    by_region_and_kind = {region: differences(cells) for region, cells in operations["by_region_and_kind"].items()}
    return [*lines, "", "operations, B - A", *operations_table(changed, by_region_and_kind)]


def _differing(figures: dict[str, Any]) -> list[float]:
    return [each["difference"] for each in figures.values()]


def _storage_lines(storage: dict[str, Any]) -> list[str]:
    rows = [
        _HEAD,
        _count_row("parameters (profile's unit)", storage["parameters"]),
        _count_row("bits", storage["bits"]),
    ]
    lines = ["parameter storage", *columns(rows)]
    tensors = storage["tensors"]
    if tensors:
        shown = [("tensor", "A", "B", "bits, B - A")]
        shown += [
            (_shown(row["name"]), _form(row["first"]), _form(row["second"]), number(row["bits_difference"]))
            for row in tensors[:_MOST_TENSORS]
        ]
        lines += columns(shown)
    if len(tensors) > _MOST_TENSORS:
        lines.append(f"  and {len(tensors) - _MOST_TENSORS} tensors more that differ; --format json lists them")
    return [*lines, f"  {storage['equal_tensors']} tensors of equal shape, format and width (values are not compared)"]


def _form(tensor: dict[str, Any] | None) -> str:
    if tensor is None:
        return "not there"
    shape = "x".join(map(str, tensor["shape"])) or "1"
    tied = ", tied" if tensor["tied_to"] else ""
    return f"{shape} {tensor['format']}{tied}"


def _activation_lines(activations: dict[str, Any]) -> list[str]:
    rows = [
        _count_row(f"{view.replace('_', ' ')}, {unit}", activations[view][unit])
        for view in activations
        for unit in activations[view]
    ]
    return ["numbers alive at once, weights excluded (MTAS)", *columns([_HEAD, *rows])]


def _speed_lines(speed: dict[str, Any]) -> list[str]:
    rows: list[tuple[str, ...]] = [("", "A", "B", "B / A")]
    for key, name in (("tokens_per_second", "pieces a second"), ("word_tokens_per_second", "word tokens a second")):
        figures = speed[key]
        rows.append((name, *(_fixed(figures[side], 1) for side in ("first", "second")), _fixed(figures["ratio"], 3)))
    lines = ["speed", *columns(rows)]
    differs = speed["environment_differs"]
    if not differs:
        return [*lines, "  of two runs; what is recorded of their machines and versions is the same"]
    return [
        *lines,
        "  of two runs that differ in more than the model:",
        *(f"    {key}: {values[0]} and {values[1]}" for key, values in differs.items()),
    ]
