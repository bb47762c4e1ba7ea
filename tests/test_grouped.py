"""Grouped projections of a model are block-diagonal ones: the same bits, in any format, with fewer operations."""

import numpy as np
import pytest
from test_transformer import NARROW_GROUPS, POLICIES, WORDS
from tiny import narrowed
from tiny_transformer import transformer_parts

import lm_meter
from lm_meter.inspection import count_operations, inspect_checkpoint
from lm_meter.models.transformer_config import parse_transformer_config
from lm_meter.profiles import PROFILES
from lm_meter.quantization.arrays import half_bytes
from lm_meter.threads import ThreadTeam

WHOLE_INPUTS = {name: entry for name, entry in NARROW_GROUPS.items() if "block" not in entry and "offsets" not in entry}


def _diagonal(array, groups):
    """A matrix with a section's columns at their place, and zeros around them."""
    rows, columns = array.shape
    whole = np.zeros((rows, groups * columns), array.dtype)
    for row in range(rows):
        section = row // (rows // groups)
        whole[row, section * columns : (section + 1) * columns] = array[row]
    return whole


def _widened(config, arrays):
    """The same model with block-diagonal matrices instead of grouped ones."""
    groups = parse_transformer_config(config, "m.npz").groups
    config, arrays = {**config, "formats": dict(config["formats"])}, dict(arrays)
    for section in ("attention", "feed_forward"):
        config[section] = {key: value for key, value in config[section].items() if key != "groups"}
    for part in groups:
        for layer in range(config["dimensions"]["layers"]):
            name = f"layers.{layer}.{part}.weight"
            if name not in arrays:
                continue
            entry, array = config["formats"][name], arrays[name]
            if isinstance(entry, dict) and entry["format"] == "int4":
                columns = config["dimensions"]["width"] // groups[part]
                halves = np.stack([array & 15, array >> 4], axis=-1).reshape(len(array), -1)[:, :columns]
                arrays[name] = half_bytes(_diagonal(halves, groups[part]))
            else:
                arrays[name] = _diagonal(array, groups[part])
    return config, arrays


def _run(path, parts, context):
    lm_meter.write_checkpoint(path, *parts)
    opened = lm_meter.Checkpoint(path)
    runtime = opened.architecture.load(opened, ThreadTeam(2), context)
    runtime.reserve(4)
    tokens = np.random.default_rng(5).integers(0, len(WORDS), 30)
    return opened, runtime.run(tokens[:-1], tokens[1:], 4, runtime.new_tallies())


@pytest.mark.parametrize("context", POLICIES, ids=str)
@pytest.mark.parametrize("name", ["grouped", "grouped finely", "narrow"])
def test_a_grouped_model_has_the_bits_of_the_block_diagonal_one(name, context, tmp_path):
    parts = transformer_parts("grouped" if name == "narrow" else name, WORDS)
    if name == "narrow":
        parts = narrowed(*parts, WHOLE_INPUTS)
    _, grouped = _run(tmp_path / "g.npz", parts, context)
    _, whole = _run(tmp_path / "w.npz", _widened(*parts), context)
    assert grouped.tobytes() == whole.tobytes()


def test_what_is_stored_and_counted(tmp_path):
    opened, _ = _run(tmp_path / "g.npz", transformer_parts("grouped finely", WORDS), POLICIES[0])
    shapes = {entry["name"]: entry["shape"] for entry in inspect_checkpoint(opened)["tensors"]}
    assert shapes["layers.0.attention.query.weight"] == [32, 24]
    assert shapes["layers.0.attention.output.weight"] == [48, 2]
    assert shapes["layers.1.feed_forward.output.weight"] == [48, 32]
    counted = count_operations(opened, PROFILES["flops"])
    what = "numbers of a section to whole lanes, and back from them: a move"
    assert {"region": "layers.0.attention.query", "what": what} in counted["moves"]
    found = counted["by_region_and_kind"]
    assert found["layers.0.attention.query"] == {"multiply": 32 * 24, "add": 32 * 23}
    assert found["layers.0.attention.value"] == {"multiply": 32 * 48, "add": 32 * 47}
    # 48 outputs of 2 inputs each, added to the model's vector.
    assert found["layers.1.attention.output"] == {"multiply": 48 * 2, "add": 48 + 48}
