"""Scores: the challenge's worked examples, and pricing a histogram."""

from fractions import Fraction

import pytest

from lm_meter import ConfigError
from lm_meter.histogram import Row
from lm_meter.profiles import PROFILES
from lm_meter.score import price, score, task_of

JUNE, FINAL = PROFILES["micronet-2019-06"], PROFILES["micronet-2019-final"]


@pytest.mark.parametrize("profile", [JUNE, FINAL])
def test_imagenet_example(profile):
    """3 / 6.9 + 500 / 1170 = 0.434783 + 0.427350 = 0.862133: "0.862"."""
    found = score(task_of(profile, "imagenet"), Fraction(3_000_000), Fraction(500_000_000))

    assert found.storage_ratio == Fraction(3_000_000, 6_900_000)
    assert found.operations_ratio == Fraction(500, 1170)
    assert round(float(found.total), 3) == 0.862


def test_cifar_100_has_imagenets_divisors_in_june():
    assert score(task_of(JUNE, "cifar-100"), Fraction(6_900_000), Fraction(1_170_000_000)).total == 2


def test_cifar_100_has_its_own_divisors_in_the_final_text():
    assert score(task_of(FINAL, "cifar-100"), Fraction(36_500_000), Fraction(10_490_000_000)).total == 2


@pytest.mark.parametrize("profile", [JUNE, FINAL])
def test_the_baseline_scores_two(profile):
    task = task_of(profile, "wikitext-103")

    assert score(task, Fraction(159_000_000), Fraction(318_000_000)).total == 2
    assert task.max_perplexity == 35


def test_the_real_baseline_scores_a_little_more():
    """Its exact counts, 159,376,855 parameters and 318,200,832 matrix-vector operations, at 16 bits a piece."""
    found = score(task_of(JUNE, "wikitext-103"), Fraction(159_376_855), Fraction(318_200_832))

    assert found.total == Fraction(159_376_855, 159_000_000) + Fraction(318_200_832, 318_000_000)


@pytest.mark.parametrize("name", ["flops", "macs", "bops"])
def test_a_general_view_has_no_score(name):
    with pytest.raises(ConfigError) as caught:
        task_of(PROFILES[name], "imagenet")

    assert str(caught.value) == (f"profile {name} is a general view without a score; use micronet-2019-06 or -final")


def test_an_unknown_task():
    with pytest.raises(ConfigError, match=r"^task is 'mnist'; expected one of wikitext-103, imagenet, cifar-100$"):
        task_of(JUNE, "mnist")


# A layer of 3 inputs and 2 outputs with bias, 8-bit weights and 16-bit inputs, and a softmax over the 2 in 32 bits.
ROWS = [
    Row("logits", "multiply", 8, 16, 6),  # 2 * 3
    Row("logits", "add", 16, 16, 6),  # 2 * (3 - 1) + 2 biases
    Row("logits", "convert", 8, 16, 6),
    Row("softmax", "transcendental", 32, 0, 3),  # two exp, one log
]
ROLES = {"embedding": "lookup", "logits": "matrix_vector", "softmax": "normalisation"}


def test_pricing_under_the_june_rules():
    """All but the conversion, whose one input has 8 bits, have an input of 16 bits or more: 1 each, and 1/2."""
    priced = price(ROWS, ROLES, JUNE, narrow=True)

    assert priced.by_kind == {"multiply": 6, "add": 6, "convert": 3, "transcendental": 3}
    assert priced.by_region == {"embedding": 0, "logits": 15, "softmax": 3}
    assert priced.matrix_vector == 15
    assert priced.total == 18


def test_pricing_under_the_final_rules():
    """16-bit operations 1/2, the conversion from 8 to 16 bits exact and free, 32-bit functions 1."""
    priced = price(ROWS, ROLES, FINAL, narrow=True)

    assert priced.by_kind == {"multiply": 3, "add": 3, "convert": 0, "transcendental": 3}
    assert priced.by_region == {"embedding": 0, "logits": 6, "softmax": 3}
    assert priced.total == 9


@pytest.mark.parametrize(
    ("name", "total"), [("flops", 21), ("macs", 6), ("bops", 6 * 128 + 6 * 256 + 6 * 128 + 3 * 32)]
)
def test_pricing_under_the_general_views(name, total):
    assert price(ROWS, ROLES, PROFILES[name], narrow=True).total == total


def test_a_large_sum_is_exact():
    """10**18 + 5/16 has more digits than a float."""
    rows = [Row("logits", "add", 16, 16, 10**18), Row("logits", "add", 3, 5, 1)]

    assert price(rows, ROLES, JUNE, narrow=True).total == 10**18 + Fraction(5, 16)


def test_nothing_costs_nothing():
    assert price([], ROLES, JUNE, narrow=False).total == 0
