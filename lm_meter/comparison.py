"""Two results over the same text beside each other: schema ``lm-meter/comparison/1``.

Every difference is second less first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ConfigError
from .kernels.charge import KINDS
from .loss_differences import block_sums, loss_sections
from .profiles import Profile
from .qualifiers import qualifiers_of, words_replaced
from .report import region_by_kind
from .result import Result, load_result, price_result
from .result_records import ResultRecords, common_rows, load_result_records, records_of
from .uncertainty import FEWEST_BLOCKS, paired_interval

SCHEMA = "lm-meter/comparison/1"
LOWER, HIGHER, TOO_CLOSE = "lower", "higher", "too close to call"
_TENSOR_FIELDS = ("shape", "format", "width", "count", "tied_to", "role")
_UNITS = ("elements", "bits")
# Of the environment, what a speed depends on.
_MACHINE = ("cpu", "threads", "system", "lm_meter", "numba", "llvmlite", "commit")


@dataclass(frozen=True)
class Compared:
    """One of two results: its file's name, the result, and its records or what is to be done to have them."""

    name: str
    result: Result
    records: ResultRecords | None
    missing: str | None = None


def read_compared(path: str, records: str | None = None) -> Compared:
    """Read a result, and its records: those in ``records``, or those that it names and that lie beside it.

    Raises
    ------
    ConfigError
        One of them is none, or they do not fit each other.
    """
    result = load_result(path)
    found = Path(records) if records else records_of(result.document, path)
    if found:
        return Compared(path, result, load_result_records(result.document, found))
    named = result.document.get("records")
    if named:
        missing = f"{path}: its records, {named['file']}, are not there; name them with --records"
    else:
        missing = f"{path}: was made without records; make it again with eval --records FILE.npz"
    return Compared(path, result, None, missing)


def compare(first: Compared, second: Compared, profile: Profile, per_word: bool = False) -> dict[str, Any]:
    """The document of two results over the same text.

    Parameters
    ----------
    first, second : Compared
    profile : Profile
        Prices the operations and parameters of both.
    per_word : bool
        Whether other tokenizations are allowed. Losses are summed over word tokens either way.

    Raises
    ------
    ConfigError
        The texts, the parts of them that were scored, or the tokenizations differ.
    """
    both = [price_result(each.result, profile).document for each in (first, second)]
    _same_text(first, second)
    if not per_word:
        _same_tokenization(first, second)
    interval, losses = _paired(first, second)
    notes, metered = _notes(first, second), all(document["entry"] is None for document in both)
    if losses and not interval:
        notes.append(f"no interval: the text has fewer than {FEWEST_BLOCKS} lines")
    return {
        "schema": SCHEMA,
        "profile": profile.name,
        "unit": profile.unit,
        "per_word": per_word,
        "results": [_described(each, document) for each, document in zip((first, second), both, strict=True)],
        "text": {key: both[0]["text"][key] for key in ("name", "sha256", "word_tokens", "first_token")},
        "notes": notes,
        "perplexity": _perplexity(both, interval),
        "loss": losses,
        "operations": _operations(both) if metered else None,
        "storage": _storage(both) if metered else None,
        "score": _figures(both, lambda d: d["score"]["total"]),
        "activations": _activations(both),
        "speed": _speed(both),
    }


def _same_text(first: Compared, second: Compared) -> None:
    ours, theirs = first.result["text"], second.result["text"]
    if ours["sha256"] != theirs["sha256"]:
        raise ConfigError(
            f"{first.name} is of text {ours['name']} ({ours['sha256'][:12]}) and {second.name} of {theirs['name']} "
            f"({theirs['sha256'][:12]}); expected two results of the same text"
        )
    for key, what in (("first_token", "--first-token"), ("word_tokens", "the same --limit, complete")):
        if ours[key] != theirs[key]:
            raise ConfigError(
                f"{first.name} and {second.name}: text.{key} is {ours[key]} and {theirs[key]}; expected results of the "
                f"same part of the text; evaluate both with {what}"
            )


def _same_tokenization(first: Compared, second: Compared) -> None:
    found = _first_difference(first, second)
    if found:
        raise ConfigError(
            f"{first.name} and {second.name}: the tokenizations differ ({found}), so that single predictions cannot be "
            "compared; compare them with --per-word"
        )


def _first_difference(first: Compared, second: Compared) -> str | None:
    """Where two tokenizations differ: by the counts, and by the pieces where there are records of both."""
    for key in ("pieces", "bytes", "replaced_by_unk"):
        found = first.result["text"][key], second.result["text"][key]
        if found[0] != found[1]:
            return f"text.{key} is {found[0]} and {found[1]}"
    if not (first.records and second.records):
        return None
    one, other = first.records.records, second.records.records
    texts = [r.token_text[np.searchsorted(r.token_id, r.token)] for r in (one, other)]
    differs = (texts[0] != texts[1]) | (one.word != other.word)
    if not differs.any():
        return None
    row = int(np.argmax(differs))
    return f"piece {one.position[row]} is {str(texts[0][row])!r:.40} and {str(texts[1][row])!r:.40}"


def _described(each: Compared, document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "file": each.name,
        "checkpoint": document["checkpoint"]["path"],
        "sha256": document["checkpoint"]["sha256"],
        "architecture": document["checkpoint"]["architecture"],
        "pieces": document["text"]["pieces"],
        "partial": document["partial"],
        "qualifiers": [asdict(one) for one in qualifiers_of(document, each.result.validation)],
        "records": str(each.records.path) if each.records else None,
    }


