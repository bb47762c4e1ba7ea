"""What a checkpoint contains, and what a step of it costs, without running it."""

from __future__ import annotations

from typing import Any

from .activations import full_activations
from .calculation import macs_of
from .checkpoint import Checkpoint
from .defaults import sample_text
from .errors import ConfigError, TextError
from .histogram import rows_of, rows_to_json
from .interrupt import deferred_interrupt
from .levels import levels_used
from .predicted_sections import tokenizer_section
from .printable import page
from .profiles import PROFILES, Profile
from .report import activation_lines, columns, number, operations_table, pairs, product_lines
from .score import price
from .storage import is_narrow, priced_parameters, priced_tables, tensors_of, tensors_to_json, total_bits
from .tokenizer_rows import tokenizer_rows
from .tokenizers import Tokenizer, load_tokenizer
from .weight_values import check_values


def inspect_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """Architecture, tensors, declared and stored widths, and storage under each profile; all values are checked."""
    for name in checkpoint.formats:
        check_values(checkpoint, name)
    tensors = tensors_of(checkpoint)
    stored = _stored_widths(checkpoint)
    used = {name: levels_used(checkpoint, name) for name in checkpoint.formats}
    loaded = load_tokenizer(checkpoint)
    tokenizer = tokenizer_section(loaded)
    entries = []
    for entry in tensors_to_json(tensors):
        source = entry["tied_to"] or entry["name"]
        # The values of a grid are in no array of their own: the weights themselves are stored.
        entries.append({**entry, "stored_width": stored.get(source, entry["width"]), "levels_used": used.get(source)})
    return {
        "path": str(checkpoint.path),
        "sha256": checkpoint.sha256(),
        "config": {key: value for key, value in checkpoint.config.items() if key != "formats"},
        "formats": {name: declared.to_json() for name, declared in checkpoint.formats.items()},
        "tensors": entries,
        "bits": total_bits(tensors),
        "parameters": {name: float(priced_parameters(tensors, profile)) for name, profile in PROFILES.items()},
        "tokenizer": {**tokenizer, "sample_word_tokens_per_prediction": _words_per_token(loaded)},
        "tokenizer_parameters": {
            name: None if tables is None else float(tables)
            for name, tables in ((name, priced_tables(tokenizer, profile)) for name, profile in PROFILES.items())
        },
        "numbers": sum(tensor.count for tensor in tensors),
    }


def _words_per_token(tokenizer: Tokenizer) -> float | None:
    """Word tokens that a token of the sample text stands for; None where the tokenizer does not know that text."""
    try:
        encoded = tokenizer.encode(sample_text(), "error" if tokenizer.specials.unknown is None else "unk")
    except (ConfigError, TextError):
        return None
    return float(encoded.words.sum() / encoded.tokens.size)


def _stored_widths(checkpoint: Checkpoint) -> dict[str, int]:
    """Bits that a number of each array takes in the file."""
    return {
        part: checkpoint.formats[name].stored_bits
        if array.role == "values"
        else 1
        if array.role == "mask"
        else array.dtype.itemsize * 8
        for name, parts in checkpoint.parts.items()
        for part, array in parts.items()
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
    rows = [["tensor", "shape", "format", "declared", "stored", "levels", "count"]]
    for tensor in found["tensors"]:
        shape = " x ".join(str(n) for n in tensor["shape"])
        where = f"tied to {tensor['tied_to']}" if tensor["tied_to"] else number(tensor["count"])
        levels = "-" if tensor["levels_used"] is None else f"{tensor['levels_used']} used"
        widths = [f"{tensor['width']} bit", f"{tensor['stored_width']} bit"]
        rows.append([tensor["name"], shape, tensor["format"], *widths, levels, where])
    lines += columns(rows)
    lines += ["", f"numbers: {number(found['numbers'])}, bits: {number(found['bits'])}", "parameters by profile"]
    rows = [["profile", "model", "tokenizer"]]
    rows += [
        [name, number(value), number(found["tokenizer_parameters"][name])]
        for name, value in found["parameters"].items()
    ]
    of_sample = found["tokenizer"]["sample_word_tokens_per_prediction"]
    words = "not known, as it cannot encode that" if of_sample is None else f"{of_sample:.3f}"
    lines += [*columns(rows), "", "tokenizer"]
    lines += pairs([*tokenizer_rows(found["tokenizer"]), ("word tokens a token, of the sample text", words)])
    return page(lines)


def count_operations(
    checkpoint: Checkpoint, profile: Profile, policy: str | None = None, length: int | None = None
) -> dict[str, Any]:
    """Operations of one step and one prediction, and those done once when a run begins, from the cost laws.

    And the activations that are alive at once, in a context where there is a choice of one.
    """
    context = checkpoint.architecture.context(checkpoint.model_config, policy, length)
    with deferred_interrupt() as interruption:
        regions, tally = checkpoint.architecture.step_tally(checkpoint, context)
        _, once_tally = checkpoint.architecture.once_tally(checkpoint, context)
        activations = full_activations(checkpoint, context, interruption.obey)
    interruption.obey()
    rows = rows_of(tally, regions)
    narrow = is_narrow(tensors_of(checkpoint))
    roles = {region.name: region.role for region in regions}
    priced = price(rows, roles, profile, narrow)
    once = price(rows_of(once_tally, regions), roles, profile, narrow)

    def as_float(values: Any) -> dict[str, float]:
        return {key: float(value) for key, value in values.items()}

    return {
        "path": str(checkpoint.path),
        "assumed": checkpoint.architecture.assumed(checkpoint.model_config, context),
        "operations_per_piece": {
            "profile": profile.name,
            "unit": profile.unit,
            "total": float(priced.total),
            "matrix_vector": float(priced.matrix_vector),
            "macs": macs_of(*checkpoint.architecture.described(checkpoint, context), rows),
            "by_kind": as_float(priced.by_kind),
            "by_region": as_float(priced.by_region),
        },
        "operations_once": {"total": float(once.total), "by_region": as_float(once.by_region)},
        "by_region_and_kind": {region: as_float(cells) for region, cells in priced.by_region_and_kind.items()},
        "activations": activations.to_json(),
        "moves": [{"region": region.name, "what": move} for region in regions for move in region.moves],
        "histogram": rows_to_json(rows),
    }


def count_table(counted: dict[str, Any]) -> str:
    """``count_operations`` as a table."""
    operations = counted["operations_per_piece"]
    lines = [f"{counted['path']}", f"operations per piece ({operations['profile']}: {operations['unit']})"]
    lines += [f"  assumed: {assumption}" for assumption in counted["assumed"]]
    lines += operations_table(operations, counted["by_region_and_kind"])
    lines += product_lines(operations)
    if counted["operations_once"]["total"]:
        once = number(counted["operations_once"]["total"])
        lines.append(f"  once, when a run begins, and not in the above: {once} operations")
    lines += ["", *activation_lines(counted["activations"])]
    lines += ["", "not priced"]
    lines += [f"  {move['region']}: {move['what']}" for move in counted["moves"]]
    return page(lines)
