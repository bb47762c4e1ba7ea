"""Declarations of weight arrays: what is stored for each, what is refused."""

import numpy as np
import pytest

from lm_meter.errors import CheckpointError
from lm_meter.format_parser import parse_weight_format
from lm_meter.kernels.formats import NAMES
from lm_meter.kernels.matrix import EXACT, WRAP
from lm_meter.weight_format import WeightFormat, needed_accumulator

SHAPE = (48, 64)


def refusal(entry, shape=SHAPE):
    with pytest.raises(CheckpointError) as caught:
        parse_weight_format(entry, "w", shape, "m.npz")
    message = str(caught.value)
    assert message.startswith("m.npz: array w: ")
    return message.removeprefix("m.npz: array w: ")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_alone_is_a_format_with_nothing_else(name):
    found = parse_weight_format(name, "w", SHAPE, "m.npz")
    assert found == parse_weight_format({"format": name}, "w", SHAPE, "m.npz") == WeightFormat(name)
    assert found.to_json() == name
    assert found.is_plain == (name in ("float32", "float16", "bfloat16"))


@pytest.mark.parametrize(
    "entry",
    [
        {"format": "int4", "group": 32, "offsets": True, "activations": 8},
        {"format": "int8", "activations": 8, "accumulator": 24},
        {"format": "float16", "activations": 16},
    ],
)
def test_an_object_comes_back_as_it_was(entry):
    assert parse_weight_format(entry, "w", SHAPE, "m.npz").to_json() == entry


def test_arrays_of_each_format():
    def stored(**entry):
        found = parse_weight_format(entry, "w", SHAPE, "m.npz").stored("w", SHAPE)
        return {name: (array.shape, array.dtype.str, array.role) for name, array in found.items()}

    assert stored(format="bfloat16") == {"w": ((48, 64), "<u2", "values")}
    assert stored(format="int8", group=16, offsets=True) == {
        "w": ((48, 64), "|i1", "values"),
        "w.scale": ((48, 4), "<f2", "scales"),
        "w.offset": ((48, 4), "<f2", "offsets"),
    }
    assert stored(format="codebook4") == {
        "w": ((48, 32), "|u1", "values"),
        "w.scale": ((48, 1), "<f2", "scales"),
        "w.codebook": ((None,), "|i1", "codebook"),
    }
    assert WeightFormat("int4").stored("w", (3, 7))["w"].shape == (3, 4)


def test_widths():
    assert [WeightFormat(name).bits for name in NAMES] == [32, 16, 16, 8, 4, 4]


@pytest.mark.parametrize("shape", [(48,), (2, 3, 4)])
def test_integers_that_are_no_matrix(shape):
    assert refusal("int8", shape) == ("is declared int8, but is no matrix; expected float32 or float16 or bfloat16")


@pytest.mark.parametrize("extra", [{"group": 8}, {"offsets": True}])
def test_scales_of_a_floating_point_format(extra):
    assert refusal({"format": "float16", **extra}) == "float16 has no scales; expected neither group nor offsets"


@pytest.mark.parametrize("group", [0, -8, 7, 24, 128, 8.0, "8", True])
def test_a_group_that_does_not_divide_a_row(group):
    assert refusal({"format": "int8", "group": group}) == (
        f"group is {group!r}; expected a multiple of 8 that divides its 64 columns"
    )


def test_a_key_that_is_not_known():
    assert refusal({"format": "int8", "grop": 8}) == (
        "its format has 'grop'; expected format, group, offsets, activations, accumulator, overflow, block, grid"
    )


@pytest.mark.parametrize(("key", "value"), [("offsets", 1), ("activations", "8"), ("accumulator", None)])
def test_an_option_of_the_wrong_type(key, value):
    kind = "true or false" if key == "offsets" else "a whole number"
    assert refusal({"format": "int8", key: value}) == f"{key} is {value!r}; expected {kind}"


@pytest.mark.parametrize("key", ["group", "overflow", "block", "grid", "activations", "offsets", "accumulator"])
@pytest.mark.parametrize("value", [[], {}, "x", 1.5, [1], True, -1])
@pytest.mark.parametrize("kind", ["float16", "int4"])
def test_a_value_of_any_wrong_kind_is_refused_in_one_line(kind, key, value):
    if (key, value) == ("offsets", True) and kind == "int4":
        return
    assert "\n" not in refusal({"format": kind, key: value})


def test_activations_that_no_kernel_has():
    assert refusal({"format": "int8", "activations": 4}) == (
        "activations is 4 for int8 weights; expected one of 8, 16, 32"
    )
    assert refusal({"format": "float32", "activations": 8}) == (
        "activations is 8 for float32 weights; expected one of 16, 32"
    )


def test_accumulators():
    """64 products of at most 128 * 127 are below 2**20: 21 bits with the sign."""
    assert needed_accumulator(WeightFormat("int8"), 64) == 21
    assert needed_accumulator(WeightFormat("int4", group=8), 64) == 14  # 8 * 8 * 127 < 2**13
    assert (
        parse_weight_format({"format": "int8", "activations": 8, "accumulator": 21}, "w", SHAPE, "")
        .scheme(64)
        .accumulator_bits
        == 21
    )
    for bits in (20, 33):
        assert refusal({"format": "int8", "activations": 8, "accumulator": bits}) == (
            f'accumulator is {bits}; expected 21 bits, which hold every sum, to 32, or overflow as "wrap" or "saturate"'
        )
    assert refusal({"format": "int8", "accumulator": 24}) == (
        "accumulator is 24; expected one only with 8-bit activations, whose sums are integers"
    )


