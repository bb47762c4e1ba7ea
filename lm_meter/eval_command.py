"""``lm-meter eval``: passes over texts, their files, and their results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from .commands import json_text, opened_checkpoint
from .entry_arguments import check_entry_options, entry_of
from .errors import ConfigError, LmMeterError
from .printable import printable

if TYPE_CHECKING:
    from .pass_files import PassFiles
    from .passes import Plan
    from .preparation import Prepared
    from .progress import Progress
    from .result import Result
    from .run_options import RunOptions
    from .text import Text


def run_eval(options: argparse.Namespace) -> int:
    """Make a pass for each checkpoint and text, and print the results."""
    from .interrupt import deferred_interrupt, exit_status
    from .passes import make_passes
    from .progress import on_stderr
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
    plans = _entry_plans(options, run) if options.entry is not None else _checkpoint_plans(options, run)
    made = make_passes(plans, None if options.quiet else on_stderr)
    with deferred_interrupt():
        try:
            print_results(made.results, len(plans), options.format)
        finally:
            made.raise_failure(len(plans))
    if made.left:
        print(f"lm-meter: interrupted; {made.left} of {len(plans)} runs were not made", file=sys.stderr)
    return exit_status() if made.is_interrupted else 0


def print_results(results: Sequence[Result], planned: int, kind: str) -> None:
    """Print what was made of the passes that were planned: the whole report of one, a row each of several."""
    from .report import result_table
    from .run_rows import rows_csv, rows_markdown, rows_table

    if not results:
        return
    documents = [result.document for result in results]
    if kind == "jsonl":
        text = "".join(json_text(document, None) for document in documents)
    elif kind == "json":
        text = json_text(documents if planned > 1 else documents[0])
    elif kind == "csv":
        text = rows_csv(results)
    elif kind == "markdown":
        text = rows_markdown(results)
    else:
        text = rows_table(results) if planned > 1 else result_table(results[0])
    sys.stdout.write(text)
    sys.stdout.flush()


def _checkpoint_plans(options: argparse.Namespace, run: RunOptions) -> list[Plan]:
    """A pass for each pair, tokenized: what is wrong with one of them is found before the first one runs."""
    from .evaluation import run_prepared
    from .pass_files import PassFiles
    from .pass_records import check_recordable
    from .passes import Plan, check_places, places
    from .preparation import prepare
    from .profiles import profile_named

    checkpoints = [opened_checkpoint(path) for path in options.checkpoint or [None]]
    sources, profile = _sources(options), profile_named(options.profile)
    pairs = [(checkpoint, source) for checkpoint in checkpoints for source in sources]
    stems = [(checkpoint.path.stem, source.stem) for checkpoint, source in pairs]
    names = [f"{checkpoint.path} over {source.name}" for checkpoint, source in pairs]
    states, records, outputs = (places(name, stems) for name in (options.state, options.records, options.output))
    files = [PassFiles(state, options.save_every, kept) for state, kept in zip(states, records, strict=True)]
    inputs = [*(checkpoint.path for checkpoint in checkpoints), *_files(options)]
    written = [*_written_states(states, names), *_written_records(records, names)]
    check_places([*chain(*written), *_written("--output", outputs, names)], inputs)
    texts = {source: source.read() for source in sources}
    prepared: list[Prepared] = []
    for name, (checkpoint, source) in zip(names, pairs, strict=True):
        try:
            prepared.append(prepare(checkpoint, texts[source], run))
            if options.records:
                check_recordable(prepared[-1])
            if not options.quiet:
                _note_context(name, prepared[-1])
        except LmMeterError as error:
            if len(pairs) == 1:
                raise
            raise type(error)(f"{name}: {error}") from None
    return [
        Plan(name, partial(run_prepared, each, profile, kept), output, kept.records)
        for name, each, kept, output in zip(names, prepared, files, outputs, strict=True)
    ]


def _note_context(name: str, prepared: Prepared) -> None:
    """Say that more of the text is seen than the model was made for; its result says so too."""
    own, context = prepared.own_context, prepared.context
    if own is not None and context is not None and context.length > own:
        print(
            f"{printable(name)}: a context of {context.length} tokens is more than the {own} that the checkpoint gives "
            "as its own; beyond that a model predicts worse as a rule",
            file=sys.stderr,
        )


def _written_states(states: Sequence[str | None], names: Sequence[str]) -> Iterator[list[tuple[str, str, str]]]:
    """Files of states, and those of the ones before, which each saving replaces."""
    from .saved_state import previous_path

    before = [str(previous_path(Path(path))) if path else None for path in states]
    yield _written("--state", states, names)
    yield _written("--state, the one before", before, names)


def _written_records(records: Sequence[str | None], names: Sequence[str]) -> Iterator[list[tuple[str, str, str]]]:
    """Files of records, and those of word tokens beside them."""
    from .records import words_path

    beside = [words_path(Path(path)) if path else None for path in records]
    yield _written("--records", records, names)
    yield _written("--records, words", [str(path) if path else None for path in beside], names)


def _entry_plans(options: argparse.Namespace, run: RunOptions) -> list[Plan]:
    """A pass of somebody's program for each text; the program is started anew for each."""
    from .entry_vocabulary import vocabulary_path
    from .foreign_entry import evaluate_entry
    from .pass_files import PassFiles
    from .passes import Plan, check_places, places

    entry, sources = entry_of(options), _sources(options)
    names = [f"the entry over {source.name}" for source in sources]
    stems = [("entry", source.stem) for source in sources]
    records, outputs = (places(name, stems) for name in (options.records, options.output))
    files = [PassFiles(records=kept) for kept in records]
    written = [*chain(*_written_records(records, names)), *_written("--output", outputs, names)]
    check_places(written, [vocabulary_path(entry.vocabulary), *_files(options)])

    def make(text: Text, kept: PassFiles, progress: Callable[[int], Progress] | None) -> Result:
        return evaluate_entry(entry, text=text, profile=options.profile, options=run, files=kept, progress=progress)

    texts = [source.read() for source in sources]
    return [
        Plan(name, partial(make, text, kept), output, kept.records)
        for name, text, kept, output in zip(names, texts, files, outputs, strict=True)
    ]


