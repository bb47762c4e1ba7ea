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
    given = _model(document)
    text = document["text"]
    corpus, _, split = text["name"].partition("/")
    if corpus in CORPORA and split in CORPORA[corpus].splits:
        given |= {"corpus": corpus, "split": split}
    else:
        # Without --text the command would take another text where a public one is on the machine.
        is_sample = text["name"] == sample_text().name and text["sha256"] == sample_text().sha256
        given["text"] = str(sample_path()) if is_sample else text["name"]
    given |= {name: value for name, value in _options(document).items() if value not in (None, _PLAIN.get(name))}
    given["profile"] = document["operations_per_token"]["profile"]
    words = ["lm-meter", "eval", *(word for name, value in given.items() for word in _words(name, value))]
    return " ".join(map(_quoted, words))


def _model(document: Mapping[str, Any]) -> dict[str, Any]:
    entry = document.get("entry")
    if entry is None:
        return {"checkpoint": document["checkpoint"]["path"]}
    timeout = f"{entry['timeout']:g}"
    return {"entry": entry["command"], "vocabulary": entry["vocabulary"]["path"], "entry_timeout": timeout}


def _words(name: str, value: Any) -> list[str]:
    """An option and its value, which belongs to it though it begin with a hyphen."""
    option, word = f"--{name.replace('_', '-')}", str(value)
    return [f"{option}={word}"] if word.startswith("-") else [option, word]


def _quoted(word: str) -> str:
    """A word for a shell. What is not printed, which a document cannot show, stands as octal bytes inside $''."""
    if word.isprintable():
        return shlex.quote(word)
    raw = word.encode("utf-8", "surrogateescape")
    return "$'" + "".join(chr(b) if 32 <= b < 127 and chr(b) not in "\\'" else f"\\{b:03o}" for b in raw) + "'"


def _options(document: Mapping[str, Any]) -> dict[str, Any]:
    """Of the run; of an older result those that it lets see."""
    if document["run"] is not None:
        options = document["run"]["options"]
        # A program is sent one token at a time by one thread.
        kept = options if document.get("entry") is None else ("first_token", "limit", "oov")
        return {name: options[name] for name in kept}
    online, cache, text = document["online"], document["online"]["continuous_cache"], document["text"]
    # A first token that is not scored is a word of the limit all the same.
    words = text["word_tokens"] + (text["first_token"] == "skip")
    return {
        "block": online["block"],
        "threads": document["environment"]["threads"],
        "first_token": text["first_token"],
        "limit": None if text["whole"] or document["partial"] else words,
        "oov": "unk" if text["replaced_by_unk"] else None,
        "policy": online["policy"] if online["context"] else None,
        "context": online["context"],
        "continuous_cache": f"{cache['size']},{cache['theta']},{cache['lambda']}" if cache else None,
    }
