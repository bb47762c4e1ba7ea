"""What a result document must have before it may be priced and printed."""

from __future__ import annotations

import copy
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .context import STATE
from .entry_fields import limited_of_entry, unmetered_fields
from .errors import ConfigError
from .hash_chain import TOKENS_PER_LINK
from .kernels.charge import KINDS, MAX_BITS
from .later_sections import LATER, LATER_OF_TEXT, check_later_of_text
from .models.vocabulary import ALL, NEEDED
from .profiles import PROFILES
from .regions import ROLES
from .run_identity import document_chain
from .run_options import FIRST_TOKEN
from .storage import ROLES as ROLES_OF_TENSORS
from .text_blocks import BLOCKS
from .threads import MAX_THREADS
from .uncertainty import METHOD

# For each field: a type, (type, None) where it may be null, the fields of an object ({str: ...}: of any names), or the
# one kind of entry of a list. No number is negative.
_FIELDS: dict[str, Any] = {
    "partial": bool,
    "checkpoint": {"path": str, "sha256": str, "architecture": str},
    "text": {
        "name": str,
        "sha256": str,
        "word_tokens": int,
        "pieces": int,
        "scored": int,
        "bytes": int,
        "first_token": str,
        "replaced_by_unk": int,
        "whole": bool,
        **dict.fromkeys(LATER_OF_TEXT, (int, None)),
        "tokens_sha256": (str, None),
    },
    "nll_nats": float,
    "perplexity": {"word": (float, None), "piece": (float, None), "bits_per_byte": (float, None)},
    "histogram": [{"region": str, "kind": str, "bits_a": int, "bits_b": int, "count": int}],
    "regions": [{"name": str, "role": str, "moves": [str]}],
    "operations_per_token": {
        "profile": str,
        "unit": str,
        "total": float,
        "matrix_vector": float,
        "macs": (float, None),
        "by_kind": {str: float},
        "by_region": {str: float},
        "per_piece": float,
    },
    "score": {
        "profile": str,
        "task": str,
        "storage_ratio": (float, None),
        "operations_ratio": (float, None),
        "total": (float, None),
        "meets_gate": (bool, None),
    },
    "storage": {
        "parameters": float,
        "bits": int,
        "tensors": [
            {"name": str, "shape": [int], "format": str, "width": int, "count": int, "tied_to": (str, None)},
        ],
    },
    "speed": {
        "tokens_per_second": float,
        "seconds": float,
        "load_seconds": float,
        "compile_seconds": float,
        "weight_bytes_per_token": float,
        "stream_bytes_per_second": float,
        "bandwidth_fraction": (float, None),
    },
    "online": {
        "block": int,
        "positions_rechecked": int,
        "bits_equal": bool,
        "policy": str,
        "context": (int, None),
        "own_context": (int, None),
        "softmax_bins": (str, None),
        "continuous_cache": ({"size": int, "theta": float, "lambda": float}, None),
    },
    "memory": {"peak_resident_bytes": int},
    "environment": {"threads": int},
}
_TABLES = ("vocabulary", "merges", "scores", "rules")
_MAX_COUNT = 2**63 - 1  # tallies are int64
# What a run is known by: see ``run_identity.py``.
_HASHED = (
    "checkpoint.sha256, text.sha256, text.tokens_sha256, text.first_token, run.options.limit, run.options.oov, "
    "online.policy, online.context and online.continuous_cache"
)
_LINK = re.compile("[0-9a-f]{64}")


