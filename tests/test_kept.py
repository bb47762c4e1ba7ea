"""Pruned matrices in a checkpoint: the mask and the values must agree; storage is what the rules' formula gives."""

from fractions import Fraction

import numpy as np
import pytest
from tiny import integer_parts

from lm_meter import Checkpoint, CheckpointError, Model, write_checkpoint
from lm_meter.inspection import inspect_checkpoint
from lm_meter.profiles import PROFILES
from lm_meter.storage import priced_parameters, tensors_of

LAYER = "lstm.0.weight"  # (48, 24): 4 * 12 rows, 12 + 12 columns
BLOCK = {"format": "int8", "block": (4, 8)}


def refusal(tmp_path, parts):
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(tmp_path / "m.npz", *parts)
    assert not list(tmp_path.iterdir())
    return str(caught.value).removeprefix(f"{tmp_path / 'm.npz'}: ")


def parts_of(**entry):
    return integer_parts({LAYER: entry}, embedding=12)


def test_a_mask_that_keeps_another_number_of_values(tmp_path):
    config, arrays = parts_of(**BLOCK)
    held = arrays[LAYER].size
    arrays[LAYER] = arrays[LAYER][:-1]
    assert refusal(tmp_path, (config, arrays)) == (
        f"array {LAYER}.mask keeps {held} weights, but array {LAYER} holds {held - 1}; the two must agree"
    )
    config, arrays = parts_of(format="int4", block=(1, 1))
    held = arrays[LAYER].size
    arrays[f"{LAYER}.mask"][...] = 255
    assert refusal(tmp_path, (config, arrays)) == (
        f"array {LAYER}.mask keeps 576 bytes of 4-bit weights, but array {LAYER} holds {held}; the two must agree"
    )


def test_bits_behind_the_last_block(tmp_path):
    config, arrays = parts_of(**BLOCK)  # 12 * 3 blocks
    arrays[f"{LAYER}.mask"][-1] |= 0x80
    assert refusal(tmp_path, (config, arrays)) == (
        f"array {LAYER}.mask has bits behind its 36 blocks; expected 0 there"
    )


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_a_kept_weight_that_is_not_finite_is_named_by_its_row(kind, tmp_path):
    config, arrays = parts_of(format=kind, block=(1, 1))
    rows = np.unpackbits(arrays[f"{LAYER}.mask"], bitorder="little").reshape(48, 24).sum(axis=1)
    first = int(rows[:7].sum())
    arrays[LAYER][first] = np.inf if kind == "float16" else 0x7F80
    assert refusal(tmp_path, (config, arrays)) == (
        f"array {LAYER} has a NaN or infinite weight in row 7; all must be finite"
    )


