"""Numbers that no model can have: scales, offsets, indices."""

import numpy as np
import pytest
from tiny import integer_parts

from lm_meter import Checkpoint, CheckpointError, Model, write_checkpoint

LAYER = "lstm.0.weight"  # (48, 24): 4 * 12 rows, 12 + 12 columns


def parts_of(**entry):
    return integer_parts({LAYER: entry}, embedding=12)


def refusal(tmp_path, config, arrays):
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(tmp_path / "m.npz", config, arrays)
    assert not list(tmp_path.iterdir())
    return str(caught.value).removeprefix(f"{tmp_path / 'm.npz'}: ")


@pytest.mark.parametrize("scale", [0.0, -0.5, np.inf, np.nan])
def test_a_scale_that_is_no_positive_number(scale, tmp_path):
    config, arrays = parts_of(format="int8", group=8)
    arrays[f"{LAYER}.scale"][7, 2] = scale
    assert refusal(tmp_path, config, arrays) == (
        f"array {LAYER}.scale: the scale of row 7, group 2 is {scale}; expected a finite number above 0"
    )


def test_an_offset_that_is_not_finite(tmp_path):
    config, arrays = parts_of(format="int4", offsets=True)
    arrays[f"{LAYER}.offset"][5, 0] = np.nan
    assert refusal(tmp_path, config, arrays) == (
        f"array {LAYER}.offset has a NaN or infinite weight in row 5; all must be finite"
    )


@pytest.mark.parametrize("high", [False, True])
def test_an_index_outside_its_code_book(high, tmp_path):
    config, arrays = parts_of(format="codebook4")
    arrays[f"{LAYER}.codebook"] = arrays[f"{LAYER}.codebook"][:10]
    arrays[LAYER][...] = 0x99
    write_checkpoint(tmp_path / "m.npz", config, arrays)
    (tmp_path / "m.npz").unlink()
    arrays[LAYER][3, 4] = 0xA9 if high else 0x9A
    assert refusal(tmp_path, config, arrays) == (
        f"array {LAYER}: row 3 has an index outside its code book of 10 entries"
    )


@pytest.mark.parametrize("entries", [0, 17])
def test_a_code_book_of_no_or_too_many_entries(entries, tmp_path):
    config, arrays = parts_of(format="codebook4")
    arrays[f"{LAYER}.codebook"] = np.zeros(entries, np.int8)
    assert refusal(tmp_path, config, arrays) == f"array {LAYER}.codebook has {entries} entries; expected 1 to 16"


@pytest.mark.parametrize("kind", ["int4", "codebook4"])
def test_a_number_behind_the_last_column(kind, tmp_path):
    config, arrays = integer_parts({LAYER: {"format": kind}}, embedding=9)  # 21 columns
    write_checkpoint(tmp_path / "m.npz", config, arrays)
    (tmp_path / "m.npz").unlink()
    arrays[LAYER][6, -1] |= 0x10
    assert refusal(tmp_path, config, arrays) == (
        f"array {LAYER}: row 6 has a number behind its 21 columns; expected 0 in the last half byte"
    )


def test_missing_scales(tmp_path):
    config, arrays = parts_of(format="int8")
    del arrays[f"{LAYER}.scale"]
    assert refusal(tmp_path, config, arrays) == f"array {LAYER}.scale is missing; the configuration needs it"


def test_scales_of_another_type(tmp_path):
    config, arrays = parts_of(format="int8")
    arrays[f"{LAYER}.scale"] = arrays[f"{LAYER}.scale"].astype(np.float32)
    assert refusal(tmp_path, config, arrays) == (
        f"array {LAYER}.scale: is stored as float32; scales are stored as float16"
    )


def test_wider_numbers_than_declared(tmp_path):
    config, arrays = parts_of(format="int8")
    arrays[LAYER] = arrays[LAYER].astype(np.int16)
    assert refusal(tmp_path, config, arrays) == (
        f"array {LAYER}: is stored as int16; its declared format int8 is stored as int8"
    )


def test_the_older_format_version_knows_no_integers(tmp_path):
    config, arrays = parts_of(format="int8")
    assert refusal(tmp_path, config | {"version": 1}, arrays) == (
        f"array {LAYER}: format version 1 knows float32, float16, bfloat16 only; expected version 2"
    )


def test_the_oldest_version_that_says_it_is_written(tmp_path):
    for entry, version in (({"format": "int8"}, 2), ({"format": "float32", "activations": 16}, 2)):
        config, arrays = parts_of(format="int8")
        if entry["format"] == "float32":
            config, arrays = integer_parts({}, embedding=12)
            config["formats"][LAYER] = entry
        write_checkpoint(tmp_path / "m.npz", config, arrays)
        assert Checkpoint(tmp_path / "m.npz").config["version"] == version
    config, arrays = integer_parts({})
    write_checkpoint(tmp_path / "m.npz", config, arrays)
    assert Checkpoint(tmp_path / "m.npz").config["version"] == 1


def test_the_rows_of_an_embedding_of_integers_are_executed_from_the_file(tmp_path):
    config, arrays = integer_parts({"embedding": {"format": "int4", "group": 8}}, embedding=16)
    write_checkpoint(tmp_path / "m.npz", config, arrays)
    model = Model(tmp_path / "m.npz", threads=1)
    model.advance(3)
    assert {(row.region, row.kind) for row in model.histogram} >= {("embedding", "convert"), ("embedding", "multiply")}
