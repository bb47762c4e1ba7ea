"""Sections of a report on the run itself: perplexity and gate, activations, how to repeat it, hashes, conventions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..conventions import CONVENTIONS, PRICES
from ..printable import counted
from ..qualifiers import words_replaced
from ..report import number
from .blocks import Block, Code, Section, Table, Text, pairs
from .command_line import command_of
from .facts import Facts

_BITS = {True: "equal bits", False: "BITS DIFFER", None: "its predictions came one by one"}


def perplexity_section(facts: Facts) -> Section:
    """Perplexity, its interval, the gate and the score."""
    d, score = facts.document, facts.document["score"]
    rows = [
        ("per word token", _perplexity(d["perplexity"]["word"])),
        ("per piece", _perplexity(d["perplexity"]["piece"])),
        ("bits per byte", _perplexity(d["perplexity"]["bits_per_byte"])),
        ("sum of negative log-likelihoods", f"{d['nll_nats']:,.6f} nats"),
    ]
    if interval := d["uncertainty"]:
        low, high = _perplexity(interval["word_low"]), _perplexity(interval["word_high"])
        how = f"{interval['method']}, {number(interval['blocks'])} {interval['block']}s"
        rows.append((f"{interval['level']:.0%} interval per word token", f"{low} to {high} ({how})"))
    if score["total"] is not None:
        rows.append(("score", _sum(score)))
    if facts.profile.tasks:
        rows.append(("gate: word perplexity of 35 or less on the whole test set", gate_words(score)))
    title = "Perplexity" if score["total"] is None else "Perplexity and score"
    return Section(title, [pairs("Measured", rows)])


def _sum(score: dict[str, Any]) -> str:
    """The parts of a score: the model's storage, the tokenizer's where it is known, operations."""
    parts = [score[name] for name in ("storage_ratio", "tokenizer_ratio", "operations_ratio")]
    terms = " + ".join(f"{part:.6f}" for part in parts if part is not None)
    return f"{terms} = {score['total']:.6f}; without the tokenizer {score['total_without_tokenizer']:.6f}"


def gate_words(score: dict[str, Any]) -> str:
    """What became of the gate."""
    words = {True: "met", False: "NOT MET", None: "not asked: not the whole test set as it is"}[score["meets_gate"]]
    if score["meets_gate"] is None and score["gate_verdict"]:
        return str(score["gate_verdict"])
    if score["gate_verdict"]:
        margin = score["gate_margin"]
        words += (
            f", {abs(margin):.4f} {'below' if margin >= 0 else 'above'} it; by its interval: {score['gate_verdict']}"
        )
    return words


def _perplexity(value: float | None) -> str:
    return "-" if value is None else f"{value:,.6f}"


def activations_section(facts: Facts) -> Section:
    """The most numbers alive at once."""
    activations = facts.document["activations"]
    if activations is None:
        return Section(
            "Activations alive at once (MTAS)", [Text("Not measured by the version that wrote this result.")]
        )
    rows = []
    for view in ("with_state", "without_state"):
        most = activations[view]
        where = f"{most['elements_in']}; bits: {most['bits_in']}"
        rows.append((view.replace("_", " "), where, number(most["elements"]), number(most["bits"])))
    regions = [
        (
            row["region"],
            *(number(row[view][unit]) for view in ("with_state", "without_state") for unit in ("elements", "bits")),
        )
        for row in activations["by_region"]
    ]
    head = ("region", "with state: numbers", "bits", "without state: numbers", "bits")
    return Section(
        "Activations alive at once (MTAS)",
        [
            Text(
                "The most numbers, and bits, alive at any moment: inputs, outputs, scratch and state, weights excluded."
            ),
            Table("Maximum transient activation size", ("view", "in", "numbers", "bits"), rows, numbers=2, code=(1,)),
            Section("By region", [Table("Activations by region", head, regions)], folded=True),
        ],
    )


def reproduction_section(facts: Facts) -> Section:
    """The command, what it ran over, and the hashes that identify both."""
    d = facts.document
    blocks: list[Block] = [Code(command_of(d))]
    if d["run"] is None:
        blocks.append(Text("This result does not say how it was run: the options are those that can be seen from it."))
    text, online = d["text"], d["online"]
    blocks.append(
        pairs(
            "What was run",
            [
                ("checkpoint", f"{d['checkpoint']['path']} ({d['checkpoint']['architecture']})"),
                ("SHA-256 of the checkpoint", d["checkpoint"]["sha256"] or "none"),
                ("text", text["name"]),
                ("SHA-256 of the text", text["sha256"]),
                ("word tokens", number(text["word_tokens"])),
                ("predictions", number(text["scored"])),
                ("bytes", number(text["bytes"])),
                ("bytes that no token says", number(text["unscored_bytes"])),
                ("characters lost", number(text["lost_characters"])),
                ("SHA-256 of the tokens", text["tokens_sha256"] or "none"),
                ("whole text", "yes" if text["whole"] else "no"),
                ("words replaced by the unknown one", number(words_replaced(d))),
                ("context", _context(online)),
                ("block, positions recomputed alone", f"{online['block']}, {online['positions_rechecked']}: "
                 + _BITS[online["bits_equal"]]),
                *_chain(d),
            ],
            code=(1,),
        )
    )  # fmt: skip
    environment = [
        (key, ", ".join(map(str, v)) if isinstance(v, list) else str(v)) for key, v in d["environment"].items()
    ]
    blocks.append(pairs("Environment", environment, code=(1,)))
    speed = d["speed"]
    blocks.append(
        pairs(
            "Speed",
            [
                ("tokens a second", number(speed["tokens_per_second"])),
                ("seconds of the pass", f"{speed['seconds']:,.2f}"),
                ("weights read a token", _megabytes(speed["weight_bytes_per_token"])),
                ("peak memory of the process", _megabytes(d["memory"]["peak_resident_bytes"])),
            ],
        )
    )
    return Section("How to repeat it", blocks)


def _megabytes(size: float | None) -> str:
    return "not measured" if size is None else f"{size / 1e6:,.2f} MB"


def _context(online: Mapping[str, Any]) -> str:
    if online["policy"] is None:
        return "the program's own"
    found = str(online["policy"]) + (f", {counted(online['context'], 'token')}" if online["context"] else "")
    if cache := online["continuous_cache"]:
        found += f"; continuous cache of {number(cache['size'])}, theta {cache['theta']}, lambda {cache['lambda']}"
    return found


def _chain(document: Any) -> list[tuple[str, str]]:
    chain = document["chain"]
    if chain is None or not chain["links"]:
        return []
    links = f"{counted(len(chain['links']), 'link')} of {number(chain['tokens_per_link'])} tokens"
    return [(f"last hash of the log-probabilities ({links})", chain["links"][-1])]


def conventions_section(facts: Facts) -> Section:
    """What is counted, and the price list."""
    operation, parameter = PRICES[facts.profile.name]
    prices = [("operation", operation), ("parameter", parameter)]
    task = facts.profile.tasks.get("wikitext-103")
    if task is not None:
        prices.append(
            (
                "score",
                f"parameters / {number(task.parameters)} + operations / {number(task.operations)}; lower is better",
            )
        )
    sentences = [sentence.replace("`", "").replace("*", "") for sentence in CONVENTIONS]
    return Section("Conventions", [*map(Text, sentences), pairs(f"Prices of {facts.profile.name}", prices)])


def claims_section(facts: Facts) -> Section:
    """What a foreign program claims of itself."""
    entry, claimed = facts.document["entry"], facts.document["score"].get("claimed")
    blocks: list[Block] = [
        Text(
            "UNMETERED. Somebody's own program made the predictions. The perplexity was measured here; operations and "
            "storage are what the program claims, and nobody counted them."
        ),
        Code(str(entry["command"])),
    ]
    rows = [(f"{key} (claimed, unmetered)", _claim(value)) for key, value in (entry["claims"] or {}).items()]
    rows += [
        (f"score: {key.replace('_', ' ')} (claimed, unmetered)", _claim(value))
        for key, value in (claimed or {}).items()
    ]
    blocks.append(pairs("Claims, unmetered", rows) if rows else Text("The program claims nothing of them."))
    others = [row for key, value in entry.items() if key not in ("command", "claims") for row in _told(key, value)]
    return Section("Claims of a foreign entry", [*blocks, pairs("The program", others, code=(1,))])


def _told(key: str, value: Any) -> list[tuple[str, str]]:
    """Rows of a value, of the values in an object, or of files with their hashes."""
    if isinstance(value, Mapping):
        return [(f"{key}: {name}", str(inner)) for name, inner in value.items()]
    if isinstance(value, list):
        return [(f"SHA-256 of {file['name']}", file["sha256"]) for file in value]
    return [(key, "-" if value is None else str(value))]


def _claim(value: Any) -> str:
    if value is None:
        return "not claimed"
    return number(value, 6) if type(value) in (int, float) else str(value)
