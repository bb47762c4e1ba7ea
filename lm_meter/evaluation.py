"""The on-line pass: one run over a text gives perplexity, counts, storage, activations alive at once, and speed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .activations import activations_of
from .bandwidth import stream_bytes_per_second
from .checkpoint import Checkpoint
from .histogram import overflows_of, rows_of
from .interrupt import Interruption, deferred_interrupt
from .measurement import Measurement, Online, Speed
from .online import OnlinePass
from .pass_files import PassFiles, checked_files
from .pass_records import PassRecords, check_recordable
from .preparation import Prepared, load, prepare
from .profiles import DEFAULT_PROFILE, Profile, profile_named
from .progress import Progress, Silent
from .records import kept_records
from .result import Result, build_result
from .run_options import RunOptions, checked_options
from .state_keeper import state_keeper
from .text import Text


def evaluate(
    checkpoint: str | Path | Checkpoint | None = None,
    *,
    text: str | Path | Text,
    profile: str = DEFAULT_PROFILE,
    options: RunOptions | None = None,
    files: PassFiles | None = None,
    progress: Callable[[int], Progress] | None = None,
) -> Result:
    """Run a checkpoint over a text, one token at a time, and meter it.

    Strictly equivalent to

        model = Model(checkpoint)
        for token in tokens:
            log_prob += model.log_prob(token)
            model.advance(token)

    but for the advance behind the last token, which no prediction needs and which is not made.

    Parameters
    ----------
    checkpoint : path or Checkpoint, optional
        By default the checkpoint that ships with the package.
    text : path or Text
        A UTF-8 file, or what ``read_text`` and ``corpus`` return.
    profile : str
        Price list of the report; the histogram in the result can be priced again.
    options : RunOptions, optional
    files : PassFiles, optional
        Where the pass is saved, so that the same call goes on from there, and its records.
    progress : callable, optional
        Makes a ``Progress`` from the number of predictions to come.

    Returns
    -------
    Result
        Partial, and marked so, where the pass was interrupted by Ctrl-C. One that comes after the last
        prediction, while the result is put together, is not obeyed: the result is complete.

    Raises
    ------
    CheckpointError, TextError, ConfigError, StateError, MeterError
    KeyboardInterrupt
        Where Ctrl-C came before the first prediction.
    """
    chosen = profile_named(profile)
    return run_prepared(prepare(checkpoint, text, checked_options(options)), chosen, checked_files(files), progress)


def run_prepared(
    prepared: Prepared, profile: Profile, files: PassFiles, progress: Callable[[int], Progress] | None = None
) -> Result:
    """The pass over a text that is prepared, and its result: see ``evaluate``."""
    with deferred_interrupt() as interruption:
        measured = _measured(prepared, files, interruption, progress)  # the model has left memory when it is here
        return build_result(prepared.checkpoint, measured, profile)


def _measured(
    prepared: Prepared,
    files: PassFiles,
    interruption: Interruption,
    progress: Callable[[int], Progress] | None,
) -> Measurement:
    """Run the model: what the pass measured, and its records written."""
    options, targets = prepared.options, prepared.targets
    keeper, ranked = state_keeper(prepared, files), files.records is not None
    if ranked:
        check_recordable(prepared)
    loaded = load(prepared, interruption, ranked)
    runtime = loaded.runtime
    run = OnlinePass(runtime, prepared.inputs, targets, options, ranked)
    if keeper:
        keeper.take_up(run)
    meter = progress(targets.size) if progress else Silent()
    try:
        run.go(meter, interruption, keeper.keep if keeper else None)
    finally:
        meter.close()
    if keeper:
        keeper.save(run)
    tally, done = run.tallies.sum(axis=0), slice(run.done)
    return Measurement(
        text=prepared.text,
        encoded=prepared.encoded,
        tokenizer=prepared.tokenizer,
        options=options,
        sittings=run.sittings,
        log_probs=run.log_probs[done],
        partial=prepared.cut or run.done < targets.size,
        rows=rows_of(tally, runtime.regions),
        overflows=overflows_of(tally, runtime.regions),
        regions=runtime.regions,
        activations=activations_of(runtime.regions, runtime.moments(prepared.inputs[done], targets[done])),
        speed=Speed(
            tokens_per_second=run.done / run.seconds if run.seconds else 0.0,
            seconds=run.seconds,
            load_seconds=loaded.load_seconds,
            compile_seconds=loaded.compile_seconds,
            weight_bytes_per_token=runtime.weight_bytes(options.block),
            stream_bytes_per_second=stream_bytes_per_second(runtime.weights, runtime.team, run.threads),
        ),
        online=_online(prepared, run),
        threads=run.threads,
        ranks=run.ranks[done] if ranked else None,
        records=kept_records(PassRecords(prepared, run), Path(files.records)) if files.records is not None else None,
    )


def _online(prepared: Prepared, run: OnlinePass) -> Online:
    ends = prepared.checkpoint.model_config.ends
    return Online(
        block=run.block,
        positions_rechecked=run.rechecked,
        bits_equal=True,
        context=prepared.context,
        own_context=prepared.own_context,
        softmax_bins=ends.softmax_evaluated,
        continuous=ends.continuous,
    )
