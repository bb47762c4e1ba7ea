"""Formulas of regions: the laws that a result carries as text give what the kernels counted, integer for integer."""

import re

import numpy as np
import pytest
from test_recurrent import CONFIGURATIONS, INTEGERS
from test_recurrent import _parts as recurrent_parts
from test_transformer import NARROWED
from test_transformer import _parts as parts_of_transformer
from tiny_transformer import KINDS

import lm_meter
from lm_meter.calculation import calculate, calculation_to_json
from lm_meter.context import Context
from lm_meter.histogram import rows_of, rows_to_json
from lm_meter.kernels.charge import new_tally
from lm_meter.law_text import value_of

# Tokens of all bins, more of the first.
INPUTS = np.array([0, 1, 35, 395, 120, 2, 3, 399, 60, 0, 7], np.int64)
TARGETS = np.roll(INPUTS, -1)


def _opened(parts, tmp_path):
    lm_meter.write_checkpoint(tmp_path / "model.npz", *parts)
    return lm_meter.Checkpoint(tmp_path / "model.npz")


def _calculated(opened, context, regions, tally):
    document = {
        "calculation": calculation_to_json(*opened.architecture.described(opened, context)),
        "histogram": rows_to_json(rows_of(tally, regions)),
        "regions": [{"name": region.name} for region in regions],
    }
    return document, calculate(document, "tests")


@pytest.mark.parametrize("name", [*CONFIGURATIONS, *(f"narrow {name}" for name in INTEGERS)])
def test_laws_of_recurrent_models_are_the_cost_laws(name, tmp_path):
    opened = _opened(recurrent_parts(name), tmp_path)
    size = opened.model_config.ends.continuous.size
    pairs = np.minimum(np.arange(INPUTS.size), size)
    regions, tally = opened.architecture.text_tally(opened, INPUTS, TARGETS, pairs)

    _, found = _calculated(opened, None, regions, tally)

    assert found.agrees
    assert found.undetermined == 0
    assert {(r.region, r.kind, r.bits_a, r.bits_b): r.counted for r in found.rows if r.counted} == {
        (r.region, r.kind, r.bits_a, r.bits_b): r.count for r in rows_of(tally, regions)
    }
    assert all(row.law for row in found.rows)
    # The units are what was really run.
    assert (found.units["T"], found.units["P"]) == (INPUTS.size, INPUTS.size)
    if size:
        assert (found.units["C"], found.units["N"]) == (np.count_nonzero(pairs), pairs.sum())


@pytest.mark.parametrize("context", [Context("cache", 5), Context("recompute", 5), Context("segment", 4)], ids=str)
@pytest.mark.parametrize("name", [*KINDS, *NARROWED])
def test_laws_of_transformers_are_the_cost_laws(name, context, tmp_path):
    opened = _opened(parts_of_transformer(name), tmp_path)
    chunks = (
        [(1, 0, 0), (1, 3, 3), (1, 4, 4), (1, 1, 1)] if context.policy == "cache" else [(4, 0, 4), (3, 0, 2), (2, 0, 1)]
    )
    chunks = np.array(chunks, np.int64) * [1, 1, bool(opened.model_config.ends.continuous.size)]
    entered, predicted = int(chunks[:, 0].sum()), len(chunks)
    routed = None
    if mixture := opened.model_config.mixture:
        routed = np.zeros((2, mixture.count), np.int64)
        for layer, passing in enumerate((entered, predicted)):
            for n in range(passing * mixture.used):  # in turn
                routed[layer, n % mixture.count] += 1
    regions, tally = opened.architecture.chunk_tally(
        opened, chunks, context, (INPUTS[:entered], TARGETS[:predicted]), routed
    )
    once = opened.architecture.once_tally(opened, context)[1]
    tally = tally + (once if once.size else new_tally(len(regions)))

    _, found = _calculated(opened, context, regions, tally)

    assert found.agrees
    assert found.undetermined == 0
    assert all(row.law for row in found.rows)
    assert (found.units["T"], found.units["P"]) == (entered, predicted)


def test_the_laws_of_a_small_lstm_by_hand(tmp_path):
    """One LSTM of 12 units on an embedding of 8: its gates are 48 rows of 20 columns, with biases."""
    opened = _opened(recurrent_parts("plain"), tmp_path)
    document = calculation_to_json(*opened.architecture.described(opened))
    gates = next(region for region in document["regions"] if region["region"] == "lstm.0")
    assert gates["formula"] == "y = W x + b"
    assert [(size["symbol"], size["value"]) for size in gates["sizes"]] == [("m", 48), ("n", 20)]
    assert gates["laws"] == [
        {"kind": "multiply", "bits_a": 32, "bits_b": 32, "terms": ["T*m*n"]},
        {"kind": "add", "bits_a": 32, "bits_b": 32, "terms": ["T*(m*n - m)", "T*m"]},
    ]
    cell = next(region for region in document["regions"] if region["region"] == "lstm.0.cell")
    assert [law["terms"] for law in cell["laws"]] == [["3*T*u"], ["T*u"], ["5*T*u"]]


