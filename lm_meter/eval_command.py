"""``lm-meter eval``: a pass over a text, its files, and its result."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .commands import INTERRUPTED, opened_checkpoint, print_document
from .entry_arguments import check_entry_options, entry_of
from .errors import ConfigError
from .output_files import check_writable, refuse_input

if TYPE_CHECKING:
    from .text import Text


def run_eval(options: argparse.Namespace) -> int:
    """Make a pass and print its result."""
    from .entry_vocabulary import vocabulary_path
    from .evaluation import evaluate
    from .foreign_entry import evaluate_entry
    from .interrupt import deferred_interrupt
    from .pass_files import PassFiles
    from .progress import on_stderr
    from .report import result_table
    from .run_options import RunOptions

    run = RunOptions(
        block=options.block,
        threads=options.threads,
        first_token=options.first_token,
        limit=options.limit,
        oov=options.oov,
        policy=options.policy,
        context=options.context,
        continuous_cache=options.continuous_cache,
    )
    check_entry_options(options)
    files = PassFiles(options.state, options.save_every, options.records)
    progress = None if options.quiet else on_stderr
    if options.entry is not None:
        entry = entry_of(options)
        _check_places(options, vocabulary_path(entry.vocabulary))
        result = evaluate_entry(entry, text=_text(options), profile=options.profile, options=run, progress=progress)
    else:
        checkpoint = opened_checkpoint(options.checkpoint)
        _check_places(options, checkpoint.path)
        result = evaluate(
            checkpoint, text=_text(options), profile=options.profile, options=run, files=files, progress=progress
        )
    with deferred_interrupt():
        # A disk that filled up during a long run must not take the printed result with it, nor the other way round.
        unsaved = None
        try:
            if options.output:
                result.save(options.output)
        except ConfigError as error:
            unsaved = error
        try:
            print_document(result.document, result_table(result), options.format)
        finally:
            if unsaved:
                raise unsaved
        if options.records and result["records"] is None:
            raise ConfigError(f"--records {options.records}: was not written; the result is all there is of this run")
    return INTERRUPTED if result["partial"] else 0


def _check_places(options: argparse.Namespace, model: Path) -> None:
    """Refuse, before the run, files that could not be written, or that would replace each other or an input."""
    written = {"--output": options.output, "--state": options.state, "--records": options.records}
    if options.records:
        from .records import words_path

        words = words_path(Path(options.records))
        written["--records, words"] = str(words) if words else None
    inputs = [model, *_texts(options)]
    for option, path in written.items():
        if path:
            check_writable(path, option)
            refuse_input(path, inputs, option)
            for other, place in written.items():
                if other != option and place and os.path.realpath(place) == os.path.realpath(path):
                    raise ConfigError(f"{option} {path}: is also that of {other}; expected two names")


def _texts(options: argparse.Namespace) -> list[Path]:
    """Files that a text may come from."""
    from .corpora import WIKITEXT_103, corpus_folders
    from .defaults import sample_path

    if options.text:
        return [Path(options.text)]
    files = [split.file for split in WIKITEXT_103.splits.values()]
    return [sample_path(), *(folder / file for folder in corpus_folders(WIKITEXT_103) for file in files)]


def _text(options: argparse.Namespace) -> Text:
    from .corpora import WIKITEXT_103, corpus, corpus_folders, find_split
    from .defaults import sample_text
    from .text import read_text

    if options.text:
        if options.split:
            raise ConfigError("--split is a part of a corpus; expected no --text beside it")
        return read_text(options.text)
    split = options.split or "test"
    if options.corpus:
        return corpus(options.corpus, split, progress=not options.quiet)
    found = find_split(WIKITEXT_103, split)
    if found is None:
        folder = next(reversed(corpus_folders(WIKITEXT_103)), f"$LM_METER_DATA/{WIKITEXT_103.name}")
        note = (
            f"text: the sample that ships with lm-meter; --corpus wikitext-103 downloads the {split} set, or put "
            f"{WIKITEXT_103.splits[split].file} into {folder}"
        )
    else:
        note = f"text: {found.name} from this machine; --text FILE evaluates another"
    if not options.quiet:
        print(note, file=sys.stderr)
    return found or sample_text()