def check_document(document: dict[str, Any], path: Path) -> None:
    """Compare a document that was read from ``path`` with the fields it must have, and these with each other."""
    online = document.get("online")
    if isinstance(online, dict):  # of versions that knew recurrent models with a plain softmax only
        online.setdefault("policy", STATE)
        for key in ("context", "own_context", "softmax_bins", "continuous_cache"):
            online.setdefault(key, None)
    if isinstance(document.get("text"), dict):
        for key in (*LATER_OF_TEXT, "tokens_sha256"):
            document["text"].setdefault(key, None)
    if isinstance(document.get("operations_per_token"), dict):  # of versions that did not count them
        document["operations_per_token"].setdefault("macs", None)
    fields = _FIELDS if document.get("entry") is None else unmetered_fields(_FIELDS)
    _check_fields(document, fields, "", path)
    for name, (without, later) in LATER.items():
        if document.get(name) is None:
            document[name] = copy.copy(without)
        _check_fields(document[name], later, f"{name}.", path)
    check_later_of_text(document["text"], path)
    if document["records"] is not None:  # in older results the second file has no hash
        _check_fields(document["records"].get("words_sha256"), (str, None), "records.words_sha256.", path)
    for number, link in enumerate((document["chain"] or {"links": []})["links"]):
        if not _LINK.fullmatch(link):
            raise ConfigError(
                f"{path}: chain.links.{number} is {link!r:.80}; expected 64 hexadecimal digits; write it again with "
                "eval --output"
            )
    for where, found, allowed in _limited(document):
        if found not in allowed:
            raise ConfigError(
                f"{path}: {where} is {found!r:.40}; expected one of {', '.join(map(str, allowed[:20])):.60}; "
                "write it again with eval --output"
            )
    for where, found, expected in _derived(document):
        if not _equal(found, expected):
            raise ConfigError(
                f"{path}: {where} is {found!r:.40}, but the rest of the document gives {expected!r:.40}; write it "
                "again with eval --output"
            )


def _limited(document: dict[str, Any]) -> Iterator[tuple[str, Any, Sequence[Any]]]:
    """Fields with few possible values: name, value found, values allowed."""
    for number, row in enumerate(document["histogram"]):
        yield f"histogram.{number}.kind", row["kind"], KINDS
        yield f"histogram.{number}.bits_a", row["bits_a"], range(1, MAX_BITS + 1)
        yield f"histogram.{number}.bits_b", row["bits_b"], range(MAX_BITS + 1)
    names = [region["name"] for region in document["regions"]]
    for number, row in enumerate(document["overflows"]):
        yield f"overflows.{number}.region", row["region"], names
        yield f"overflows.{number}.accumulator", row["accumulator"], range(1, MAX_BITS + 1)
    activations = document["activations"] or {"by_region": []}
    for number, row in enumerate(activations["by_region"]):
        yield f"activations.by_region.{number}.region", row["region"], names
    for number, row in enumerate((document["calculation"] or {"regions": []})["regions"]):
        yield f"calculation.regions.{number}.region", row["region"], names
    for number, tensor in enumerate(document["storage"]["tensors"]):
        yield f"storage.tensors.{number}.width", tensor["width"], range(1, MAX_BITS + 1)
        yield f"storage.tensors.{number}.role", tensor.get("role", "values"), ROLES_OF_TENSORS
    for number, region in enumerate(document["regions"]):
        yield f"regions.{number}.role", region["role"], ROLES
    yield "operations_per_token.profile", document["operations_per_token"]["profile"], tuple(PROFILES)
    yield "text.scored", document["text"]["scored"], range(1, _MAX_COUNT)
    yield "text.first_token", document["text"]["first_token"], FIRST_TOKEN
    yield "online.softmax_bins", document["online"]["softmax_bins"], (None, ALL, NEEDED)
    if document["uncertainty"] is not None:
        yield "uncertainty.method", document["uncertainty"]["method"], (METHOD,)
        yield "uncertainty.block", document["uncertainty"]["block"], BLOCKS
    if document["entry"] is not None:
        yield from limited_of_entry(document["entry"])
    if document["chain"] is not None:
        yield "chain.tokens_per_link", document["chain"]["tokens_per_link"], (TOKENS_PER_LINK,)
    yield "online.block", document["online"]["block"], range(1, _MAX_COUNT)
    yield "environment.threads", document["environment"]["threads"], range(1, MAX_THREADS + 1)
    yield "text.whole", document["text"]["whole"], (False,) if document["partial"] else (False, True)


