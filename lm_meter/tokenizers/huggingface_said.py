"""What the tokens of a ``tokenizer.json`` say, read from its parts and not from its decoder.

A byte-level tokenizer writes each byte as a letter (``bytes_to_unicode`` of GPT-2). Others write a blank as a sign of
its own, U+2581 as a rule, a byte that has no token as ``<0x0A>``, and mark where a word begins or ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .tables import SCORE_BITS, Tables, pair_bits, table_bits

_BYTE = re.compile("<0x([0-9A-F]{2})>")
_FLAG_BYTES = 1  # of an added token: special, single word, blanks at its sides, normalised


def _byte_letters() -> dict[str, int]:
    """The byte that each letter of a byte-level tokenizer stands for."""
    printed = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + n): byte for n, byte in enumerate(others)}


_LETTERS = _byte_letters()


class TokenJson:
    """A ``tokenizer.json``, which is ``document`` as an object; see ``said``, ``unknown`` and ``tables``."""

    def __init__(self, text: str) -> None:
        self.document: dict[str, Any] = json.loads(text)
        self._model: dict[str, Any] = self.document["model"]
        self._steps = [*_parts(self.document.get("normalizer")), *_parts(self.document.get("pre_tokenizer"))]
        self.added = {entry["id"]: entry["content"] for entry in self.document.get("added_tokens") or ()}

    @property
    def puts_blanks(self) -> bool:
        """Whether a blank is put in front of a text, and of what follows an added token."""
        return any(
            step["type"] == "Prepend"
            or (step["type"] == "Metaspace" and step.get("prepend_scheme", "always") != "never")
            or (step["type"] == "ByteLevel" and step.get("add_prefix_space"))
            for step in self._steps
        )

    def chance(self) -> str | None:
        """The setting by which the tokens of a text depend on chance, None where there is none."""
        for name in ("dropout", "nbest_size", "alpha"):
            if self._model.get(name):
                return f"model.{name} is {self._model[name]!r:.20}"
        return None

    def unknown(self, numbers: Mapping[str, int]) -> int | None:
        """Number of the token that stands for what the model does not know."""
        if self._model.get("unk_id") is not None:
            return int(self._model["unk_id"])
        token = self._model.get("unk_token")
        return numbers.get(token) if isinstance(token, str) else None

    def said(self, numbers: Mapping[str, int]) -> list[bytes]:
        """What each token says: nothing where a number has no token."""
        # A token that is added and in the model's vocabulary too is what the model makes of it, which texts have.
        entries = self._model.get("vocab") or ()
        vocabulary = set(entries if isinstance(entries, dict) else (entry[0] for entry in entries))
        found = [b""] * (1 + max(numbers.values(), default=-1))
        is_of_bytes = any(step["type"] == "ByteLevel" for step in self._steps)
        blanks = [sign for step in self._steps if (sign := _blank_sign(step))]
        for token, number in numbers.items():
            if number in self.added and token not in vocabulary:
                found[number] = token.encode("utf-8", "surrogatepass")
            elif is_of_bytes and all(letter in _LETTERS for letter in token):
                found[number] = bytes(_LETTERS[letter] for letter in token)
            else:
                found[number] = self._of_letters(token, blanks)
        return found

    def _of_letters(self, token: str, blanks: list[str]) -> bytes:
        byte = _BYTE.fullmatch(token) if self._model.get("byte_fallback") else None
        if byte:
            return bytes([int(byte[1], 16)])
        prefix, suffix = (
            self._model.get(f"{name}") or "" for name in ("continuing_subword_prefix", "end_of_word_suffix")
        )
        text = token.removeprefix(prefix)
        if suffix and text.endswith(suffix):
            text = f"{text.removesuffix(suffix)} "
        for sign in blanks:
            text = text.replace(sign, " ")
        return text.encode("utf-8", "surrogatepass")

    def tables(self, said: list[bytes]) -> Tables:
        """What is stored: tokens as they are said, merges, scores, and what normalises and cuts a text, as JSON."""
        rest = {key: value for key, value in self._model.items() if key not in ("vocab", "merges")}
        rules = {name: self.document.get(name) for name in ("normalizer", "pre_tokenizer")} | {"model": rest}
        is_scored = isinstance(self._model.get("vocab"), list)
        return Tables(
            vocabulary_bits=table_bits(said) + 8 * _FLAG_BYTES * len(self.added),
            merges_bits=pair_bits(len(self._model.get("merges") or ()), len(said)),
            scores_bits=SCORE_BITS * len(self._model["vocab"]) if is_scored else 0,
            rules_bits=8 * len(json.dumps(rules, ensure_ascii=False, separators=(",", ":")).encode()),
            longest_token=max(map(len, said), default=0),
        )


def _parts(step: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """A step, or those of a sequence of them."""
    if step is None:
        return
    inner = step.get("normalizers") or step.get("pretokenizers")
    if step["type"] == "Sequence":
        for each in inner or ():
            yield from _parts(each)
    else:
        yield step


def _blank_sign(step: dict[str, Any]) -> str | None:
    """The sign that a step writes for a blank."""
    if step["type"] == "Metaspace":
        return str(step["replacement"])
    if step["type"] == "Replace" and step["pattern"] == {"String": " "} and step["content"]:
        return str(step["content"])
    return None