def test_an_index_outside_its_code_book_is_named_by_its_row(tmp_path):
    config, arrays = parts_of(format="codebook4", block=(1, 8))
    arrays[f"{LAYER}.codebook"] = arrays[f"{LAYER}.codebook"][:10]
    arrays[LAYER][...] = 0x99
    rows = 8 * np.unpackbits(arrays[f"{LAYER}.mask"], bitorder="little")[:144].reshape(48, 3).sum(axis=1)
    row = int(np.argmax(np.cumsum(rows) > rows.sum() // 2))
    arrays[LAYER][(int(rows[:row].sum()) + rows[row] - 1) // 2] = 0xA9
    assert refusal(tmp_path, (config, arrays)) == (
        f"array {LAYER}: row {row} has an index outside its code book of 10 entries"
    )


@pytest.mark.parametrize("high", [False, True])
def test_the_row_of_a_bad_index_is_that_of_its_half_byte(high, tmp_path):
    config, arrays = parts_of(format="codebook4", block=(1, 1))
    arrays[f"{LAYER}.mask"] = np.packbits(np.arange(48 * 24) % 24 == 0, bitorder="little")  # one weight a row
    arrays[f"{LAYER}.codebook"] = arrays[f"{LAYER}.codebook"][:10]
    arrays[LAYER] = np.zeros(24, np.uint8)
    arrays[LAYER][3] = 0xA0 if high else 0x0A
    assert refusal(tmp_path, (config, arrays)) == (
        f"array {LAYER}: row {6 + high} has an index outside its code book of 10 entries"
    )


@pytest.mark.parametrize("entry", [{"format": "int4"}, {"format": "float32", "grid": 1, "group": "tensor"}])
def test_a_matrix_of_which_nothing_is_kept(entry, tmp_path):
    config, arrays = parts_of(**entry, block=(1, 1))
    arrays[f"{LAYER}.mask"][...] = 0
    arrays[LAYER] = arrays[LAYER][:0]
    write_checkpoint(tmp_path / "m.npz", config, arrays)
    found = {t["name"]: t for t in inspect_checkpoint(Checkpoint(tmp_path / "m.npz"))["tensors"]}
    assert (found[LAYER]["count"], found[LAYER]["levels_used"]) == (0, 0)
    assert Model(tmp_path / "m.npz", threads=1).log_prob(3) < 0


def test_a_number_behind_the_last_kept_weight(tmp_path):
    config, arrays = parts_of(format="int4", block=(1, 1))
    kept = int(np.unpackbits(arrays[f"{LAYER}.mask"]).sum())
    if kept % 2 == 0:  # take one more away
        byte = int(np.argmax(arrays[f"{LAYER}.mask"] != 0))
        arrays[f"{LAYER}.mask"][byte] &= arrays[f"{LAYER}.mask"][byte] - 1
        kept -= 1
    arrays[LAYER][-1] |= 0x10
    assert refusal(tmp_path, (config, arrays)) == (
        f"array {LAYER}: the last row has a number behind its {kept} kept weights; expected 0 in the last half byte"
    )


def _pruned_layer(block, entry, dtype):
    """512 columns and 128 rows as the layer of an LSTM of 32 units, half of its weights pruned by blocks."""
    config, arrays = integer_parts({}, embedding=480, hidden=(32,), bias=False)
    down, across = 128 // block[0], 512 // block[1]
    kept = np.arange(down * across) % 2 == 0
    config["formats"][LAYER] = entry | {"block": list(block)}
    arrays[LAYER] = (np.arange(32_768) % 200 - 100).astype(dtype)
    arrays[f"{LAYER}.mask"] = np.packbits(kept, bitorder="little")
    return config, arrays


@pytest.mark.parametrize(("block", "mask_bits"), [((1, 1), 65_536), ((4, 4), 4_096)])
def test_storage_of_a_pruned_quantised_layer_is_what_the_rules_say(block, mask_bits, tmp_path):
    """512 x 128, half of the weights: the kept values, what they refer to, and a bit for each block."""
    config, arrays = _pruned_layer(block, {"format": "int8"}, np.int8)
    arrays[f"{LAYER}.scale"] = np.ones((128, 1), np.float16)
    write_checkpoint(tmp_path / "8.npz", config, arrays)
    config, arrays = _pruned_layer(block, {"format": "float32", "grid": 9, "group": "tensor"}, np.float32)
    write_checkpoint(tmp_path / "9.npz", config, arrays)
    # 32,768 values; a float16 scale for each of 128 rows, or a table of 512 float32 levels.
    by_hand = {"8.npz": 32_768 * 8 + 128 * 16 + mask_bits, "9.npz": 32_768 * 9 + 512 * 32 + mask_bits}
    # In June's 16-bit units the 512 levels count 1 each; in the final rules' 32-bit units everything goes by its width.
    june = {"8.npz": 16_384 + 128, "9.npz": Fraction(32_768 * 9, 16) + 512}
    for file, bits in by_hand.items():
        tensors = [t for t in tensors_of(Checkpoint(tmp_path / file)) if t.name.startswith(LAYER)]
        assert sum(t.count * t.width for t in tensors) == bits
        assert priced_parameters(tensors, PROFILES["micronet-2019-final"]) == Fraction(bits, 32)
        assert priced_parameters(tensors, PROFILES["micronet-2019-06"]) == june[file] + Fraction(mask_bits, 16)
