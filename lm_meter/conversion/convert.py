"""Converting a checkpoint of another program: recognise it, read it, write it, run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..checkpoint import Checkpoint
from ..checkpoint_writer import write_checkpoint
from ..defaults import sample_text
from ..errors import CheckpointError, ConfigError
from ..threads import ThreadTeam
from ..tokenizers import load_tokenizer
from .gguf import is_gguf, read_gguf
from .huggingface import is_huggingface, read_huggingface
from .llama2c import is_llama2c, read_llama2c
from .parts import Parts

TRIED_TOKENS = 64


@dataclass(frozen=True)
class Source:
    """A format that can be converted: how it is recognised and read."""

    is_one: Callable[[Path], bool]
    read: Callable[[Path, Path | None], Parts]


SOURCES = {
    "llama2c": Source(is_llama2c, read_llama2c),
    "gguf": Source(is_gguf, read_gguf),
    "huggingface": Source(is_huggingface, read_huggingface),
}


@dataclass(frozen=True)
class Converted:
    """What was made of a source: its format, the checkpoint's size in bytes, tokens that were run, their mean loss."""

    source: str
    size: int
    tokens: int
    loss_nats: float


def convert(
    source: str | Path, out: str | Path, kind: str | None = None, tokenizer: str | Path | None = None
) -> Converted:
    """Write the model at ``source`` as a checkpoint, and run it over the first tokens of the sample text.

    Parameters
    ----------
    source : path
    out : path
        Replaced if it exists; it appears only when complete.
    kind : str, optional
        One of ``SOURCES``; by default the one that recognises the source.
    tokenizer : path, optional
        Where the tokenizer is a file of its own that cannot be found.

    Raises
    ------
    CheckpointError, ConfigError
    """
    source = Path(source)
    kind = kind or _recognised(source)
    if kind not in SOURCES:
        raise ConfigError(f"--from is {kind!r:.40}; expected one of {', '.join(SOURCES)}")
    try:
        parts = SOURCES[kind].read(source, Path(tokenizer) if tokenizer else None)
    except OSError as error:
        raise CheckpointError(f"{error.filename}: cannot be read ({error.strerror})") from None
    config = {**parts.config, "origin": f"lm-meter convert, from {source.name!r} ({kind})"}
    write_checkpoint(out, config, dict(parts.arrays))
    tokens, loss = _tried(Checkpoint(out))
    return Converted(kind, Path(out).stat().st_size, tokens, loss)


def _recognised(source: Path) -> str:
    if not source.exists():
        raise CheckpointError(f"{source}: does not exist; expected a model of one of {', '.join(SOURCES)}")
    found = [name for name, candidate in SOURCES.items() if candidate.is_one(source)]
    if len(found) != 1:
        raise CheckpointError(
            f"{source}: is not recognised as a model of one of {', '.join(SOURCES)}; name its format with --from"
        )
    return found[0]


def _tried(checkpoint: Checkpoint) -> tuple[int, float]:
    """Predictions over the beginning of the sample text, and their mean loss in nats."""
    tokenizer = load_tokenizer(checkpoint)
    tokens = tokenizer.encode(sample_text()).tokens[: TRIED_TOKENS + 1]
    if tokenizer.specials.start is not None:
        tokens = np.concatenate([[tokenizer.specials.start], tokens[:TRIED_TOKENS]])
    runtime = checkpoint.architecture.load(checkpoint, ThreadTeam(1))
    runtime.reserve(1)
    losses = -runtime.run(tokens[:-1], tokens[1:], 1, runtime.new_tallies())
    return losses.size, float(losses.mean())
