"""The study of widths: each row is one run, kept and found again; the front has what nothing else beats."""

import argparse
import csv
import sys
from pathlib import Path

import pytest
from tiny import TEXT, tiny_checkpoint

from lm_meter import ConfigError, evaluate
from lm_meter.profiles import profile_named
from lm_meter.quantization.convert import quantize
from lm_meter.quantization.specification import Plan, parse_pattern, parse_specification
from lm_meter.result import price_result

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import sweep_widths

ENTRY = ["int8,activations=8", "lstm.*=int4,group=8"]


@pytest.fixture
def options(tmp_path):
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    checkpoint = tiny_checkpoint(tmp_path / "model.npz", embedding=16, hidden=(16,))
    (tmp_path / "work").mkdir()
    return argparse.Namespace(checkpoint=checkpoint, text=tmp_path / "text", work=tmp_path / "work")


def test_a_row_is_a_run_of_the_quantised_checkpoint(options, tmp_path):
    row = sweep_widths.row_of(ENTRY, sweep_widths.result_of(ENTRY, options))

    plan = Plan(parse_specification(ENTRY[0]), (parse_pattern(ENTRY[1]),))
    quantize(options.checkpoint, tmp_path / "entry.npz", plan)
    reference = evaluate(tmp_path / "entry.npz", text=options.text)
    assert row["perplexity"] == reference.perplexity
    assert row["bits"] == reference["storage"]["bits"]
    for profile in sweep_widths.PROFILES:
        assert row[f"score {profile}"] == price_result(reference, profile_named(profile))["score"]["total"]


def test_a_sweep_that_was_cut_goes_on_where_it_stood(options):
    first = sweep_widths.result_of(["keep"], options)
    options.checkpoint.unlink()  # a second run would fail
    assert sweep_widths.result_of(["keep"], options).perplexity == first.perplexity
    options.text.write_text("the cat", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"keep.json: is of another text; choose another --work"):
        sweep_widths.result_of(["keep"], options)


def test_an_interrupted_run_is_not_kept(options, monkeypatch):
    monkeypatch.setattr(sweep_widths, "evaluate", lambda *_, **__: {"partial": True})
    with pytest.raises(SystemExit, match="keep: interrupted; what is done so far is in"):
        sweep_widths.result_of(["keep"], options)
    assert not list(options.work.iterdir())


def test_the_front_has_no_row_that_another_beats_in_both():
    pairs = [(1, 9), (2, 9), (2, 5), (3, 6), (4, 5), (5, 1)]
    rows = [{"perplexity": p} | {f"score {name}": s for name in sweep_widths.PROFILES} for s, p in pairs]
    sweep_widths.mark_fronts(rows)
    for profile in sweep_widths.PROFILES:
        assert [row[f"front {profile}"] for row in rows] == [True, False, True, False, False, True]


def test_the_program_writes_the_table(options, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_widths, "WIDTHS", [["keep"], ENTRY])
    monkeypatch.setattr(sweep_widths, "PRUNINGS", [["float16,prune=0.5"]])
    arguments = ["--checkpoint", options.checkpoint, "--text", options.text, "--work", options.work]
    monkeypatch.setattr(sys, "argv", ["sweep", *map(str, arguments), "--csv", str(tmp_path / "sweep.csv")])
    sweep_widths.main()
    with open(tmp_path / "sweep.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["weights"] for row in rows] == ["keep", "int8,activations=8", "float16,prune=0.5"]
    assert rows[1]["tensors"] == "lstm.*=int4,group=8"
    assert float(rows[0]["score micronet-2019-06"]) > float(rows[2]["score micronet-2019-06"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--csv", "nowhere/sweep.csv"], "nowhere/sweep.csv: there is no such folder; choose another place"),
        (["--checkpoint", "missing.npz"], "missing.npz: cannot be opened"),
        (["--plot", "sweep.png"], "--plot needs matplotlib; pip install matplotlib"),
    ],
)
def test_what_would_fail_in_the_end_is_refused_before_the_first_run(arguments, message, options, monkeypatch, capsys):
    monkeypatch.setattr(sweep_widths.importlib.util, "find_spec", lambda name: None)
    given = ["--text", options.text, "--work", options.work, "--csv", options.work / "sweep.csv", *arguments]
    monkeypatch.setattr(sys, "argv", ["sweep", *map(str, given)])
    with pytest.raises(SystemExit) as stopped:
        sweep_widths.main()
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
