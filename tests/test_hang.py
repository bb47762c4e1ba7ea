"""No verdict depends on speed: what tests wait for has one limit, which only a hang exceeds."""

import ast
from pathlib import Path

import pytest
from hang import HANG

TESTS = sorted(Path(__file__).parent.glob("*.py"))
# How long the product may wait, which a test states as any other option.
PRODUCTS = {"ForeignEntry", "dict"}


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_no_test_has_a_limit_of_its_own(path):
    found = [
        call.lineno
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) not in PRODUCTS
        for option in call.keywords
        if option.arg == "timeout" and isinstance(option.value, ast.Constant)
    ]
    assert found == []


def test_only_a_hang_is_longer():
    # A pass in another processor's instructions, which compiles for minutes, took 600 s on a busy machine.
    assert HANG >= 6 * 600
