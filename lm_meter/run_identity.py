"""What the bits of a pass depend on: checkpoint, text and those options that are not a matter of speed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .context import STATE, Context
from .continuous_cache import ContinuousCache
from .hash_chain import HashChain
from .run_options import RunOptions

# What decides each.
_OPTIONS = {
    "policy": ("policy", "context"),
    "context": ("policy", "context"),
    "continuous_cache": ("continuous_cache",),
}


def seen(context: Context | None, continuous: ContinuousCache) -> dict[str, Any]:
    """What a prediction is made from, as the section ``online`` of a result has it."""
    return {
        "policy": str(context) if context else STATE,
        "context": context.length if context else None,
        "continuous_cache": continuous.to_json() if continuous.size else None,
    }


def run_identity(
    hashes: tuple[str, str, str], options: RunOptions, context: Context | None, continuous: ContinuousCache
) -> dict[str, Any]:
    """The identity of a pass before it is made; two passes that share it give the same log-probabilities.

    ``hashes``: SHA-256 of the checkpoint's file, of the text's, and of the text's tokens. ``context`` and
    ``continuous``: as they are run.
    """
    return {
        "checkpoint": hashes[0],
        "text": hashes[1],
        "tokens": hashes[2],
        "first_token": options.first_token,
        "limit": options.limit,
        "oov": options.oov,
        **seen(context, continuous),
    }


def document_identity(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same from a result; a foreign entry is known by its command, what it answered, and its vocabulary."""
    options, online, entry = document["run"]["options"], document["online"], document["entry"]
    foreign = {name: entry[name] for name in ("command", "protocol", "values", "dtype")} if entry else {}
    return {
        **({"entry": foreign | {"vocabulary": entry["vocabulary"]["sha256"]}} if entry else {}),
        "checkpoint": document["checkpoint"]["sha256"],
        "text": document["text"]["sha256"],
        **_tokens(document["text"]),
        "first_token": document["text"]["first_token"],
        "limit": options["limit"],
        "oov": options["oov"],
        **{name: online[name] for name in ("policy", "context", "continuous_cache")},
    }


def _tokens(text: Mapping[str, Any]) -> dict[str, str]:
    """The hash of the tokens, which older results do not have."""
    return {} if text["tokens_sha256"] is None else {"tokens": text["tokens_sha256"]}


def identity_bytes(identity: Mapping[str, Any]) -> bytes:
    """An identity as a hash chain starts with it: JSON with sorted keys and no blanks, in ASCII."""
    return json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def document_chain(document: Mapping[str, Any]) -> HashChain:
    """The chain of a result before its first log-probability."""
    return HashChain(identity_bytes(document_identity(document)))


def contradicted_options(
    document: Mapping[str, Any], context: Context | None, continuous: ContinuousCache
) -> list[str]:
    """A message for each option of a result that gives something else than the result says was run.

    ``context`` and ``continuous``: what the options give with the result's checkpoint.
    """
    options, online, given = document["run"]["options"], document["online"], seen(context, continuous)
    return [
        f"online.{name} is {online[name]!r:.80} in the result, but {expected!r:.80} by its "
        + " and ".join(f"run.options.{option} {options[option]!r:.40}" for option in _OPTIONS[name])
        for name, expected in given.items()
        if online[name] != expected
    ]
