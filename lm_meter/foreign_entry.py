"""Foreign entries: somebody's program is sent one token at a time and predicts the next one before it is sent.

Its log-probabilities are measured here; what it computed for them is not. ``entry.py`` is something else: the TOML file
of ``lm-meter validate``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .child_process import ChildProcess, printed_text, status_text
from .entry_program import ForeignEntry, environment_without, refuse_text
from .entry_protocol import DTYPES, EXPECTED, LONGEST_ANSWER, Answer, Checker, handshake, parse_answer, token_line
from .entry_records import EntryRecords
from .entry_result import EntryMeasurement, build_entry_result
from .entry_vocabulary import Vocabulary, read_vocabulary
from .errors import ConfigError, EntryError
from .interrupt import deferred_interrupt
from .pass_files import PassFiles, checked_files
from .preparation import inputs_and_targets
from .profiles import DEFAULT_PROFILE, Profile, profile_named
from .progress import Progress, Silent
from .records import kept_records
from .result import Result
from .run_options import DEFAULT_BLOCK, RunOptions, checked_options
from .text import Text, first_words, read_text
from .text_columns import TextColumns
from .tokenizers import Encoded, Specials

_SECONDS_BETWEEN_UPDATES = 0.2
_END_SECONDS = 10.0  # longest wait for a program to end by itself after its last distribution
_KILLED = "was killed, as it did not end after its last distribution"
_INTERRUPTED = "was killed, as the run was interrupted"


def evaluate_entry(
    entry: str | ForeignEntry,
    *,
    text: str | Path | Text,
    profile: str = DEFAULT_PROFILE,
    options: RunOptions | None = None,
    files: PassFiles | None = None,
    progress: Callable[[int], Progress] | None = None,
) -> Result:
    """Run somebody's program over a text, one token at a time; ``entries/README.md`` is the protocol.

    Parameters
    ----------
    entry : str or ForeignEntry
        The command; a ``ForeignEntry`` also says its vocabulary and the time limit of a token.
    text : path or Text
    profile : str
        Price list; the claims of the entry give a claimed score if they are made under it.
    options : RunOptions, optional
        Of which ``first_token``, ``limit`` and ``oov`` apply.
    files : PassFiles, optional
        Its records; there is no ``state``, as a program's memory cannot be saved from here.
    progress : callable, optional
        Makes a ``Progress`` from the number of predictions to come.

    Returns
    -------
    Result
        Its operations, storage and score are null; what the entry claims of them is in ``entry.claims``. Partial where
        the run was interrupted by Ctrl-C.

    Raises
    ------
    EntryError
        Where the program breaks the protocol, or is too slow; with the position.
    CheckpointError, TextError, ConfigError
    KeyboardInterrupt
        Where Ctrl-C came before the first prediction.
    """
    files = checked_files(files)
    if files.state is not None:
        raise ConfigError(
            f"state is {str(files.state)!r:.60}, but what a foreign entry's program holds cannot be saved from here; "
            "expected it to be left out"
        )
    options = checked_options(options)
    entry = entry if isinstance(entry, ForeignEntry) else ForeignEntry(entry)
    return run_entry(prepare_entry(entry, text, options), profile_named(profile), files, progress)


@dataclass(frozen=True)
class PreparedEntry:
    """A program and a text, checked and tokenized; ``inputs`` and ``targets`` as those of ``Prepared``."""

    entry: ForeignEntry
    options: RunOptions
    text: Text
    vocabulary: Vocabulary
    encoded: Encoded
    inputs: np.ndarray
    targets: np.ndarray
    cut: bool = False

    def first(self, predictions: int) -> PreparedEntry:
        """The same with the first predictions only."""
        cut = self.cut or predictions < self.targets.size
        return replace(self, inputs=self.inputs[:predictions], targets=self.targets[:predictions], cut=cut)


def prepare_entry(entry: ForeignEntry, text: str | Path | Text, options: RunOptions) -> PreparedEntry:
    """Read, tokenize and check; errors as those of ``evaluate_entry``."""
    options = _applicable(options)
    vocabulary = read_vocabulary(entry.vocabulary)
    source = text if isinstance(text, Text) else read_text(text)
    if options.limit is not None:
        source = first_words(source, options.limit)
    encoded = vocabulary.encode(source, options.oov)
    inputs, targets = inputs_and_targets(encoded, vocabulary.tokenizer.specials.start, options)
    refuse_text(entry.words, source.path)
    return PreparedEntry(entry, options, source, vocabulary, encoded, inputs, targets)


def run_entry(
    prepared: PreparedEntry,
    profile: Profile,
    files: PassFiles,
    progress: Callable[[int], Progress] | None = None,
) -> Result:
    """The pass of a program over a text that is prepared, and its result: see ``evaluate_entry``."""
    entry, vocabulary, targets = prepared.entry, prepared.vocabulary, prepared.targets
    hashes = entry.files()
    with deferred_interrupt() as interruption:
        with ChildProcess(entry.words, environment_without(prepared.text.path), interruption) as child:
            run = _ForeignPass(child, entry.timeout, vocabulary.tokens())
            meter = progress(targets.size) if progress else Silent()
            try:
                run.begin(vocabulary.tokenizer.specials)
                run.go(prepared, files.records is not None, meter)
                run.finish()
            except KeyboardInterrupt:
                if not run.done:
                    raise
                run.ending = _INTERRUPTED
            finally:
                meter.close()
        done = slice(run.done)
        measured = EntryMeasurement(
            text=prepared.text,
            encoded=prepared.encoded,
            tokenizer=vocabulary.tokenizer,
            options=prepared.options,
            sittings=1,
            log_probs=run.log_probs[done],
            partial=prepared.cut or run.done < targets.size,
            entry=entry,
            files=hashes,
            answer=run.answer,
            vocabulary=vocabulary,
            sums=(run.checker.low, run.checker.high),
            ending=run.ending,
            seconds=(run.load_seconds, run.seconds),
            ranks=run.ranks[done] if files.records is not None else None,
            records=_written(prepared, run, Path(files.records)) if files.records is not None else None,
        )
        return build_entry_result(measured, profile)


def rows_of(prepared: PreparedEntry, size: int) -> TextColumns:
    """The first rows of a text that is prepared."""
    skipped, tokenizer = int(prepared.options.first_token == "skip"), prepared.vocabulary.tokenizer
    return TextColumns(prepared.text, prepared.encoded, prepared.targets[:size], skipped, tokenizer)


def _written(prepared: PreparedEntry, run: _ForeignPass, path: Path) -> dict[str, str | None] | None:
    """Write the records of what was predicted."""
    done = slice(run.done)
    source = EntryRecords(rows_of(prepared, run.done), run.log_probs[done], run.ranks[done])
    return kept_records(source, path)


def _applicable(options: RunOptions) -> RunOptions:
    """The options of a pass that is strictly token by token, with a program that does the rest."""
    for name in ("threads", "policy", "context", "continuous_cache"):
        if getattr(options, name) is not None:
            raise ConfigError(
                f"{name} is {getattr(options, name)!r:.40}, but how a foreign entry predicts is up to its program; "
                "expected it to be left out"
            )
    if options.block not in (1, DEFAULT_BLOCK):
        raise ConfigError(f"block is {options.block}, but a foreign entry is run token by token; leave the option away")
    return replace(options, block=1)


class _ForeignPass:
    """One walk over the tokens with a program that predicts them."""

    def __init__(self, child: ChildProcess, timeout: float, tokens: list[str]) -> None:
        self._child, self._timeout, self._tokens = child, timeout, tokens
        self.answer: Answer
        self.checker: Checker
        self.log_probs, self.ranks = np.zeros(0), np.zeros(0, np.int64)
        self.done = 0
        self.load_seconds = self.seconds = 0.0
        self.ending = _KILLED

    def begin(self, specials: Specials) -> None:
        """Make the handshake."""
        started = time.perf_counter()
        with _named("handshake"):
            message = handshake(self._tokens, specials, self._timeout)
            self.answer = parse_answer(self._child.ask_line(message, LONGEST_ANSWER, self._timeout))
        self.checker = Checker(self.answer, self._tokens)
        self.load_seconds = time.perf_counter() - started

    def go(self, prepared: PreparedEntry, ranked: bool, progress: Progress) -> None:
        """Send each input when the distribution before it has come, and note ranks if they are wanted.

        KeyboardInterrupt where Ctrl-C was pressed; ``done`` predictions have been made until then.
        """
        inputs, targets = prepared.inputs, prepared.targets
        first = int(prepared.options.first_token == "skip")  # piece that is predicted first
        self.log_probs, self.ranks = np.zeros(targets.size), np.ones(targets.size if ranked else 0, np.int64)
        dtype = DTYPES[self.answer.dtype]
        room = memoryview(bytearray(len(self._tokens) * dtype.itemsize))
        values: np.ndarray = np.frombuffer(room, dtype)
        started = updated = time.perf_counter()
        nll = 0.0
        for number, (token, target) in enumerate(zip(inputs.tolist(), targets.tolist(), strict=True)):
            with _named(f"position {number + first}"):
                surplus = self._child.pending()
                if surplus:
                    raise EntryError(
                        f"bytes came before the token in front of it was sent; {EXPECTED}{printed_text(surplus)}"
                    )
                self._child.ask(token_line(token), room, self._timeout)
                try:
                    log_prob = self.checker.log_prob(values, target)
                except EntryError as error:
                    raise EntryError(f"{error}{printed_text(room)}") from None
            self.log_probs[number] = log_prob
            if ranked:
                self.ranks[number] = self.checker.rank(values, target)
            self.done, self.seconds = number + 1, time.perf_counter() - started
            nll -= log_prob
            if self.seconds + started - updated > _SECONDS_BETWEEN_UPDATES:
                updated = self.seconds + started
                progress.update(self.done, nll)
        progress.update(self.done, nll)

    def finish(self) -> None:
        """Tell the program that the text has ended, and wait for it to end."""
        with _named("end of the text"):
            status = self._child.finish(min(self._timeout, _END_SECONDS))
        if status is not None:
            self.ending = status_text(status)


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Say in an error where it was found."""
    try:
        yield
    except EntryError as error:
        raise EntryError(f"entry: {place}: {error}") from None