def _notes(first: Compared, second: Compared) -> list[str]:
    notes = [
        f"no interval, and not where the losses differ: {each.missing}" for each in (first, second) if each.missing
    ]
    ours, theirs = (words_replaced(each.result.document) for each in (first, second))
    if ours != theirs:
        notes.append(
            f"unknown words that were replaced: {ours:,} and {theirs:,}; the two did not predict the same words"
        )
    notes += [
        f"{e.name} is of a foreign entry, whose costs are not metered" for e in (first, second) if e.result["entry"]
    ]
    if first.result["checkpoint"]["sha256"] == second.result["checkpoint"]["sha256"] is not None:
        notes.append("both results are of the same checkpoint")
    return notes


def _paired(first: Compared, second: Compared) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The paired interval and the ``loss`` section, where there are records of both."""
    if not (first.records and second.records):
        return None, None
    losses, theirs = common_rows(first.records.losses, second.records.losses)
    unit, words, (ours, others) = block_sums(losses, losses.nats, theirs)
    interval = paired_interval(ours, others, words, unit)
    return interval.to_json() if interval else None, loss_sections(losses, theirs)


def _perplexity(both: list[dict[str, Any]], interval: dict[str, Any] | None) -> dict[str, Any]:
    words = [document["perplexity"]["word"] for document in both]
    per = both[0]["text"]["word_tokens"]
    nats = (both[1]["nll_nats"] - both[0]["nll_nats"]) / per if per else None
    return {
        **_figures(both, lambda d: d["perplexity"]["word"]),
        "ratio": words[1] / words[0] if None not in words else None,
        "nats_difference": nats,
        "interval": interval,
        # The ratio's interval is that of the nats, through exp: on one side of 1 where that one is on one side of 0.
        "verdict": verdict_of(interval["nats_low"], interval["nats_high"]) if interval else None,
        "verdict_of": "ratio" if interval else None,
    }


def verdict_of(low: float, high: float) -> str:
    """What an interval of a difference, second less first, says of the second."""
    if low <= 0 <= high:
        return TOO_CLOSE
    return LOWER if high < 0 else HIGHER


def _figures(both: list[dict[str, Any]], figure: Any) -> dict[str, Any]:
    """A figure of both and its difference; null where one of them has none."""
    first, second = map(figure, both)
    return {
        "first": first,
        "second": second,
        "difference": None if first is None or second is None else second - first,
    }


def _operations(both: list[dict[str, Any]]) -> dict[str, Any]:
    """Priced operations per word token, of both and their differences."""
    cells = [region_by_kind(document) for document in both]
    regions = list(dict.fromkeys([*cells[0], *cells[1]]))
    kinds = [kind for kind in KINDS if any(kind in d["operations_per_token"]["by_kind"] for d in both)]
    return {
        "total": _figures(both, lambda d: d["operations_per_token"]["total"]),
        "by_kind": {
            kind: _figures(both, lambda d, kind=kind: d["operations_per_token"]["by_kind"].get(kind, 0.0))
            for kind in kinds
        },
        "by_region": {
            region: _figures(both, lambda d, region=region: d["operations_per_token"]["by_region"].get(region, 0.0))
            for region in regions
        },
        "by_region_and_kind": {
            region: {
                kind: _figures(cells, lambda c, at=(region, kind): c.get(at[0], {}).get(at[1], 0.0))
                for kind in kinds
                if any(kind in c.get(region, {}) for c in cells)
            }
            for region in regions
        },
    }


def _storage(both: list[dict[str, Any]]) -> dict[str, Any]:
    """Parameters and bits of both, and the tensors that differ, those of the most bits first."""
    tensors = [{tensor["name"]: tensor for tensor in d["storage"]["tensors"]} for d in both]
    names = list(dict.fromkeys([*tensors[0], *tensors[1]]))
    rows = []
    for name in names:
        found = [_tensor(each.get(name)) for each in tensors]
        if found[0] != found[1]:
            bits = [each["bits"] if each else 0 for each in found]
            rows.append({"name": name, "first": found[0], "second": found[1], "bits_difference": bits[1] - bits[0]})
    rows.sort(key=lambda row: -abs(row["bits_difference"]))
    return {
        "parameters": _figures(both, lambda d: d["storage"]["parameters"]),
        "bits": _figures(both, lambda d: d["storage"]["bits"]),
        "tensors": rows,
        "equal_tensors": len(names) - len(rows),
    }


def _tensor(tensor: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if tensor is None:
        return None
    fields = {key: tensor.get(key, "values" if key == "role" else None) for key in _TENSOR_FIELDS}
    return {**fields, "bits": tensor["count"] * tensor["width"]}


def _activations(both: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not all(document["activations"] for document in both):
        return None
    return {
        view: {unit: _figures([d["activations"][view] for d in both], itemgetter(unit)) for unit in _UNITS}
        for view in ("with_state", "without_state")
    }


def _speed(both: list[dict[str, Any]]) -> dict[str, Any]:
    """Word tokens a second, pieces a second, and what of the machines and the way of running differs."""
    environments = [{**d["environment"], "block": d["online"]["block"]} for d in both]
    differs = [key for key in (*_MACHINE, "block") if environments[0].get(key) != environments[1].get(key)]
    return {
        "tokens_per_second": _ratio(both, lambda d: d["speed"]["tokens_per_second"]),
        "word_tokens_per_second": _ratio(both, _words_per_second),
        "environment_differs": {key: [each.get(key) for each in environments] for key in differs},
    }


def _words_per_second(document: Mapping[str, Any]) -> float:
    text = document["text"]
    return document["speed"]["tokens_per_second"] * text["word_tokens"] / text["scored"]


def _ratio(both: list[dict[str, Any]], figure: Any) -> dict[str, Any]:
    first, second = map(figure, both)
    ratio = second / first if first else None
    return {"first": first, "second": second, "ratio": ratio if ratio is None or math.isfinite(ratio) else None}
