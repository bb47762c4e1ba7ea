"""How a saved result is run again: its checkpoint and its text, found and compared by their hashes, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .checkpoint import Checkpoint
from .corpora import CORPORA, corpus
from .defaults import default_checkpoint, sample_text
from .errors import CheckpointError, ConfigError, TextError
from .run_options import RunOptions
from .text import Text, read_text


def checkpoint_of(document: Mapping[str, Any], folder: Path, given: str | None = None) -> Checkpoint:
    """The checkpoint of a result, which lies in ``folder``; by default the one that it names, or one that ships.

    Raises
    ------
    CheckpointError
        Where it is not there, or is another one.
    """
    named, wanted = document["checkpoint"]["path"], document["checkpoint"]["sha256"]
    if given is not None:
        return _checked(Checkpoint(given), wanted)
    shipped = default_checkpoint().parent / Path(named).name
    for path in (Path(named), folder / named, shipped):
        if path.is_file():
            return _checked(Checkpoint(path), wanted)
    raise CheckpointError(f"{named}: the result's checkpoint is not here; name it with --checkpoint")


def _checked(checkpoint: Checkpoint, wanted: str) -> Checkpoint:
    found = checkpoint.sha256()
    if found != wanted:
        raise CheckpointError(
            f"{checkpoint.path}: is not the result's checkpoint: SHA-256 {found[:12]}..., expected {wanted[:12]}...; "
            "name it with --checkpoint"
        )
    return checkpoint


def corpus_of(sha256: str) -> tuple[str, str] | None:
    """Name and split of the public corpus that a text is, by its hash."""
    for name, known in CORPORA.items():
        for split, file in known.splits.items():
            if file.sha256 == sha256:
                return name, split
    return None


def text_of(document: Mapping[str, Any], folder: Path, given: str | None = None) -> Text:
    """The text of a result, which lies in ``folder``; by default the corpus or file that it names.

    Raises
    ------
    TextError
        Where it is not there, or is another one.
    """
    named, wanted = document["text"]["name"], document["text"]["sha256"]
    if given is not None:
        return _same(read_text(given), wanted)
    public = corpus_of(wanted)
    if public:
        return corpus(*public)
    sample = sample_text()
    if sample.sha256 == wanted:
        return sample
    for path in (Path(named), folder / named):
        if path.is_file():
            return _same(read_text(path), wanted)
    raise TextError(f"{named}: the result's text is not here; name it with --text")


def _same(text: Text, wanted: str) -> Text:
    if text.sha256 != wanted:
        raise TextError(
            f"{text.name}: is not the result's text: SHA-256 {text.sha256[:12]}..., expected {wanted[:12]}...; name it "
            "with --text"
        )
    return text


def options_of(document: Mapping[str, Any], block: int | None = None, threads: int | None = None) -> RunOptions:
    """The options of a result, for a run with another block or other threads where these are given.

    Raises
    ------
    ConfigError
        Where the result does not say how it was run, or says what no run has.
    """
    options = given_options(document)
    return replace(options, block=options.block if block is None else block, threads=threads)


def given_options(document: Mapping[str, Any]) -> RunOptions:
    """The options of a result as they were given; errors as those of ``options_of``."""
    if document["run"] is None or document["chain"] is None:
        raise ConfigError(
            "the result does not say how it was run, as those of older versions; write it again with eval --output"
        )
    given = document["run"]["options"]
    unknown = sorted(set(given) - {field.name for field in fields(RunOptions)})
    if unknown:
        raise ConfigError(
            f"run.options.{unknown[0]:.60} of the result is no option of this version; verify it with the version that "
            "wrote it, which environment.lm_meter names"
        )
    return RunOptions(**given)