def _derived(document: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What follows from other fields: name, value found, value that follows."""
    unmetered = document["entry"] is not None
    if unmetered:
        yield "checkpoint.path", document["checkpoint"]["path"], document["entry"]["command"]
    bits = 0
    for number, tensor in enumerate(document["storage"]["tensors"]):
        count = 0 if tensor["tied_to"] is not None else _product(tensor["shape"])
        yield f"storage.tensors.{number}.count", tensor["count"], count
        bits += tensor["count"] * tensor["width"]
    yield "storage.bits", document["storage"]["bits"], None if unmetered else bits
    for name, keys in (
        ("histogram", [(row["region"], row["kind"], row["bits_a"], row["bits_b"]) for row in document["histogram"]]),
        ("regions", [region["name"] for region in document["regions"]]),
        ("overflows", [(row["region"], row["accumulator"]) for row in document["overflows"]]),
    ):
        yield f"number of {name}", len(keys), len(set(keys))
    yield from _most_of_regions(document["activations"])
    yield from _run_and_chain(document)
    text, perplexity, nats = document["text"], document["perplexity"], document["nll_nats"]
    yield "text.pieces", text["pieces"], text["scored"] + (text["first_token"] == "skip")
    for key, count in (("word", text["word_tokens"]), ("piece", text["scored"])):
        yield f"perplexity.{key}", perplexity[key], math.exp(nats / count) if count and nats / count < 709 else None
    tokenizer = document["tokenizer"]
    if tokenizer is not None:
        yield "tokenizer.bits", tokenizer["bits"], sum(tokenizer[f"{table}_bits"] for table in _TABLES)
    size = text["bytes"]
    yield "perplexity.bits_per_byte", perplexity["bits_per_byte"], nats / math.log(2) / size if size else None
    if unmetered:
        yield "activations", document["activations"], None
        return
    speed = document["speed"]
    # As floats: the quotient of two long integers might be too large for one.
    read = float(speed["weight_bytes_per_token"]) * float(speed["tokens_per_second"])
    limit = float(speed["stream_bytes_per_second"])
    yield "speed.bandwidth_fraction", speed["bandwidth_fraction"], read / limit if limit else None


def _run_and_chain(document: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Options agree with what was run; the chain begins with the run and has a link for each 1,024 tokens."""
    run, chain = document["run"], document["chain"]
    if run is not None:
        yield "run.options.first_token", run["options"]["first_token"], document["text"]["first_token"]
        yield "run.options.block", run["options"]["block"], document["online"]["block"]
    if chain is not None:
        yield "number of chain.links", len(chain["links"]), 1 + -(-document["text"]["scored"] // TOKENS_PER_LINK)
        if run is not None:
            start = document_chain(document).links()[0]
            hashed = f"entry, {_HASHED}" if document["entry"] else _HASHED
            yield f"chain.links.0, the hash of {hashed},", chain["links"][0], start


def _most_of_regions(activations: dict[str, Any] | None) -> Iterator[tuple[str, Any, Any]]:
    """The most that is alive is that of a region, which is named."""
    if activations is None:
        return
    regions = {row["region"]: row for row in activations["by_region"]}
    yield "number of activations.by_region", len(activations["by_region"]), len(regions)
    for view in ("with_state", "without_state"):
        for unit in ("elements", "bits"):
            found = activations[view]
            most = {name: row[view][unit] for name, row in regions.items()}
            yield f"activations.{view}.{unit}", found[unit], max(most.values(), default=0)
            yield f"activations.{view}.{unit}_in", most.get(found[f"{unit}_in"]), found[unit]


def _product(sizes: Sequence[int]) -> int:
    """Product of sizes, given up where it is more than any count."""
    product = 1
    for size in sizes:
        product = min(product * size, _MAX_COUNT + 1)
    return product


def _equal(found: Any, expected: Any) -> bool:
    """Equal, or the same float but for the rounding of another exponential function."""
    if isinstance(found, int | float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-9)
    return bool(found == expected)


def _check_fields(value: Any, wanted: Any, where: str, path: Path) -> None:
    """Compare a value with its entry of ``_FIELDS``, and the values inside it with theirs."""
    if isinstance(wanted, tuple) and value is not None:
        wanted = wanted[0]
    if isinstance(wanted, dict) and isinstance(value, dict):
        for key, inner in dict.fromkeys(value, wanted[str]).items() if str in wanted else wanted.items():
            if key not in value:
                raise ConfigError(f"{path}: has no {where}{key}; write it again with eval --output")
            _check_fields(value[key], inner, f"{where}{key}.", path)
    elif isinstance(wanted, list) and isinstance(value, list):
        for number, entry in enumerate(value):
            _check_fields(entry, wanted[0], f"{where}{number}.", path)
    elif not _fits(value, wanted):
        raise ConfigError(f"{path}: {where.rstrip('.')} is {value!r:.40}; write it again with eval --output")


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        return value is None
    if wanted is int:
        return type(value) is int and 0 <= value <= _MAX_COUNT
    if wanted is float:
        return type(value) in (int, float) and 0 <= value <= sys.float_info.max  # neither infinite nor NaN
    return isinstance(wanted, type) and isinstance(value, wanted)
