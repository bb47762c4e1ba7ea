"""An entry: a checkpoint, how it is run, and what is claimed of it, in a TOML file."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .defaults import sample_path
from .errors import ConfigError
from .profiles import DEFAULT_PROFILE
from .regular_file import open_stream
from .run_options import RunOptions

CLAIMS = ("perplexity", "parameters", "operations", "matrix_vector", "score")
SAMPLE = "sample"  # the corpus that ships with the package
DEFAULT_TOLERANCE = 0.01
_MOST_BYTES = 1 << 20
# In a line, whose key may consist of as many parts: the parser's memory grows with their square.
_MOST_POINTS = 40
_RUN = ("block", "threads", "first_token", "limit", "oov", "policy", "context", "continuous_cache")
_TOP = ("checkpoint", "text", "corpus", "split", "profile", "run", "claims")

TEMPLATE = """\
# An entry: what is to be run, and what is claimed of it. Run it with
#
#     lm-meter validate entry.toml
#
# Names of files are relative to this file, and stay in its folder; whoever runs it may allow others (--allow-outside).
checkpoint = "model.npz"

# The text: a file, or a public corpus and its split, or the sample text that ships with lm-meter.
corpus = "wikitext-103"
split = "test"
# text = "wiki.test.tokens"
# corpus = "sample"

# Price list of parameters, operations and score.
profile = "micronet-2019-06"

# How it is run; each line may be left out. A transformer's context decides its perplexity and its cost.
[run]
# policy = "cache"          # or "recompute", "segment", "segment:OVERLAP"
# context = 512
# continuous_cache = "2000,0.3,0.1"   # size, theta, lambda; or "off"
# first_token = "score"     # or "skip"
# limit = 10000             # word tokens; the whole text without it

# A claim is a number, or { value = NUMBER, tolerance = FRACTION }: it passes if what was measured differs by no more
# than that fraction of it (default: 0.01, and no more than that unless whoever runs it allows more by --max-tolerance).
# At least one is needed.
[claims]
perplexity = { value = 35.0, tolerance = 0.001 }  # per word token
parameters = 159_000_000                          # in the profile's unit
operations = 318_000_000                          # per word token, in the profile's unit
matrix_vector = 318_000_000                       # of these, the matrix-vector products with their biases
score = 2.0

# Operations per word token of single regions, by their names (lm-meter count prints them).
[claims.regions]
# "lstm.0" = 41_943_040

