"""Writing a checkpoint: complete, and checked as a run would check it, or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .atomic_file import mode_for
from .checkpoint import FORMAT, PLAIN_VERSION, VERSION, Checkpoint
from .errors import CheckpointError, LmMeterError
from .models.runtime import Runtime
from .npz import write_npz
from .threads import ThreadTeam
from .tokenizers import load_tokenizer
from .weight_format import FLOATS
from .weight_values import check_values

_LONGEST_NAME = 200
_BRIEF_CONTEXT = 128  # tokens of context that there is room for while a checkpoint is checked


def write_checkpoint(
    path: str | Path,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    trial: Callable[[Checkpoint, Runtime], object] | None = None,
) -> None:
    """Write a checkpoint and check everything that its specification demands by reading it back.

    Parameters
    ----------
    path : path
        File to write; replaced if it exists.
    config : mapping
        ``architecture``, ``dimensions``, ``tokenizer`` and what else the architecture wants
        (``checkpoints/README.md``). ``formats`` may leave out arrays whose type says it: float32 and float16.
    arrays : mapping of name to array
        Weights, scales, masks and tokenizer data in the types that the specification has for them; float32 and float16
        as they are, bfloat16 as bit patterns in uint16; of any memory layout.
    trial : callable, optional
        Called with the checked checkpoint and its model, loaded for the beginning of a text, before the file takes its
        name; where it raises an error, nothing is written.

    Raises
    ------
    CheckpointError
        Where the file cannot be written, the configuration and the arrays do not agree, or no run would take it.
    """
    path = Path(path)
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in plain.items():
        if not name.isascii() or len(name) > _LONGEST_NAME:
            raise CheckpointError(f"{path}: array name {name!r:.40}; expected ASCII, {_LONGEST_NAME} letters at most")
        if array.dtype.hasobject:
            raise CheckpointError(f"{path}: array {name} holds Python objects; expected plain numbers")
    text = _config_text(path, config, plain)
    target = Path(os.path.realpath(path))
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".lm-meter.") as folder:
            scratch = Path(folder) / "unchecked.npz"
            write_npz(scratch, text, plain)
            try:
                opened = Checkpoint(scratch)
                runtime = _checked(opened)
                if trial is not None:
                    trial(opened, runtime)
            except LmMeterError as error:
                raise type(error)(str(error).replace(str(scratch), str(path))) from None
            scratch.chmod(mode_for(target))
            scratch.replace(target)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def _config_text(path: Path, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    given = config.get("formats", {})
    if not isinstance(given, Mapping):
        raise CheckpointError(f"{path}: formats is {given!r:.40}; expected a mapping of array names to formats")
    formats = {
        name: "float32" if array.dtype == np.float32 else "float16"
        for name, array in arrays.items()
        if array.dtype in (np.float32, np.float16) and not _belongs_to_another(name, given)
    }
    formats |= given
    # The oldest version that says it all, so that the oldest reader can read it.
    version = VERSION if any(entry not in FLOATS for entry in formats.values()) else PLAIN_VERSION
    complete = {"format": FORMAT, "version": version, **config, "formats": formats}
    try:
        text = json.dumps(complete, indent=1, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: the configuration is no JSON ({reason}); expected plain Python values"
        ) from None
    return text


def _belongs_to_another(name: str, formats: Mapping[str, Any]) -> bool:
    """Whether an array holds scales or the like of another one, whose format says so."""
    owner = name.rpartition(".")[0]
    return owner in formats and formats[owner] not in FLOATS


def _checked(checkpoint: Checkpoint) -> Runtime:
    """The model, when all is as a run would have it: the tokenizer, the weights, and what its loading asks of both.

    It is loaded by one thread, for the beginning of a text.
    """
    load_tokenizer(checkpoint)
    for name in checkpoint.formats:
        check_values(checkpoint, name)
    architecture, config = checkpoint.architecture, checkpoint.model_config
    context = architecture.context(config)
    if context is not None and context.length > _BRIEF_CONTEXT:
        context = architecture.context(config, None, _BRIEF_CONTEXT)
    return architecture.load(checkpoint, ThreadTeam(1), context)
