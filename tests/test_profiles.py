"""Profiles: the prices that the rules state, one by one (MicroNet challenge, both public texts)."""

from fractions import Fraction

import pytest

from lm_meter import ConfigError
from lm_meter.kernels.charge import KINDS
from lm_meter.profiles import DEFAULT_PROFILE, PROFILES, profile_named

JUNE, FINAL = PROFILES["micronet-2019-06"], PROFILES["micronet-2019-final"]
HALF = Fraction(1, 2)


def test_the_june_rules_are_the_default():
    assert DEFAULT_PROFILE == "micronet-2019-06"
    assert list(PROFILES) == ["micronet-2019-06", "micronet-2019-final", "flops", "macs", "bops"]


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize(
    ("bits", "price"),
    [(1, Fraction(1, 16)), (8, HALF), (16, 1), (32, 1)],  # wider than the unit counts 1
)
def test_june_parameters(bits, price, narrow):
    assert JUNE.parameter(bits, narrow) == price


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize(
    ("bits_a", "bits_b", "price"),
    [
        (3, 5, Fraction(5, 16)),  # the wider of the two inputs
        (5, 3, Fraction(5, 16)),
        (16, 8, 1),
        (8, 16, 1),
        (16, 16, 1),
        (32, 32, 1),  # any model may be taken as quantised to 16 bits
        (32, 0, 1),  # one input
        (8, 0, HALF),
        (1, 16, 1),  # a multiply by +-1 is priced by its width like any other
    ],
)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "convert"])
def test_june_operations(kind, bits_a, bits_b, price, narrow):
    """Every kind of two inputs or one has the same price."""
    assert JUNE.operation(kind, bits_a, bits_b, narrow) == price


@pytest.mark.parametrize(
    ("bits_a", "bits_b", "price"), [(16, 32, 1), (32, 8, 1), (8, 32, HALF), (3, 16, Fraction(3, 16))]
)
def test_june_conversions_are_counted_at_the_width_of_their_input(bits_a, bits_b, price):
    assert JUNE.operation("convert", bits_a, bits_b, True) == price


@pytest.mark.parametrize(
    ("bits", "narrow", "price"),
    [
        (8, True, Fraction(1, 4)),
        (16, True, HALF),
        (32, True, 1),
        (32, False, HALF),  # free 16 bits
        (16, False, HALF),
    ],
)
def test_final_parameters(bits, narrow, price):
    assert FINAL.parameter(bits, narrow) == price


@pytest.mark.parametrize(
    ("bits_a", "bits_b", "narrow", "price"),
    [
        (3, 5, True, Fraction(5, 32)),
        (32, 8, True, 1),
        (16, 16, True, HALF),
        (32, 32, True, 1),  # something is quantised below 16 bits: no free 16 bits
        (32, 32, False, HALF),
        (16, 16, False, HALF),
    ],
)
def test_final_multiplies(bits_a, bits_b, narrow, price):
    assert FINAL.operation("multiply", bits_a, bits_b, narrow) == price


@pytest.mark.parametrize("floating", [16, 32])
@pytest.mark.parametrize("narrow", [True, False])
def test_final_multiply_by_a_sign(floating, narrow):
    """A +-1 weight only flips the sign bit of a float, on either side."""
    assert FINAL.operation("multiply", 1, floating, narrow) == Fraction(1, 32)
    assert FINAL.operation("multiply", floating, 1, narrow) == Fraction(1, 32)


def test_final_multiply_by_a_sign_without_a_sign_bit():
    """An 8-bit integer has none: the width counts."""
    assert FINAL.operation("multiply", 1, 8, True) == Fraction(1, 4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("multiply", "convert")])
def test_final_operations_other_than_multiplies_get_no_free_bits(kind):
    assert FINAL.operation(kind, 32, 32, False) == FINAL.operation(kind, 32, 32, True) == 1
    assert FINAL.operation(kind, 1, 32, True) == 1


@pytest.mark.parametrize(
    ("bits_a", "bits_b", "price"),
    [
        (16, 32, 0),
        (8, 32, 0),
        (8, 16, 0),
        (25, 32, 0),
        (26, 32, Fraction(26, 32)),
        (32, 32, 1),
        (32, 16, 1),
        (32, 8, 1),
        (16, 8, HALF),
        (32, 64, 0),
        (64, 32, 2),
    ],
)
def test_final_conversions_are_free_where_exact(bits_a, bits_b, price):
    """RULES: free when exactly representable in float32; else the width of the one input, the output ignored.

    What keeps a width of 32 bits is a sum of integers on its way to float32, which holds 25 bits of it.
    """
    assert FINAL.operation("convert", bits_a, bits_b, True) == price


@pytest.mark.parametrize("kind", KINDS)
def test_general_views(kind):
    flops, macs, bops = (PROFILES[name] for name in ("flops", "macs", "bops"))

    assert flops.operation(kind, 4, 8, True) == 1
    assert macs.operation(kind, 4, 8, True) == (kind == "multiply")
    assert bops.operation(kind, 4, 8, True) == 32
    assert bops.operation(kind, 32, 0, False) == 32  # one input: its width
    assert (flops.parameter(4, True), macs.parameter(4, True), bops.parameter(4, True)) == (1, 1, 4)
    assert not flops.tasks
    assert not macs.tasks
    assert not bops.tasks


def test_an_unknown_profile():
    with pytest.raises(ConfigError) as caught:
        profile_named("micronet")

    assert str(caught.value) == (
        "profile is 'micronet'; expected one of micronet-2019-06, micronet-2019-final, flops, macs, bops"
    )
