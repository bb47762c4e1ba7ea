"""The records of a result: found, and held against it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ConfigError
from .record_table import is_by_word
from .records import Records, Words, read_records, read_words, words_path
from .regular_file import open_regular
from .run_identity import document_chain

_AGAIN = "expected the records that eval --records wrote with it"


@dataclass(frozen=True)
class WordLosses:
    """A result's losses, a row for each word token, or for several that no piece tells apart.

    Attributes
    ----------
    word : (n,) int64
        Number of the last word token of the row, ascending.
    words : (n,) int64
        Word tokens that the row counts for; their sum is the result's ``word_tokens``.
    line : (n,) int64
    article : (n,) int32
        -1 of a text without articles.
    nats : (n,) float64
    text : (n,) NumPy array of str
    is_text : bool
        Whether that is what stands in the text, not what the vocabulary calls it.
    """

    word: np.ndarray
    words: np.ndarray
    line: np.ndarray
    article: np.ndarray
    nats: np.ndarray
    text: np.ndarray
    is_text: bool


@dataclass(frozen=True)
class ResultRecords:
    """Records that fit a result."""

    path: Path
    records: Records
    losses: WordLosses


def records_of(document: Mapping[str, Any], result: str | Path) -> Path | None:
    """The file of records that a result names, beside the result or under its own name; None if it is not there."""
    named = document.get("records")
    if not named:
        return None
    found = Path(named["file"])
    return next((path for path in (Path(result).parent / found.name, found) if path.is_file()), None)


def load_result_records(document: Mapping[str, Any], path: str | Path) -> ResultRecords:
    """Read a file of records, hold it against a result, and sum its losses by words; errors as ``fitting_records``."""
    records = fitting_records(document, path)
    return ResultRecords(Path(path), records, _word_losses(document, records, Path(path)))


def fitting_records(document: Mapping[str, Any], path: str | Path) -> Records:
    """Read a file of records and hold it against a result.

    Raises
    ------
    ConfigError
        They are another run's, or one of both was changed.
    """
    path = Path(path)
    records = read_records(path)
    for field, file in hashed_files(document, path):
        if file_sha256(file) != document["records"][field]:
            raise ConfigError(f"{file}: its SHA-256 is not that of records.{field} in the result; {_AGAIN}")
    wrong = words_without_hash(document, path, records)
    if wrong:
        raise ConfigError(f"{path}: {wrong}; {_AGAIN}")
    for what, found, expected in _pairs(document, records):
        if found != expected:
            raise ConfigError(f"{path}: {what} is {found!s:.70}, in the result {expected!s:.70}; {_AGAIN}")
    return records


def hashed_files(document: Mapping[str, Any], path: Path) -> list[tuple[str, Path]]:
    """Files of records whose hashes a result has: the field of the section ``records``, and the file."""
    named, beside = document.get("records"), words_path(path)
    if not named:
        return []
    second = [("words_sha256", beside)] if beside and named.get("words_sha256") is not None else []
    return [("sha256", path), *second]


def words_without_hash(document: Mapping[str, Any], path: Path, records: Records) -> str | None:
    """What is wrong where a result has no hash of a second file that there is, or one of a file that there is not."""
    named = document.get("records")
    if not named or "words_sha256" not in named:  # of an older version
        return None
    beside, has_hash = words_path(path), named["words_sha256"] is not None
    has_words = beside is not None and not is_by_word(records.by_word())
    if has_words == has_hash:
        return None
    return (
        "records.words_sha256 in the result is a hash, but no word tokens are in a second file"
        if has_hash
        else "records.words_sha256 in the result is null, but word tokens are in a second file"
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file of records, in hexadecimal."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {_AGAIN}") from None


def _pairs(document: Mapping[str, Any], records: Records) -> list[tuple[str, Any, Any]]:
    """What both say: name, in the records, in the result."""
    text = document["text"]
    pairs: list[tuple[str, Any, Any]] = [
        (f"{name}_sha256", found, document[name]["sha256"])
        for name, found in (("text", records.text_sha256), ("checkpoint", records.checkpoint_sha256))
        if found is not None
    ]
    pairs += [
        ("the number of rows", records.size, text["scored"]),
        ("the first position", int(records.position[0]), int(text["first_token"] == "skip")),
        ("the sum of losses", -math.fsum(records.log_prob), document["nll_nats"]),
    ]
    operations = sum(records.operations.tolist())  # as integers without end
    # Of a foreign entry there are none.
    pairs.append(("the sum of operations", operations, sum(row["count"] for row in document["histogram"])))
    if document["chain"] is not None and document["run"] is not None:
        chain = document_chain(document)
        chain.add(records.log_prob)
        pairs.append(("the last link of the chain", chain.links()[-1], document["chain"]["links"][-1]))
    return pairs


def _word_losses(document: Mapping[str, Any], records: Records, path: Path) -> WordLosses:
    spoken = read_words(path)
    sums = spoken or records.by_word()
    counts = np.diff(sums.word, prepend=sums.word[0])
    counts[0] = document["text"]["word_tokens"] - (sums.word[-1] - sums.word[0])
    if counts[0] < 0:
        raise ConfigError(
            f"{path}: its word tokens are more than {document['text']['word_tokens']}, the result's; {_AGAIN}"
        )
    text, is_text = _texts(records, spoken), spoken is not None
    return WordLosses(sums.word, counts, sums.line, sums.article, -sums.log_prob, text, is_text)


def _texts(records: Records, spoken: Words | None) -> np.ndarray:
    if spoken is not None:
        return np.array(spoken.text, object)
    return records.token_text[np.searchsorted(records.token_id, records.token)].astype(object)


def common_rows(first: WordLosses, second: WordLosses) -> tuple[WordLosses, np.ndarray]:
    """The first one's losses, and the nats of the second one, over the rows that end with the same word tokens.

    Raises
    ------
    ConfigError
        Where they do not end with the same one.
    """
    ends = np.intersect1d(first.word, second.word)
    if not ends.size or first.word[-1] != second.word[-1] or first.words.sum() != second.words.sum():
        raise ConfigError(
            f"the records end with word tokens {first.word[-1]} and {second.word[-1]}; expected the same part of the "
            "text in both"
        )
    spoken = second if second.is_text and not first.is_text else first
    return _joined(first, ends, spoken), np.add.reduceat(second.nats, _starts(second, ends))


def _starts(losses: WordLosses, ends: np.ndarray) -> np.ndarray:
    """First row of each group of rows that ends with a word token."""
    return np.concatenate([[0], np.searchsorted(losses.word, ends[:-1], side="right")])


def _joined(losses: WordLosses, ends: np.ndarray, spoken: WordLosses) -> WordLosses:
    at, behind = _starts(losses, ends), np.searchsorted(losses.word, ends)
    text_at, text_behind = _starts(spoken, ends), np.searchsorted(spoken.word, ends) + 1
    text = [" ".join(spoken.text[a:b]) for a, b in zip(text_at.tolist(), text_behind.tolist(), strict=True)]
    return WordLosses(
        ends,
        np.add.reduceat(losses.words, at),
        losses.line[behind],
        losses.article[behind],
        np.add.reduceat(losses.nats, at),
        np.array(text, object),
        spoken.is_text,
    )
