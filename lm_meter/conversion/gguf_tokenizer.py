"""The byte-level tokenizer of a GGUF file as a ``tokenizer.json``: every ``tokenizer.*`` entry is used or refused.

Tokens have types. User-defined and control tokens, and the unknown one, are found in a text as they are written, before
it is cut; no merge makes or breaks them. All others come from bytes and merges. How a text is cut is named by
``tokenizer.ggml.pre``; where that is missing llama.cpp cuts as for ``default``, and so does this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import CheckpointError
from .bpe_json import DEFAULT_CUT, byte_level_json

_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
_TYPES = range(7)  # undefined, normal, unknown, control, user-defined, unused, byte
# Entries that change nothing of which tokens a text has: what ends or fills one, scores that pairs do not use, chats.
IDLE = (
    *(
        f"tokenizer.ggml.{name}_token_id"
        for name in (
            "eos", "eot", "eom", "unknown", "seperator", "padding", "mask", "cls", "prefix", "suffix", "middle",
            "fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep",
        )
    ),
    "tokenizer.ggml.add_eos_token",
    "tokenizer.ggml.add_sep_token",
    "tokenizer.ggml.token_type_count",
    "tokenizer.ggml.scores",
    "tokenizer.huggingface.json",
)  # fmt: skip
# Entries that would change tokens but for these values.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "tokenizer.ggml.add_space_prefix": (False,),
    "tokenizer.ggml.remove_extra_whitespaces": (False,),
}


class Fields(Protocol):
    """The metadata of a file, as ``gguf.py`` reads them."""

    def get(self, key: str, default: Any = None) -> Any:
        """A value, or ``default``; CheckpointError where there is neither."""

    def texts(self, key: str) -> list[str]:
        """A list of texts."""


@dataclass(frozen=True)
class GgufTokenizer:
    """A ``tokenizer.json``, how many tokens it has, the one that begins a text, and what a conversion says of it."""

    json: str
    size: int
    start: str | None
    notes: tuple[str, ...]


def read_gguf_tokenizer(fields: Fields, path: Path) -> GgufTokenizer:
    """The tokenizer of a file; CheckpointError where it is of another kind than byte-level pairs."""
    kind = fields.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise CheckpointError(f"{path}: tokenizer.ggml.model is {kind!r:.60}; expected 'gpt2', byte-level pairs")
    tokens, merges = fields.texts("tokenizer.ggml.tokens"), fields.texts("tokenizer.ggml.merges")
    if len(set(tokens)) != len(tokens):
        raise CheckpointError(f"{path}: tokenizer.ggml.tokens has a token twice; expected each once")
    types = fields.get("tokenizer.ggml.token_type", [])
    if not isinstance(types, list) or len(types) not in (0, len(tokens)) or any(t not in _TYPES for t in types):
        raise CheckpointError(
            f"{path}: tokenizer.ggml.token_type is {types!r:.40}; expected a number from 0 to {_TYPES[-1]} for each of "
            f"its {len(tokens)} tokens"
        )
    added = {n: t != _USER_DEFINED for n, t in enumerate(types) if t in (_UNKNOWN, _CONTROL, _USER_DEFINED)}
    cut = fields.get("tokenizer.ggml.pre", "")
    try:
        json = byte_level_json(tokens, merges, str(cut) or DEFAULT_CUT, added)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    start = _start(fields, tokens, path)
    unsaid = f"tokenizer.ggml.pre is missing: texts are cut as llama.cpp does then, which it calls {DEFAULT_CUT!r}"
    return GgufTokenizer(json, len(tokens), start, () if cut else (unsaid,))


def _start(fields: Fields, tokens: list[str], path: Path) -> str | None:
    """The token that begins a text, if texts begin with one."""
    added = fields.get("tokenizer.ggml.add_bos_token", False)
    if type(added) is not bool:
        raise CheckpointError(f"{path}: tokenizer.ggml.add_bos_token is {added!r:.40}; expected true or false")
    if not added:
        fields.get("tokenizer.ggml.bos_token_id", 0)  # of no use then
        return None
    number = fields.get("tokenizer.ggml.bos_token_id")
    if type(number) is not int or not 0 <= number < len(tokens):
        raise CheckpointError(
            f"{path}: tokenizer.ggml.bos_token_id is {number!r:.40}; expected one of its {len(tokens)} tokens"
        )
    return tokens[number]
