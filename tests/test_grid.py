"""Grids: declared, looked for, and counted at their declared width."""

import numpy as np
import pytest
from tiny import integer_parts, stored

from lm_meter import Checkpoint, CheckpointError, write_checkpoint
from lm_meter.inspection import count_operations, inspect_checkpoint
from lm_meter.profiles import PROFILES

LAYER = "lstm.0.weight"  # (48, 24)


def parts_of(values, **entry):
    config, arrays = integer_parts({}, embedding=12)
    config["formats"][LAYER] = entry
    arrays[LAYER] = stored(values.astype(np.float32), entry["format"])
    return config, arrays


def on_a_grid(levels, seed=2):
    return np.random.default_rng(seed).integers(0, levels, (48, 24)) - levels // 2


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("group", [None, 8, "tensor"])
def test_as_many_values_as_declared_and_one_more(kind, group, tmp_path):
    values = on_a_grid(4)
    values[7, 8:12] = range(-2, 2)  # all four, in one group
    entry = {"format": kind, "grid": 2} | ({} if group is None else {"group": group})
    config, arrays = parts_of(values, **entry)
    arrays[LAYER][values == 0] = stored(np.float32([-0.0]), kind)[0]  # another zero is no other value
    arrays[LAYER][7, 10] = 0
    write_checkpoint(tmp_path / "m.npz", config, arrays)
    tensors = {t["name"]: t for t in inspect_checkpoint(Checkpoint(tmp_path / "m.npz"))["tensors"]}
    assert (tensors[LAYER]["width"], tensors[LAYER]["stored_width"]) == (2, 32 if kind == "float32" else 16)
    assert tensors[LAYER]["levels_used"] == 4
    assert tensors[f"{LAYER}.levels"]["count"] == 4 * {None: 48, 8: 48 * 3, "tensor": 1}[group]

    arrays[LAYER][7, 9] = stored(np.float32([9]), kind)[0]
    arrays[LAYER][7, 13] = stored(np.float32([-1]), kind)[0]
    place = "in the whole array" if group == "tensor" else f"in row 7, group {0 if group is None else 1}"
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(tmp_path / "n.npz", config, arrays)
    assert str(caught.value) == (
        f"{tmp_path / 'n.npz'}: array {LAYER}: 5 different values {place}; its grid of 2 bits has at most 4"
    )


def test_the_multiply_is_charged_at_the_width_of_the_level_that_enters_it(tmp_path):
    write_checkpoint(tmp_path / "m.npz", *parts_of(on_a_grid(8), format="float16", grid=3))
    rows = count_operations(Checkpoint(tmp_path / "m.npz"), PROFILES["flops"])["histogram"]
    multiplies = [row for row in rows if row["kind"] == "multiply" and row["region"] == "lstm.0"]
    assert [(row["bits_a"], row["bits_b"]) for row in multiplies] == [(16, 32)]


def test_a_pruned_grid_is_that_of_the_kept_weights(tmp_path):
    config, arrays = integer_parts({LAYER: {"format": "float32", "block": (1, 1), "grid": 1}}, embedding=12)
    arrays[LAYER] = np.sign(arrays[LAYER])
    write_checkpoint(tmp_path / "m.npz", config, arrays)
    arrays[LAYER][-1] = 3
    with pytest.raises(CheckpointError, match=r"row 47, group 0; its grid of 1 bits has at most 2"):
        write_checkpoint(tmp_path / "m.npz", config, arrays)


def test_levels_used_of_integers(tmp_path):
    entries = {LAYER: {"format": "int4"}, "softmax.weight": {"format": "int8", "block": (1, 1)}}
    config, arrays = integer_parts(entries, embedding=9)  # 21 columns: half a byte at each row's end is no number
    arrays[LAYER][...] = 0x31
    arrays[LAYER][:, -1] = 0x01
    arrays["softmax.weight"][...] = np.arange(arrays["softmax.weight"].size) % 5 - 2
    write_checkpoint(tmp_path / "m.npz", config, arrays)
    found = {t["name"]: t["levels_used"] for t in inspect_checkpoint(Checkpoint(tmp_path / "m.npz"))["tensors"]}
    assert found[LAYER] == 2
    assert found["softmax.weight"] == 5
    assert found["embedding"] is None
