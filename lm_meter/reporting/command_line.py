"""The command that repeats a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ..corpora import CORPORA
from ..defaults import sample_path, sample_text

_PLAIN = {"first_token": "score", "oov": "error"}


def command_of(document: Mapping[str, Any]) -> str:
    """``lm-meter eval`` with the checkpoint or program, text and options of a result, quoted for a shell."""
    words = ["lm-meter", "eval", *_model(document)]
    text = document["text"]
    corpus, _, split = text["name"].partition("/")
    if corpus in CORPORA and split in CORPORA[corpus].splits:
        words += ["--corpus", corpus, "--split", split]
    else:
        # Without --text the command would take another text where a public one is on the machine.
        is_sample = text["name"] == sample_text().name and text["sha256"] == sample_text().sha256
        words += ["--text", str(sample_path()) if is_sample else text["name"]]
    for option, value in _options(document).items():
        if value is not None and value != _PLAIN.get(option):
            words += [f"--{option.replace('_', '-')}", str(value)]
    profile = document["operations_per_token"]["profile"]
    # A value that begins with a hyphen belongs to the option before it all the same.
    return shlex.join([*_joined(words), "--profile", profile])


def _model(document: Mapping[str, Any]) -> list[str]:
    entry = document.get("entry")
    if entry is None:
        return ["--checkpoint", document["checkpoint"]["path"]]
    timeout = f"{entry['timeout']:g}"
    return ["--entry", entry["command"], "--vocabulary", entry["vocabulary"]["path"], "--entry-timeout", timeout]


def _joined(words: list[str]) -> list[str]:
    found: list[str] = []
    for word in words:
        if found and found[-1].startswith("--") and word.startswith("-") and not word.startswith("--"):
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def _options(document: Mapping[str, Any]) -> dict[str, Any]:
    """Of the run; of an older result those that it lets see."""
    if document["run"] is not None:
        options = document["run"]["options"]
        # A program is sent one token at a time by one thread.
        kept = options if document.get("entry") is None else ("first_token", "limit", "oov")
        return {name: options[name] for name in kept}
    online, cache = document["online"], document["online"]["continuous_cache"]
    return {
        "block": online["block"],
        "threads": document["environment"]["threads"],
        "first_token": document["text"]["first_token"],
        "oov": "unk" if document["text"]["replaced_by_unk"] else None,
        "policy": online["policy"] if online["context"] else None,
        "context": online["context"],
        "continuous_cache": f"{cache['size']},{cache['theta']},{cache['lambda']}" if cache else None,
    }
