"""A checkpoint with some of its weights in other formats, written as a new file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..checkpoint import Checkpoint
from ..checkpoint_writer import write_checkpoint
from ..format_parser import parse_weight_format
from ..printable import page
from ..profiles import DEFAULT_PROFILE, PROFILES
from ..report import columns, number
from ..storage import priced_parameters, tensors_of, total_bits
from ..weight_values import check_values
from .arrays import declared_as, encode, read_weights
from .specification import Plan

_SLAB = 1 << 22


@dataclass(frozen=True)
class Change:
    """What became of a weight array: declarations as text, bytes in the file, errors of the values."""

    name: str
    before: str
    after: str
    bytes_before: int
    bytes_after: int
    largest_error: float
    mean_error: float


@dataclass(frozen=True)
class Quantized:
    """What became of a checkpoint: its arrays, and the size of the files and of what inference needs.

    ``kept``: matrices that stayed as they are because the model needs them as floating-point numbers, none pruned.
    """

    changes: list[Change]
    kept: list[str]
    bytes_before: int
    bytes_after: int
    bits_before: int
    bits_after: int
    parameters_before: float  # in the default profile's unit
    parameters_after: float


def quantize(
    checkpoint: str | Path | Checkpoint, out: str | Path, plan: Plan, progress: Callable[[str], None] | None = None
) -> Quantized:
    """Write a checkpoint whose weights are rounded, put into code books and pruned as planned.

    Parameters
    ----------
    checkpoint : path or Checkpoint
    out : path
        Replaced if it exists; it appears only when complete.
    plan : Plan
    progress : callable, optional
        Called with the name of each array before it is worked on.

    Raises
    ------
    CheckpointError, ConfigError
    """
    source = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    asked, plan = plan, replace(plan, floats=source.architecture.float_arrays(source.model_config))
    plan.check({name: source.shape(name) for name in source.formats})
    _check_declarations(source, plan, out)
    bytes_before = source.path.stat().st_size  # the new file may take its place
    config = {key: value for key, value in source.config.items() if key not in ("format", "version")}
    config["formats"] = dict(source.config["formats"])
    config["origin"] = f"lm-meter quantize, from the checkpoint with SHA-256 {source.sha256()}"
    arrays = {
        name: np.frombuffer(source.bytes(name), np.uint8)
        for name, wanted in source.architecture.expected_arrays(source.model_config, str(source.path)).items()
        if not wanted.is_weight
    }
    changes = []
    for name in source.formats:
        if progress:
            progress(name)
        check_values(source, name)
        wanted = plan.of(name, source.shape(name))
        before = {part: source.view(source.verified(part)) for part in source.parts[name]}
        if wanted is None:
            arrays |= before
            continue
        weights = read_weights(source, name)
        encoded = encode(name, weights, wanted)
        arrays |= encoded.arrays
        config["formats"][name] = encoded.declared.to_json()
        changes.append(
            Change(
                name,
                " ".join(source.formats[name].words()),
                " ".join(encoded.declared.words()),
                sum(array.nbytes for array in before.values()),
                sum(array.nbytes for array in encoded.arrays.values()),
                *_errors(weights.values, encoded.values),
            )
        )
    write_checkpoint(out, config, arrays)
    written = Checkpoint(out)
    old, new = tensors_of(source), tensors_of(written)
    june = PROFILES[DEFAULT_PROFILE]
    return Quantized(
        changes,
        [name for name in source.formats if plan.of(name, source.shape(name)) != asked.of(name, source.shape(name))],
        bytes_before,
        written.path.stat().st_size,
        total_bits(old),
        total_bits(new),
        float(priced_parameters(old, june)),
        float(priced_parameters(new, june)),
    )


def _check_declarations(source: Checkpoint, plan: Plan, out: str | Path) -> None:
    """Refuse what the new file would be refused for, before any weight is worked on."""
    for name, before in source.formats.items():
        wanted = plan.of(name, source.shape(name))
        if wanted is not None:
            declared = declared_as(before.block, wanted)
            parse_weight_format(declared.to_json(), name, source.shape(name), str(out))


def _errors(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Largest and mean magnitude of the differences."""
    largest, total = 0.0, 0.0
    flat, other = before.reshape(-1), after.reshape(-1)
    for first in range(0, flat.size, _SLAB):
        difference = np.abs(flat[first : first + _SLAB] - other[first : first + _SLAB])
        largest = max(largest, float(difference.max()))
        total += float(difference.sum(dtype=np.float64))
    return largest, total / flat.size


def changes_table(done: Quantized) -> str:
    """What ``quantize`` did, as a table."""
    rows = [["tensor", "becomes", "bytes", "", "largest error", "mean"]]
    for change in done.changes:
        sizes = [f"{change.bytes_before:,}", f"{change.bytes_after:,}"]
        errors = [f"{change.largest_error:.2g}", f"{change.mean_error:.2g}"]
        rows.append([change.name, change.after, *sizes, *errors])
    lines = columns(rows, indent="")
    if done.kept:
        lines += ["", "left as they are, as the model needs floating-point numbers there, none pruned:"]
        lines += [f"  {name}" for name in done.kept]
    lines += ["", "in all"]
    lines += columns(
        [
            ["file, bytes", f"{done.bytes_before:,}", f"{done.bytes_after:,}"],
            ["needed for inference, bits", f"{done.bits_before:,}", f"{done.bits_after:,}"],
            [f"parameters, {DEFAULT_PROFILE}", number(done.parameters_before), number(done.parameters_after)],
        ]
    )
    return page(lines)