@pytest.mark.parametrize("change", [1, -1])
def test_one_count_that_is_altered_shows(change, tmp_path):
    opened = _opened(recurrent_parts("plain"), tmp_path)
    regions, tally = opened.architecture.text_tally(opened, INPUTS, TARGETS, np.zeros_like(INPUTS))
    document, _ = _calculated(opened, None, regions, tally)
    for row in document["histogram"]:
        row["count"] += change
        found = calculate(document, "tests")
        assert not found.agrees
        # That row and no other.
        assert [(r.region, r.kind, r.bits_a, r.bits_b, r.counted) for r in found.rows if r.expected != r.counted] == [
            tuple(row.values())
        ]
        row["count"] -= change
    document["histogram"].append({"region": "logits", "kind": "divide", "bits_a": 32, "bits_b": 32, "count": 5})
    assert [(row.law, row.counted) for row in calculate(document, "tests").rows if row.expected != row.counted] == [
        ("", 5)
    ]


def test_a_result_without_laws_has_no_calculation():
    assert calculate({"calculation": None}, "tests") is None


@pytest.mark.parametrize(
    ("law", "value"), [("T*(m*n - m) + T*m", 60), ("2", 2), ("T - 2*m", -7), ("((T))", 5), ("3*4*(T+m)", 132)]
)
def test_laws_are_evaluated(law, value):
    assert value_of(law, {"T": 5, "m": 6, "n": 2} if value != -7 else {"T": 5, "m": 6}, "x") == value


@pytest.mark.parametrize(
    "law",
    ["", "T**9", "T/2", "T+", "q", "f(T)", "T.real", "(" * 200 + "T" + ")" * 200, "T*" * 300 + "T", "-T", "1e9", "0x1",
     "__import__('os')", "T\n+ 1", "T if T else T", "[T]", "09"],
)  # fmt: skip
def test_what_is_no_law_is_refused(law):
    pattern = (
        r"^f.json: the law .* cannot be evaluated; expected sums and products of whole numbers and of the symbols that "
        "the document declares; write it again with eval --output$"
    )
    with pytest.raises(lm_meter.ConfigError, match=re.compile(pattern)):
        value_of(law, {"T": 1}, "f.json")


def test_a_law_beyond_any_count_is_refused():
    with pytest.raises(lm_meter.ConfigError, match="cannot be evaluated"):
        value_of("*".join(["m"] * 99), {"m": 2**63 - 1}, "f.json")


def test_a_law_without_a_unit_is_refused(tmp_path):
    opened = _opened(recurrent_parts("plain"), tmp_path)
    regions, tally = opened.architecture.text_tally(opened, INPUTS, TARGETS, np.zeros_like(INPUTS))
    document, _ = _calculated(opened, None, regions, tally)
    document["calculation"]["regions"][1]["laws"][0]["terms"] = ["m*n"]
    with pytest.raises(lm_meter.ConfigError) as caught:
        calculate(document, "f.json")
    assert str(caught.value) == (
        "f.json: lstm.0: the law 'm*n' counts operations of a run without tokens; expected a unit of the run in each "
        "of its products; write it again with eval --output"
    )


@pytest.mark.parametrize("law", ["T*T*m*n", "T*P", "m*(T + n)*T - m*n*T", "T*(T - 1)"])
def test_a_law_that_is_not_linear_in_the_units_is_refused(law, tmp_path):
    # With one unit 1 and the others 0 these are as large as T*m*n, nothing, T*m and nothing.
    opened = _opened(recurrent_parts("plain"), tmp_path)
    regions, tally = opened.architecture.text_tally(opened, INPUTS, TARGETS, np.zeros_like(INPUTS))
    document, _ = _calculated(opened, None, regions, tally)
    document["calculation"]["regions"][1]["laws"][0]["terms"] = [law]
    with pytest.raises(lm_meter.ConfigError) as caught:
        calculate(document, "f.json")
    assert str(caught.value) == (
        f"f.json: lstm.0: the law {law!r} multiplies units of the run by each other; expected one of them in each of "
        "its products; write it again with eval --output"
    )
