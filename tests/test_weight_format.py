"""Declarations of weight arrays: what is stored for each, what is refused."""

import numpy as np
import pytest

from lm_meter.errors import CheckpointError
from lm_meter.kernels.formats import NAMES
from lm_meter.weight_format import WeightFormat, needed_accumulator, parse_weight_format

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
        "its format has 'grop'; expected format, group, offsets, activations, accumulator"
    )


@pytest.mark.parametrize(("key", "value"), [("offsets", 1), ("activations", "8"), ("accumulator", None)])
def test_an_option_of_the_wrong_type(key, value):
    kind = "bool" if key == "offsets" else "int"
    assert refusal({"format": "int8", key: value}) == f"{key} is {value!r}; expected a {kind}"


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
    assert parse_weight_format({"format": "int8", "activations": 8, "accumulator": 21}, "w", SHAPE, "").scheme[4] == 21
    for bits in (20, 33):
        assert refusal({"format": "int8", "activations": 8, "accumulator": bits}) == (
            f"accumulator is {bits}; expected 21 bits, which hold every sum, to 32"
        )
    assert refusal({"format": "int8", "accumulator": 24}) == (
        "accumulator is 24; expected one only with 8-bit activations, whose sums are integers"
    )


def test_every_format_has_a_type_in_the_file():
    for name in NAMES:
        assert all(isinstance(a.dtype, np.dtype) for a in WeightFormat(name).stored("w", SHAPE).values())