# Numbers in single tensors, by their names (lm-meter inspect prints them); one that is tied to another has 0.
[claims.tensors]
# embedding = 137_080_320
"""


@dataclass(frozen=True)
class Claim:
    """A claimed number, and the fraction of it by which the measured one may differ."""

    name: str
    value: float
    tolerance: float


@dataclass(frozen=True)
class Entry:
    """A checked entry: files are resolved, but not opened. One of ``text`` and ``corpus`` is there.

    ``text_is_outside``: whether the entry names a text outside its own folder, which may be any file of the machine.
    """

    path: Path
    checkpoint: Path
    text: Path | None
    corpus: tuple[str, str] | None
    profile: str
    options: RunOptions
    claims: tuple[Claim, ...]
    regions: tuple[Claim, ...]
    tensors: tuple[Claim, ...]
    text_is_outside: bool = False


def read_entry(path: str | Path, checkpoint: str | None = None, allow_outside: bool = False) -> Entry:
    """Read and check an entry; ConfigError says what is wrong with it.

    ``checkpoint``: name of a file that is run instead of the one that the entry names. ``allow_outside``: whether the
    files that it names may lie outside its folder.
    """
    path = Path(path)
    try:
        with open_stream(path) as file:
            found = _toml(file.read(_MOST_BYTES + 1))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); expected a file as --template prints it"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{path}: is not TOML ({error!s:.120}); expected a file as --template prints it") from None
    _known(path, found, _TOP, "")
    run, claims = _table(path, found, "run"), _table(path, found, "claims")
    _known(path, run, _RUN, "run.")
    _known(path, claims, (*CLAIMS, "regions", "tensors"), "claims.")
    plain = tuple(_claim(path, name, claims[name]) for name in CLAIMS if name in claims)
    regions, tensors = (
        tuple(_claim(path, name, value) for name, value in _table(path, claims, table).items())
        for table in ("regions", "tensors")
    )
    if not (plain or regions or tensors):
        raise ConfigError(f"{path}: has no claims; expected at least one of {', '.join(CLAIMS)} in [claims]")
    text, corpus = _string(path, found, "text"), _string(path, found, "corpus")
    if (text is None) == (corpus is None):
        raise ConfigError(f"{path}: has {'both' if text else 'neither'} of text and corpus; expected one of them")
    named = _string(path, found, "checkpoint")
    if checkpoint is None and named is None:
        raise ConfigError(f"{path}: has no checkpoint; expected the name of a file, or --checkpoint")
    split = _string(path, found, "split")
    if text is not None and split is not None:
        raise ConfigError(f"{path}: split is {split!r:.40}, a part of a corpus; expected no text beside it")
    if corpus == SAMPLE and split is not None:
        raise ConfigError(f"{path}: split is {split!r:.40}, but the sample text is whole; expected no split")
    if not allow_outside:
        for key, name in (("checkpoint", named if checkpoint is None else None), ("text", text)):
            if name is not None and _leads_out(path, name):
                raise ConfigError(
                    f"{path}: {key} is {name!r:.60}, which leads out of the entry's folder; expected a file in it, or "
                    "--allow-outside of whoever runs it"
                )
    try:
        options = RunOptions(**run)
    except ConfigError as error:
        raise ConfigError(f"{path}: run: {error}") from None
    return Entry(
        path,
        Path(checkpoint) if checkpoint else path.parent / str(named),
        sample_path() if corpus == SAMPLE else path.parent / text if text else None,
        (corpus, split or "test") if corpus and corpus != SAMPLE else None,
        _string(path, found, "profile") or DEFAULT_PROFILE,
        options,
        plain,
        regions,
        tensors,
        text is not None and _leads_out(path, text),
    )


def _leads_out(path: Path, name: str) -> bool:
    """Whether a file that an entry at ``path`` names lies outside its folder, links followed."""
    folder = os.path.realpath(path.parent)
    return not Path(os.path.realpath(os.path.join(folder, name))).is_relative_to(folder)


def _toml(raw: bytes) -> dict[str, Any]:
    """A document; ValueError with the reason in one line."""
    if len(raw) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES} bytes")
    if any(line.count(b".") > _MOST_POINTS for line in raw.split(b"\n")):
        raise ValueError(f"a line has more than {_MOST_POINTS} points")
    try:
        document = tomllib.loads(raw.decode())
        repr(document)  # Python writes no whole number of more than 4300 digits, which may come in as a hexadecimal one
        return document
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _known(path: Path, table: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in keys:
            raise ConfigError(f"{path}: has an unknown key {where}{key:.60}; expected {', '.join(keys)}")


def _table(path: Path, table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {key} is {value!r:.40}; expected a table")
    return value


def _string(path: Path, table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value or "\0" in value):
        raise ConfigError(f"{path}: {key} is {value!r:.40}; expected a string")
    return value


def _claim(path: Path, name: str, given: Any) -> Claim:
    entry = given if isinstance(given, dict) else {"value": given}
    _known(path, entry, ("value", "tolerance"), f"claims.{name:.60}.")

    def figure(key: str, default: float | None) -> float:
        number = entry.get(key, default)
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= sys.float_info.max:
            expected = "expected a number, or { value = NUMBER, tolerance = FRACTION }"
            raise ConfigError(f"{path}: claims.{name:.60}: {key} is {number!r:.40}; {expected}")
        return abs(float(number))  # of the two zeros the one without a sign

    return Claim(name, figure("value", None), figure("tolerance", DEFAULT_TOLERANCE))
