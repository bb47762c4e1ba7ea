"""Grids: declared, looked for, and counted at their declared width."""

import numpy as np
import pytest
from grids import numbers_of
from tiny import integer_parts, stored

from lm_meter import Checkpoint, CheckpointError, write_checkpoint
from lm_meter.even_grid import Evenness, evenness
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


def multiplies_of(path, parts, profile="micronet-2019-final"):
    """Multiplies of the layer: counts by widths, and their sum in the profile's unit."""
    write_checkpoint(path, *parts)
    counted = count_operations(Checkpoint(path), PROFILES[profile])
    rows = [row for row in counted["histogram"] if row["kind"] == "multiply" and row["region"] == "lstm.0"]
    priced = counted["by_region_and_kind"]["lstm.0"]["multiply"]
    return {(row["bits_a"], row["bits_b"]): row["count"] for row in rows}, priced


WEIGHTS = 48 * 24


def test_whole_numbers_are_charged_at_the_bits_of_the_grid(tmp_path):
    found, _ = multiplies_of(tmp_path / "m.npz", parts_of(on_a_grid(8), format="float16", grid=3))
    assert found == {(3, 32): WEIGHTS}


@pytest.mark.parametrize(("group", "groups"), [(None, 48), (8, 48 * 3), ("tensor", 48)])
@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_steps_are_multiplied_by_as_scales_are(kind, group, groups, tmp_path):
    steps = np.random.default_rng(3).uniform(0.01, 0.02, (48, 24 // (group if group == 8 else 24)))
    steps = steps[:1, :1] if group == "tensor" else steps.repeat(24 // steps.shape[1], axis=1)
    entry = {"format": kind, "grid": 4, "activations": 16} | ({} if group is None else {"group": group})
    found, _ = multiplies_of(tmp_path / "m.npz", parts_of(on_a_grid(16) * steps, **entry))
    assert found == {(4, 16): WEIGHTS, (32 if kind == "float32" else 16, 32): groups}


@pytest.mark.parametrize(
    "levels",
    [
        np.linspace(-1, 1, 16),  # odd numbers of fifteenths
        np.linspace(0, 0.3, 16),
        np.arange(-7, 9) / 7,  # as large numbers above zero as below
        np.round(np.linspace(-1, 1, 15) * 7) / 7,
        np.float32(0.013) * np.arange(-8, 8, dtype=np.float32),
    ],
)
@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_rounded_multiples_of_a_step_are_even(levels, kind, tmp_path):
    parts = parts_of(np.random.default_rng(4).choice(levels, (48, 24)), format=kind, grid=4)
    found, _ = multiplies_of(tmp_path / "m.npz", parts)
    assert found[4, 32] == WEIGHTS


def test_a_multiply_by_plus_or_minus_one_is_a_32nd(tmp_path):
    signs = np.where(on_a_grid(2) < 0, -1, 1)
    found, priced = multiplies_of(tmp_path / "m.npz", parts_of(signs, format="float32", grid=1))
    assert (found, priced) == ({(1, 32): WEIGHTS}, WEIGHTS / 32)
    _, priced = multiplies_of(tmp_path / "m.npz", parts_of(signs, format="float32", grid=1), "micronet-2019-06")
    assert priced == WEIGHTS  # the June text has no such rule: the wider input counts


def test_plus_or_minus_a_step_is_a_32nd_and_the_step(tmp_path):
    signs, steps = np.where(on_a_grid(2) < 0, -1, 1), np.linspace(0.1, 0.3, 48)[:, None]
    found, priced = multiplies_of(tmp_path / "m.npz", parts_of(signs * steps, format="float32", grid=1))
    assert (found, priced) == ({(1, 32): WEIGHTS, (32, 32): 48}, WEIGHTS / 32 + 48)


def test_a_step_for_each_weight_saves_nothing(tmp_path):
    """Any weights are plus or minus a step if each has a step of its own."""
    values = np.random.default_rng(5).standard_normal((48, 24))
    found, priced = multiplies_of(tmp_path / "m.npz", parts_of(values, format="float32", grid=1, group=1))
    assert (found, priced) == ({(1, 32): WEIGHTS, (32, 32): WEIGHTS}, WEIGHTS / 32 + WEIGHTS)


@pytest.mark.parametrize("levels", [(0, 1), (3.7, 9.2), (-1, 2), (0, -0.25), (1, 3)])
def test_other_values_on_a_grid_of_one_bit_are_a_table(levels, tmp_path):
    """No multiply by these is a change of sign; and one row of them is enough."""
    values = np.where(on_a_grid(2) < 0, -1.0, 1.0)
    values[17] = np.array(levels)[on_a_grid(2)[17]]
    found, priced = multiplies_of(tmp_path / "m.npz", parts_of(values, format="float32", grid=1))
    assert (found, priced) == ({(32, 32): WEIGHTS}, WEIGHTS)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_any_values_are_a_table_as_of_a_code_book(bits, tmp_path):
    levels = np.random.default_rng(6).standard_normal(1 << bits)
    values = np.random.default_rng(7).choice(levels, (48, 24))
    entry = {"format": "float32", "grid": bits, "group": "tensor", "activations": 16}
    found, _ = multiplies_of(tmp_path / "m.npz", parts_of(values, **entry))
    assert found == {(32, 16): WEIGHTS}


def test_numbers_of_one_bit_too_many_are_a_table(tmp_path):
    """Sixteen different values, but sixteen signed numbers of four bits have no 12 beside a -4."""
    values = on_a_grid(16) + 4.0
    found, _ = multiplies_of(tmp_path / "m.npz", parts_of(values * 0.3, format="float32", grid=4))
    assert found == {(32, 32): WEIGHTS}


@pytest.mark.parametrize("bits", range(1, 13))
@pytest.mark.parametrize("rounding", [2.0**-24, 2.0**-11])
def test_evenness_of_whole_numbers_and_of_one_that_is_not(bits, rounding):
    rng, dtype = np.random.default_rng(bits), np.float32 if rounding < 2.0**-20 else np.float16
    for kind in ("signed", "negated", "unsigned", "odd"):
        whole = numbers_of(kind, bits, (40, 12), rng)
        values = (whole * rng.uniform(0.1, 0.2, (40, 1))).astype(dtype).astype(float)
        if dtype == np.float32 or bits < 9:  # else its steps are narrower than its roundings
            assert evenness(values, bits, rounding) == Evenness.STEPS
        assert evenness(whole.astype(float), bits, rounding) == Evenness.WHOLE
        if bits < 5:
            values[31, 5] = np.abs(values[31]).max() / np.sqrt(2)
            assert evenness(values, bits, rounding) == Evenness.TABLE


def test_wide_grids_are_tables():
    assert evenness(np.arange(12.0)[None], 13, 2.0**-24) == Evenness.TABLE
    for value in (np.nan, np.inf, -np.inf):
        assert evenness(np.array([[1.0, value]]), 3, 2.0**-24) == Evenness.TABLE


def test_a_pruned_grid_is_that_of_the_kept_weights(tmp_path):
    config, arrays = integer_parts({LAYER: {"format": "float32", "block": (1, 1), "grid": 1}}, embedding=12)
    arrays[LAYER] = np.sign(arrays[LAYER])
    found, _ = multiplies_of(tmp_path / "m.npz", (config, arrays))
    assert found == {(1, 32): arrays[LAYER].size}
    found, _ = multiplies_of(tmp_path / "m.npz", (config, arrays | {LAYER: arrays[LAYER] * np.float32(0.3)}))
    assert found == {(1, 32): arrays[LAYER].size, (32, 32): 48}
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