def _written(option: str, files: Sequence[str | None], names: Sequence[str]) -> list[tuple[str, str, str]]:
    return [(option, file, name) for file, name in zip(files, names, strict=True) if file]


@dataclass(frozen=True)
class _Source:
    """A text that is to be read: what messages call it, what stands for it in names of files, and how it is read."""

    name: str
    stem: str
    read: Callable[[], Text]


def _sources(options: argparse.Namespace) -> list[_Source]:
    from .corpora import corpus
    from .text import read_text

    if options.text:
        if options.split:
            raise ConfigError("--split is a part of a corpus; expected no --text beside it")
        return [_Source(file, Path(file).stem, partial(read_text, file)) for file in options.text]
    splits = options.split or ["test"]
    if options.corpus:
        names = [f"{options.corpus}-{split}" for split in splits]
        reads = [partial(corpus, options.corpus, split, progress=not options.quiet) for split in splits]
    elif len(splits) > 1:
        raise ConfigError("--split names several parts; expected --corpus beside them")
    else:
        names, reads = [f"default-{splits[0]}"], [partial(_default_text, splits[0], options.quiet)]
    return [_Source(name, name, read) for name, read in zip(names, reads, strict=True)]


def _files(options: argparse.Namespace) -> list[Path]:
    """Files that the texts may come from."""
    from .corpora import WIKITEXT_103, corpus_folders
    from .defaults import sample_path

    if options.text:
        return [Path(file) for file in options.text]
    files = [split.file for split in WIKITEXT_103.splits.values()]
    return [sample_path(), *(folder / file for folder in corpus_folders(WIKITEXT_103) for file in files)]


def _default_text(split: str, quiet: bool) -> Text:
    """A split of WikiText-103 that is on this machine, else the sample that ships."""
    from .corpora import WIKITEXT_103, corpus_folders, find_split
    from .defaults import sample_text

    found = find_split(WIKITEXT_103, split)
    if found is None:
        folder = next(reversed(corpus_folders(WIKITEXT_103)), f"$LM_METER_DATA/{WIKITEXT_103.name}")
        note = (
            f"text: the sample that ships with lm-meter; --corpus wikitext-103 downloads the {split} set, or put "
            f"{WIKITEXT_103.splits[split].file} into {folder}"
        )
    else:
        note = f"text: {found.name} from this machine; --text FILE evaluates another"
    if not quiet:
        print(note, file=sys.stderr)
    return found or sample_text()
