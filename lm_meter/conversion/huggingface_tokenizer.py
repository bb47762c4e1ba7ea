"""The ``tokenizer.json`` of a Hugging Face folder: what of it a checkpoint declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os.path import lexists
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..regular_file import read_regular
from ..strict_json import parse_json
from ..tokenizers import HuggingFaceTokenizer
from ..tokenizers.guarded import MOST_BYTES
from .huggingface_start import start_token
from .json_object import as_object, read_json_object

_FILE = "tokenizer.json"


@dataclass(frozen=True)
class ReadTokenizer:
    """The file, the ``tokenizer`` entry of a checkpoint, and what a conversion says of both."""

    raw: bytes
    config: dict[str, Any]
    start_from: str
    notes: tuple[str, ...]


def read_tokenizer(folder: Path, given: Path | None, rows: int) -> ReadTokenizer:
    """Read a tokenizer, from ``given`` if that is not in the folder, for a softmax of so many ``rows``."""
    file = given or folder / _FILE
    if given is None and not lexists(file):
        raise CheckpointError(
            f"{folder}: has no {_FILE}; write one with AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) "
            "of the transformers library, or name one with --tokenizer"
        )
    raw = read_regular(file, MOST_BYTES)
    settings_file = folder / "tokenizer_config.json"
    settings = read_json_object(settings_file) if lexists(settings_file) else {}
    start, reason = start_token(_document(raw, file), settings, str(file))
    read = HuggingFaceTokenizer(raw, str(file))
    if start is not None and read.number(start) is None:
        start, reason = None, f"{reason} names {start!r:.40}, which is no token"
    config: dict[str, Any] = {"kind": "huggingface", "start": start}
    notes, tokens = [], read.size
    if tokens != rows:
        config["tokens"] = tokens
        notes.append(f"{tokens} tokens, {rows} rows of the softmax: " + _rows(tokens, rows))
    return ReadTokenizer(raw, config, reason, tuple(notes))


def _rows(tokens: int, rows: int) -> str:
    if tokens < rows:
        return "every prediction is over all rows"
    return "a text that uses a token without a row is refused"


def _document(raw: bytes, file: Path) -> Mapping[str, Any]:
    try:
        return as_object(parse_json(raw), file)
    except ValueError as error:
        raise CheckpointError(f"{file}: is not JSON ({error}); expected a tokenizer.json") from None
