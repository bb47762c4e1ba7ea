"""Converting a checkpoint of another program: recognise it, read it, write it, run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint_writer import write_checkpoint
from ..errors import CheckpointError, ConfigError
from ..printable import page
from .gguf import is_gguf, read_gguf
from .huggingface import is_huggingface, read_huggingface
from .llama2c import is_llama2c, read_llama2c
from .parts import Parts
from .tensorflow import is_tensorflow, read_tensorflow
from .trial import Trial, tried
from .word_language_model import is_word_language_model, read_word_language_model


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
    """What was made of a source: its format, the checkpoint's size in bytes, and how it ran (see ``Trial``)."""

    source: str
    size: int
    tokens: int
    loss_nats: float | None
    text: str


def convert(
    source: str | Path, out: str | Path, kind: str | None = None, tokenizer: str | Path | None = None
) -> Converted:
    """Write the model at ``source`` as a checkpoint, and run it over the first tokens of the sample text.

    Parameters
    ----------
    source : path
    out : path
        Replaced if it exists; it appears only when complete, and has been run.
    kind : str, optional
        One of ``SOURCES``; by default the one that recognises the source.
    tokenizer : path, optional
        Where the tokenizer is a file of its own that cannot be found.

    Raises
    ------
    CheckpointError, ConfigError, TextError
    """
    source = Path(source)
    if kind is not None and kind not in SOURCES:
        raise ConfigError(f"--from is {kind!r:.40}; expected one of {', '.join(SOURCES)}")
    try:
        kind = kind or _recognised(source)
        parts = SOURCES[kind].read(source, Path(tokenizer) if tokenizer else None)
    except OSError as error:
        raise CheckpointError(f"{error.filename}: cannot be read ({error.strerror})") from None
    except MemoryError:
        raise CheckpointError(
            f"{source}: there is no memory for its weights; convert it where there is as much as it has bytes"
        ) from None
    config = {**parts.config, "origin": f"lm-meter convert, from {source.name!r} ({kind})"}
    trials: list[Trial] = []
    write_checkpoint(out, config, dict(parts.arrays), lambda checkpoint: trials.append(tried(checkpoint)))
    [trial] = trials
    return Converted(kind, Path(out).stat().st_size, trial.tokens, trial.loss_nats, trial.text)


def inputs_of(source: str | Path, tokenizer: str | Path | None) -> list[Path]:
    """Files that a conversion may read: they must not be its output. A checkpoint in a folder is none of them."""
    source = Path(source)
    beside = source.glob("*") if source.is_dir() else source.parent.glob("tok*.bin")
    return [source, *(file for file in beside if file.suffix != ".npz"), *([Path(tokenizer)] if tokenizer else [])]


def _recognised(source: Path) -> str:
    if not source.exists():
        raise CheckpointError(f"{source}: does not exist; expected a model of one of {', '.join(SOURCES)}")
    found = [name for name, candidate in SOURCES.items() if candidate.is_one(source)]
    if len(found) != 1:
        raise CheckpointError(
            f"{source}: is not recognised as a model of one of {', '.join(SOURCES)}; name its format with --from"
        )
    return found[0]


def conversion_table(done: Converted, source: str, out: str) -> str:
    """What the command prints."""
    if done.loss_nats is None:
        run = f"nothing was run: there is nothing to predict in {done.text}"
    else:
        run = f"mean loss of {done.tokens} predictions over {done.text}: {done.loss_nats:.6f} nats"
    return page([f"{source} ({done.source}) -> {out}, {done.size:,} bytes", run])
