"""What a checkpoint contains, and what a step of it costs, without running it."""

from __future__ import annotations

from math import prod
from typing import Any

from .checkpoint import Checkpoint
from .histogram import rows_of, rows_to_json
from .interrupt import deferred_interrupt
from .profiles import PROFILES, Profile
from .report import columns, number, operations_table
from .score import price
from .storage import is_narrow, priced_parameters, tensors_of, tensors_to_json, total_bits


def inspect_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """Architecture, tensors, widths, and storage under each profile."""
    tensors = tensors_of(checkpoint)
    stored = _stored_widths(checkpoint)
    entries = [
        {**entry, "stored_width": stored[entry["tied_to"] or entry["name"]]} for entry in tensors_to_json(tensors)
    ]
    return {
        "path": str(checkpoint.path),
        "sha256": checkpoint.sha256(),
        "config": {key: value for key, value in checkpoint.config.items() if key != "formats"},
        "tensors": entries,
        "bits": total_bits(tensors),
        "parameters": {name: float(priced_parameters(tensors, profile)) for name, profile in PROFILES.items()},
        "numbers": sum(tensor.count for tensor in tensors),
    }


def _stored_widths(checkpoint: Checkpoint) -> dict[str, int]:
    """Bits that a number of each array takes in the file: a whole number, padding of the last half byte apart."""
    return {
        name: array.dtype.itemsize * 8 * prod(checkpoint.stored_shape(name)) // prod(checkpoint.shape(owner))
        if array.role == "values"
        else array.dtype.itemsize * 8
        for owner, parts in checkpoint.parts.items()
        for name, array in parts.items()
    }


def inspection_table(found: dict[str, Any]) -> str:
    """``inspect_checkpoint`` as a table."""
    config = found["config"]
    lines = [
        f"{found['path']}: {config['architecture']}, format version {config['version']}",
        f"sha256 {found['sha256']}",
    ]
    if "origin" in config:
        lines.append(f"origin: {config['origin']}")
    lines.append("dimensions: " + ", ".join(f"{key} {value}" for key, value in config["dimensions"].items()))
    lines.append(f"tokenizer: {config['tokenizer']['kind']}")
    lines.append("")
    rows = [["tensor", "shape", "format", "declared", "stored", "count"]]
    for tensor in found["tensors"]:
        shape = " x ".join(str(n) for n in tensor["shape"])
        where = f"tied to {tensor['tied_to']}" if tensor["tied_to"] else number(tensor["count"])
        rows.append(
            [tensor["name"], shape, tensor["format"], f"{tensor['width']} bit", f"{tensor['stored_width']} bit", where]
        )
    lines += columns(rows)
    lines += ["", f"numbers: {number(found['numbers'])}, bits: {number(found['bits'])}", "parameters by profile"]
    lines += columns([[name, number(value)] for name, value in found["parameters"].items()])
    return "\n".join(lines) + "\n"


def count_operations(checkpoint: Checkpoint, profile: Profile) -> dict[str, Any]:
    """Operations of one step and one prediction, from the cost laws."""
    with deferred_interrupt() as interruption:
        regions, tally = checkpoint.architecture.step_tally(checkpoint)
    interruption.obey()
    rows = rows_of(tally, regions)
    narrow = is_narrow(tensors_of(checkpoint))
    priced = price(rows, {region.name: region.role for region in regions}, profile, narrow)

    def as_float(values: Any) -> dict[str, float]:
        return {key: float(value) for key, value in values.items()}

    return {
        "path": str(checkpoint.path),
        "operations_per_piece": {
            "profile": profile.name,
            "unit": profile.unit,
            "total": float(priced.total),
            "matrix_vector": float(priced.matrix_vector),
            "by_kind": as_float(priced.by_kind),
            "by_region": as_float(priced.by_region),
        },
        "by_region_and_kind": {region: as_float(cells) for region, cells in priced.by_region_and_kind.items()},
        "moves": [{"region": region.name, "what": move} for region in regions for move in region.moves],
        "histogram": rows_to_json(rows),
    }


def count_table(counted: dict[str, Any]) -> str:
    """``count_operations`` as a table."""
    operations = counted["operations_per_piece"]
    lines = [f"{counted['path']}", f"operations per piece ({operations['profile']}: {operations['unit']})"]
    lines += operations_table(operations, counted["by_region_and_kind"])
    lines.append(f"  matrix-vector products with their biases: {number(operations['matrix_vector'])}")
    lines += ["", "not priced"]
    lines += [f"  {move['region']}: {move['what']}" for move in counted["moves"]]
    return "\n".join(lines) + "\n"