def test_every_format_has_a_type_in_the_file():
    for name in NAMES:
        assert all(isinstance(a.dtype, np.dtype) for a in WeightFormat(name).stored("w", SHAPE).values())


def test_an_accumulator_that_overflows():
    entry = {"format": "int8", "activations": 8, "accumulator": 16, "overflow": "wrap"}
    assert parse_weight_format(entry, "w", SHAPE, "").scheme(64).overflow == WRAP
    # Wide enough for 64 products: it never will.
    assert parse_weight_format(entry | {"accumulator": 21}, "w", SHAPE, "").scheme(64).overflow == EXACT
    assert refusal(entry | {"overflow": "clip"}) == "overflow is 'clip'; expected wrap or saturate"
    for bits in (1, 32):
        assert refusal(entry | {"accumulator": bits}) == (
            f"accumulator is {bits}; expected 2 to 31 bits where it may overflow"
        )
    assert refusal({"format": "int8", "activations": 8}, (4, 140_000)) == (
        "sums over 140000 columns need 33 bits; expected groups of fewer columns, or an accumulator with overflow"
    )
    assert refusal(entry | {"block": [1, 1]}) == (
        "is pruned and its accumulator overflows; expected one that holds every sum"
    )
    for wrong in ({"overflow": "wrap"}, {"accumulator": 16}):
        message = refusal({"format": "int8", **wrong})
        assert "expected one only with 8-bit activations, whose sums are integers" in message


@pytest.mark.parametrize("block", [[1, 1], [4, 4], [1, 16], [3, 32], [48, 64]])
def test_arrays_of_a_pruned_matrix(block):
    entry = {"format": "int4", "block": block}
    found = parse_weight_format(entry, "w", SHAPE, "m.npz")
    blocks = 48 * 64 // (block[0] * block[1])
    assert found.to_json() == entry
    assert {name: (array.shape, array.role) for name, array in found.stored("w", SHAPE).items()} == {
        "w": ((None,), "values"),
        "w.scale": ((48, 1), "scales"),
        "w.mask": ((-(-blocks // 8),), "mask"),
    }


@pytest.mark.parametrize("block", [4, "4x4", [4], [4, 4, 4], [0, 4], [5, 4], [4, 12], [4.0, 4], [True, 4], [-1, 4]])
def test_a_block_that_does_not_divide_the_matrix(block):
    assert refusal({"format": "int8", "block": block}) == (
        f"block is {block!r}; expected [rows, columns] that divide its 48 rows and 64 columns"
    )


def test_blocks_that_no_kernel_has():
    assert refusal({"format": "int8", "block": [1, 3]}, (4, 9)) == (
        "block has 3 columns; expected 1, 2, 4, 8 or a multiple of 16"
    )
    assert refusal({"format": "float16", "block": [1, 1]}, (48,)) == "has a block, but is no matrix; expected none"
    assert refusal({"format": "int8", "block": [1, 1]}, (1, 65_552)) == (
        "is pruned and has 65552 columns; expected at most 65536"
    )
    assert refusal({"format": "int8", "block": [1, 1], "offsets": True}) == (
        "is pruned and has offsets; expected scales alone"
    )
    assert refusal({"format": "float32", "activations": 16}, (48,)) == (
        "has activations or an accumulator, but is no matrix; expected neither"
    )
    assert refusal({"format": "int8", "block": [1, 1], "group": 8}) == (
        "is pruned and has a group of 8; expected one scale a row"
    )


def test_grids():
    entry = {"format": "float32", "grid": 3, "group": 5}
    found = parse_weight_format(entry, "w", (4, 20), "m.npz")
    assert (found.bits, found.stored_bits, found.groups((4, 20))) == (3, 32, (4, 4))
    assert found.to_json() == entry
    assert found.scheme(20).group is None
    assert WeightFormat("float16", grid=9, group="tensor").groups((4, 20)) == (1, 1)
    assert WeightFormat("float16", grid=9, group=5).groups((20,)) == (1, 4)  # a bias
    for grid in (0, 16, 4.0, "4", True):
        assert refusal({"format": "float16", "grid": grid}) == (
            f"grid is {grid!r}; expected the bits of a weight, 1 to 15 for float16"
        )
    assert refusal({"format": "int8", "grid": 4}) == "has a grid, but int8 is one already; expected none"
    assert refusal({"format": "float32", "grid": 4, "offsets": True}) == (
        "has a grid and offsets; expected a grid alone, whose values may be any"
    )
    assert refusal({"format": "float32", "grid": 4, "group": 7}) == (
        'group is 7; expected "tensor" or a number that divides its 64 columns'
    )
    assert refusal({"format": "int8", "group": "tensor"}) == (
        "group is 'tensor'; expected a multiple of 8 that divides its 64 columns"
    )
