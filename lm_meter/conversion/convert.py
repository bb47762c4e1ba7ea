"""Converting a checkpoint of another program: recognise it, read it, write it, run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..checkpoint import Checkpoint
from ..checkpoint_writer import write_checkpoint
from ..defaults import sample_text
from ..errors import CheckpointError, ConfigError
from ..models.runtime import Runtime
from ..printable import page
from ..text import read_text
from .gguf import is_gguf, read_gguf
from .huggingface import is_huggingface, read_huggingface
from .llama2c import is_llama2c, read_llama2c
from .parts import Parts
from .recognition import looks_like
from .tensorflow import is_tensorflow, read_tensorflow
from .trial import Trial, tried
from .word_language_model import is_word_language_model, read_word_language_model

NO_START = "none"


@dataclass(frozen=True)
class Source:
    """A format that can be converted: how it is recognised and read."""

    is_one: Callable[[Path], bool]
    read: Callable[[Path, Path | None], Parts]


SOURCES = {
    "llama2c": Source(is_llama2c, read_llama2c),
    "gguf": Source(is_gguf, read_gguf),
    "huggingface": Source(is_huggingface, read_huggingface),
    "tensorflow": Source(is_tensorflow, read_tensorflow),
    "word-language-model": Source(is_word_language_model, read_word_language_model),
}


@dataclass(frozen=True)
class Converted:
    """What was made of a source.

    Attributes
    ----------
    source : str
        Its format.
    size : int
        Bytes of the checkpoint.
    start, start_from : str or None, str
        The token that stands before a text, None for none, and what says so.
    notes : list of str
        What was decided where the source leaves a choice.
    tokens, loss_nats, text, not_run
        How it ran: see ``Trial``.
    """

    source: str
    size: int
    start: str | None
    start_from: str
    notes: list[str]
    tokens: int
    loss_nats: float | None
    text: str
    not_run: str | None


def convert(
    source: str | Path,
    out: str | Path,
    kind: str | None = None,
    tokenizer: str | Path | None = None,
    start: str | None = None,
    text: str | Path | None = None,
) -> Converted:
    """Write the model at ``source`` as a checkpoint, and run it over the first tokens of a text.

    Parameters
    ----------
    source : path
    out : path
        Replaced if it exists; it appears only when complete, and has been run.
    kind : str, optional
        One of ``SOURCES``; by default the one that recognises the source.
    tokenizer : path, optional
        Where the tokenizer is a file of its own that cannot be found.
    start : str, optional
        The token that stands before a text, or "none"; by default what the source says.
    text : path, optional
        What is run; by default the sample text. One that the tokenizer cannot encode is not run, and no obstacle.

    Raises
    ------
    CheckpointError, ConfigError, TextError
    MeterError
        Where a loss is not finite.
    """
    source = Path(source)
    if kind is not None and kind not in SOURCES:
        raise ConfigError(f"--from is {kind!r:.40}; expected one of {', '.join(SOURCES)}")
    sample = replace(sample_text(), name="the sample text") if text is None else read_text(text)
    try:
        kind = kind or _recognised(source)
        parts = SOURCES[kind].read(source, Path(tokenizer) if tokenizer else None)
    except OSError as error:
        raise CheckpointError(f"{error.filename}: cannot be read ({error.strerror})") from None
    except MemoryError:
        raise CheckpointError(
            f"{source}: there is no memory for its weights; convert it where there is as much as it has bytes"
        ) from None
    declared, start_from = dict(parts.config["tokenizer"]), parts.start_from
    if start is not None:
        declared["start"], start_from = None if start == NO_START else start, "--start"
    config = {**parts.config, "tokenizer": declared, "origin": f"lm-meter convert, from {source.name!r} ({kind})"}
    trials: list[Trial] = []

    def judge(checkpoint: Checkpoint, runtime: Runtime) -> None:
        trials.append(tried(checkpoint, runtime, sample))

    write_checkpoint(out, config, dict(parts.arrays), judge)
    [trial] = trials
    size = Path(out).stat().st_size
    return Converted(kind, size, declared.get("start"), start_from, list(parts.notes), **asdict(trial))


def inputs_of(source: str | Path, tokenizer: str | Path | None) -> list[Path]:
    """Files that a conversion may read: they must not be its output. A checkpoint in a folder is none of them."""
    source = Path(source)
    beside = source.glob("*") if source.is_dir() else source.parent.glob("tok*.bin")
    return [source, *(file for file in beside if file.suffix != ".npz"), *([Path(tokenizer)] if tokenizer else [])]


def _recognised(source: Path) -> str:
    if not source.exists():
        raise CheckpointError(f"{source}: does not exist; expected a model of one of {', '.join(SOURCES)}")
    found = [name for name, candidate in SOURCES.items() if candidate.is_one(source)]
    if not found:
        raise CheckpointError(
            f"{source}: is not recognised as a model of one of {', '.join(SOURCES)}; {looks_like(source)}"
        )
    if len(found) > 1:
        raise CheckpointError(f"{source}: may be a model of any of {', '.join(found)}; name its format with --from")
    return found[0]


def conversion_table(done: Converted, source: str, out: str) -> str:
    """What the command prints."""
    lines = [f"{source} ({done.source}) -> {out}, {done.size:,} bytes"]
    lines += [f"start token: {'none' if done.start is None else repr(done.start)} ({done.start_from})", *done.notes]
    if done.loss_nats is None:
        lines.append(f"nothing was run: {done.not_run}")
    else:
        left = f", where {done.not_run}" if done.not_run else ""
        lines.append(f"mean loss of {done.tokens} predictions over {done.text}{left}: {done.loss_nats:.6f} nats")
    return page(lines)
