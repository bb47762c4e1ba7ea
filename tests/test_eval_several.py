"""Several passes in one command, and the forms in which results are printed."""

import csv
import io
import json
import re
import signal
import sys
from pathlib import Path

import pytest
from entry_programs import program, vocabulary
from tiny import TEXT, tiny_checkpoint

from lm_meter import ConfigError, LmMeterError, MeterError, cli, evaluate, load_result
from lm_meter.passes import Plan, make_passes
from lm_meter.records import read_records
from lm_meter.report import result_table
from lm_meter.result_records import load_result_records, records_of
from lm_meter.run_rows import COLUMNS, rows_csv, rows_markdown, rows_table

EVALUATION = sys.modules[evaluate.__module__]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two checkpoints and two texts, in the folder that the command runs in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LM_METER_DATA", raising=False)
    tiny_checkpoint(tmp_path / "one.npz")
    tiny_checkpoint(tmp_path / "two.npz", hidden=(16,), dtype="float16")
    (tmp_path / "short.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "long.txt").write_text(TEXT * 8, encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(capsys):
    """Runs ``eval`` and gives status, standard output and standard error."""

    def command(*arguments):
        capsys.readouterr()
        status = cli.main(["eval", *map(str, arguments)])
        return status, *capsys.readouterr()

    return command


PAIRS = [(checkpoint, text) for checkpoint in ("one", "two") for text in ("short", "long")]
ALL = ("--checkpoint", "one.npz", "two.npz", "--text", "short.txt", "long.txt")


def _references():
    """The results of the pairs, one pass at a time."""
    return [evaluate(f"{checkpoint}.npz", text=f"{text}.txt") for checkpoint, text in PAIRS]


def _measured(document):
    """What does not depend on the moment."""
    return {
        name: document[name] for name in ("checkpoint", "text", "nll_nats", "chain", "histogram", "storage", "score")
    }


def test_all_pairs_are_run_in_their_order(folder, run):
    status, out, err = run(*ALL, "--format", "jsonl")
    documents = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [_measured(d) for d in documents] == [_measured(r.document) for r in _references()]
    for number, (checkpoint, text) in enumerate(PAIRS):
        assert f"run {number + 1} of 4: {checkpoint}.npz over {text}.txt\n" in err
    repeated = ("--checkpoint", "one.npz", "--checkpoint", "two.npz", "--text", "short.txt", "--text", "long.txt")
    status, again, err = run(*repeated, "--format", "json", "--quiet")
    assert [_measured(d) for d in json.loads(again)] == [_measured(d) for d in documents]
    assert (status, err) == (0, "")


def test_one_table_has_a_row_for_each_run(folder, run):
    status, out, _ = run(*ALL, "--quiet")
    assert status == 0
    head, *rows = out.splitlines()[4:]
    assert out.startswith(
        "text        short.txt: 23 word tokens\ntext        long.txt: 184 word tokens\n"
        "profile     micronet-2019-06: 16-bit operations and parameters\n\n"
    )
    names = ["checkpoint", "text", "perplexity", "95%", "interval", "operations", "parameters", "score", "tokens/s"]
    assert head.split() == names
    assert max(map(len, out.splitlines())) <= 100
    for row, (checkpoint, text), reference in zip(rows, PAIRS, _references(), strict=True):
        cells = row.split()
        assert cells[:3] == [f"{checkpoint}.npz", f"{text}.txt", f"{reference.perplexity:.3f}"]
        assert f"{reference['score']['total']:.5f}" in cells
        assert f"{reference['storage']['parameters']:,.0f}" in cells


def test_what_is_the_same_in_all_rows_stands_above_them(folder, run):
    _, out, _ = run("--checkpoint", "one.npz", "two.npz", "--text", "long.txt", "--quiet", "--profile", "flops")
    lines = out.splitlines()
    assert lines[0] == "text        long.txt: 184 word tokens"
    assert lines[3].split()[:2] == ["checkpoint", "perplexity"]
    assert "score" not in out
    (folder / "a").mkdir()
    tiny_checkpoint(folder / "a" / "one.npz", seed=1)
    _, out, _ = run("--checkpoint", "one.npz", "a/one.npz", "--text", "long.txt", "--quiet")
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["one.npz", "a/one.npz"]


def test_a_single_run_in_each_form(folder, run):
    one = ("--checkpoint", "one.npz", "--text", "long.txt", "--quiet")
    reference = evaluate("one.npz", text="long.txt")
    table = run(*one)[1].splitlines()
    expected = result_table(reference).splitlines()
    assert table[: table.index("speed")] == expected[: expected.index("speed")]
    document = json.loads(run(*one, "--format", "json")[1])
    lines = run(*one, "--format", "jsonl")[1].splitlines()
    assert _measured(document) == _measured(json.loads(lines[0])) == _measured(reference.document)
    assert len(lines) == 1
    assert len(run(*one, "--format", "csv")[1].split("\r\n")) == 3
    assert run(*one, "--format", "markdown")[1].count("\n") == 3


def test_csv_has_the_figures_of_the_documents(folder, run):
    _, out, _ = run(*ALL, "--format", "csv", "--quiet")
    assert out.count("\r\n") == out.count("\n") == 5
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert list(rows[0]) == list(COLUMNS)
    for row, d in zip(rows, _references(), strict=True):
        expected = {
            "checkpoint": d["checkpoint"]["path"],
            "checkpoint_sha256": d["checkpoint"]["sha256"],
            "architecture": "lstm",
            "text": d["text"]["name"],
            "text_sha256": d["text"]["sha256"],
            "partial": "false",
            "word_tokens": str(d["text"]["word_tokens"]),
            "predictions": str(d["text"]["scored"]),
            "perplexity": repr(d["perplexity"]["word"]),
            "perplexity_per_piece": repr(d["perplexity"]["piece"]),
            "bits_per_byte": repr(d["perplexity"]["bits_per_byte"]),
            "profile": "micronet-2019-06",
            "operations": repr(d["operations_per_token"]["total"]),
            "operations_matrix_vector": repr(d["operations_per_token"]["matrix_vector"]),
            "macs": repr(d["operations_per_token"]["macs"]),
            "operations_per_piece": repr(d["operations_per_token"]["per_piece"]),
            "parameters": repr(d["storage"]["parameters"]),
            "storage_bits": str(d["storage"]["bits"]),
            "activation_elements": str(d["activations"]["with_state"]["elements"]),
            "activation_bits": str(d["activations"]["with_state"]["bits"]),
            "score": repr(d["score"]["total"]),
            "meets_gate": "",
            "gate_verdict": "",
            "bytes": str(d["text"]["bytes"]),
            "unscored_bytes": str(d["text"]["unscored_bytes"]),
            "lost_characters": str(d["text"]["lost_characters"]),
            "word_tokens_replaced": str(d["text"]["word_tokens_replaced"]),
            "tokenizer_bits": str(d["tokenizer"]["bits"]),
            "qualifiers": "",
        }
        interval = d["uncertainty"]
        for end in ("low", "high"):
            expected[f"perplexity_{end}"] = repr(interval[f"word_{end}"]) if interval else ""
        assert {name: row[name] for name in expected} == expected
        assert set(COLUMNS) - set(expected) == {"tokens_per_second", "seconds"}
        assert float(row["seconds"]) > 0


def test_readme_names_the_columns():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"The columns of `csv` are (.*?)\.\n\n", readme, re.DOTALL)
    assert tuple(name for name in re.findall(r"`(\w+)`", sentence) if name not in ("true", "false")) == COLUMNS


def test_names_are_quoted_in_csv_and_markdown(folder):
    name = 'a "b", c|d\n<e>'
    result = evaluate("one.npz", text="long.txt")
    result.document["text"]["name"] = name
    (row,) = csv.DictReader(io.StringIO(rows_csv([result]), newline=""))
    assert row["text"] == name
    assert '"a ""b"", c|d\n<e>"' in rows_csv([result])
    table = rows_markdown([result])
    assert table.count("\n") == 3
    assert '| a "b", c\\|d\\\\n\\<e\\> |' in table


def test_gate_and_partial_rows(folder):
    result = evaluate("one.npz", text="long.txt")
    result.document["score"] |= {"meets_gate": True, "gate_verdict": "too close to call"}
    other = evaluate("two.npz", text="long.txt")
    other.document["partial"] = True
    other.document["perplexity"]["word"] = None
    table = rows_table([result, other])
    assert "  too close to call  " in table
    (row,) = (line for line in table.splitlines() if line.startswith("two.npz"))
    assert row.endswith("  partial")
    assert table.endswith("\npartial: the pass was interrupted; the figures cover the tokens up to there\n")
    result.document["score"]["gate_verdict"] = None
    assert "  met  " in rows_table([result, other])
    (row, _) = csv.DictReader(io.StringIO(rows_csv([result, other]), newline=""))
    assert row["meets_gate"] == "true"


def test_an_entry_is_started_for_each_text_and_its_costs_are_empty(folder, run):
    arguments = ("--entry", program(folder, at=-1), "--vocabulary", vocabulary(folder), "--quiet")
    texts = ("--text", "short.txt", "long.txt")
    status, out, _ = run(*arguments, *texts, "--format", "csv", "--output", "{checkpoint}-{text}.json")
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [row["text"] for row in rows] == ["short.txt", "long.txt"]
    for row, text in zip(rows, ("short", "long"), strict=True):
        assert row["perplexity"] == repr(load_result(f"entry-{text}.json").perplexity)
        unmetered = ("operations", "parameters", "storage_bits", "activation_bits", "score")
        assert [row[name] for name in unmetered] == [""] * 5
    status, table, _ = run(*arguments, *texts)
    assert status == 0
    (row,) = (line for line in table.splitlines() if line.startswith("long.txt"))
    assert row.split()[-4:-2] == ["unmetered", "unmetered"]  # operations, parameters
    _, table, _ = run(*arguments, *texts, "--format", "markdown")
    for line in table.splitlines()[2:]:
        assert line.count("| unmetered | unmetered | - |") == 1  # the last is the score
    assert run(*arguments, *texts, "--records", "{text}.npz")[0] == 0
    for text in ("short", "long"):
        assert read_records(f"{text}.npz").size == load_result(f"entry-{text}.json")["text"]["scored"]


# files of several passes


def test_each_run_has_files_of_its_own(folder, run):
    (folder / "out").mkdir()
    files = ("--output", "out/{checkpoint}-{text}.json", "--state", "out/{checkpoint}-{text}.state")
    assert run(*ALL, *files, "--quiet")[0] == 0
    names = {f"{checkpoint}-{text}.{kind}" for checkpoint, text in PAIRS for kind in ("json", "state")}
    assert {path.name for path in (folder / "out").iterdir()} == names
    for (checkpoint, text), reference in zip(PAIRS, _references(), strict=True):
        saved = load_result(f"out/{checkpoint}-{text}.json")
        assert _measured(saved.document) == _measured(reference.document)
    # The same command goes on from all of the states: nothing is run twice.
    assert run(*ALL, *files, "--quiet")[0] == 0
    for checkpoint, text in PAIRS:
        assert load_result(f"out/{checkpoint}-{text}.json")["run"]["sittings"] == 2
    assert run("--checkpoint", "one.npz", "--text", "short.txt", "--output", "{checkpoint}.json", "--quiet")[0] == 0
    assert (folder / "one.json").is_file()


@pytest.mark.parametrize("option", ["--output", "--state"])
@pytest.mark.parametrize("name", ["r", "{text}", "{checkpoint}"])
def test_a_name_that_two_runs_share(option, name, folder, run):
    status, out, err = run(*ALL, option, name)
    assert (status, out) == (2, "")
    second = {"{text}": "two.npz over short.txt"}.get(name, "one.npz over long.txt")
    shown = name.replace("{text}", "short").replace("{checkpoint}", "one")
    assert err == (
        f"lm-meter: error: {option} {shown}: is that of two runs, one.npz over short.txt and {second}; expected a name "
        "for each, such as '{checkpoint}-{text}.json', of files whose own names without folder and suffix differ\n"
    )
    assert {path.name for path in folder.iterdir()} == {"one.npz", "two.npz", "short.txt", "long.txt"}


def test_the_same_pair_twice_is_refused_where_it_writes(folder, run):
    status, _, err = run("--checkpoint", "one.npz", "one.npz", "--text", "short.txt", "--output", "{checkpoint}.json")
    assert status == 2
    assert "is that of two runs, one.npz over short.txt and one.npz over short.txt" in err


def test_an_output_that_is_another_pair_s_input(folder, run):
    status, _, err = run(*ALL, "--output", "{text}.txt")
    assert (status, err) == (2, "lm-meter: error: --output short.txt: is an input of this run; choose another name\n")


def test_each_run_has_records_of_its_own(folder, run):
    (folder / "out").mkdir()
    files = ("--output", "out/{checkpoint}-{text}.json", "--records", "out/{checkpoint}-{text}.npz")
    assert run(*ALL, *files, "--quiet")[0] == 0
    for checkpoint, text in PAIRS:
        saved = load_result(f"out/{checkpoint}-{text}.json")
        found = load_result_records(saved.document, records_of(saved.document, f"out/{checkpoint}-{text}.json"))
        assert found.path.name == f"{checkpoint}-{text}.npz"
        assert found.records.size == saved["text"]["scored"]
    assert cli.main(["compare", "out/one-long.json", "out/two-long.json"]) == 0
    status, _, err = run(*ALL, "--records", "{text}.csv")
    assert status == 2
    assert "--records short.csv: is that of two runs, one.npz over short.txt and two.npz over short.txt;" in err
    with_words = ("--records", "{checkpoint}-{text}.csv", "--output", "{checkpoint}-{text}.words.csv")
    status, _, err = run(*ALL, *with_words)
    assert status == 2
    assert "--output one-short.words.csv: is also that of --records, words; expected two names" in err


def test_records_that_could_not_be_written_do_not_take_the_results_with_them(folder, run, monkeypatch):
    honest = EVALUATION.run_prepared

    def without(*arguments):
        result = honest(*arguments)
        result.document["records"] = None
        return result

    _with_a_run(monkeypatch, 1, without)
    status, out, err = run(*ALL, "--records", "{checkpoint}-{text}.npz", "--format", "jsonl", "--quiet")
    assert (status, len(out.splitlines())) == (2, 4)
    assert err == (
        "lm-meter: error: 1 of 4 runs failed: one.npz over long.txt: --records one-long.npz: was not written; the "
        "result is all there is of this run\n"
    )


# errors and Ctrl-C


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.txt", None, "gone.txt: cannot be read (No such file or directory); expected a UTF-8 text file"),
        (
            "new.txt",
            "the cat zzz\n",
            "one.npz over new.txt: new.txt: line 1: word 'zzz' is not in the checkpoint's vocabulary",
        ),
    ],
)
def test_a_bad_input_is_found_before_the_first_run(name, content, message, folder, run, monkeypatch):
    monkeypatch.setattr(EVALUATION, "run_prepared", lambda *_, **__: pytest.fail("a pass began"))
    if content:
        (folder / name).write_text(content, encoding="utf-8")
    status, out, err = run("--checkpoint", "one.npz", "two.npz", "--text", "short.txt", name)
    assert (status, out) == (2, "")
    assert err.startswith(f"lm-meter: error: {message}")
    status, _, err = run("--checkpoint", "one.npz", "no.npz", "--text", "short.txt")
    assert status == 2
    assert "no.npz" in err


def _with_a_run(monkeypatch, number, instead):
    """Do something else in the run of that number, from 0."""
    honest, calls = EVALUATION.run_prepared, iter(range(100))

    def run(*arguments):
        return (instead if next(calls) == number else honest)(*arguments)

    monkeypatch.setattr(EVALUATION, "run_prepared", run)


def test_a_run_that_fails_does_not_take_the_others_with_it(folder, run, monkeypatch):
    def failing(*_):
        raise MeterError("the log-probability at position 7 is nan")

    _with_a_run(monkeypatch, 1, failing)
    status, out, err = run(*ALL, "--format", "jsonl", "--output", "{checkpoint}-{text}.json", "--quiet")
    assert status == 2
    names = [(d["checkpoint"]["path"], d["text"]["name"]) for d in map(json.loads, out.splitlines())]
    assert names == [("one.npz", "short.txt"), ("two.npz", "short.txt"), ("two.npz", "long.txt")]
    assert err == (
        "lm-meter: error: 1 of 4 runs failed: one.npz over long.txt: the log-probability at position 7 is nan\n"
    )
    assert not (folder / "one-long.json").exists()
    assert (folder / "two-long.json").exists()


def test_ctrl_c_ends_all_and_shows_what_is_done(folder, run, monkeypatch):
    honest = EVALUATION.run_prepared

    def pressed(prepared, profile, files, progress):
        result = honest(prepared, profile, files, progress)
        result.document["partial"] = True
        return result

    _with_a_run(monkeypatch, 2, pressed)
    status, out, err = run(*ALL, "--quiet")
    assert status == 130
    assert [line.split()[:2] for line in out.splitlines()[5:8]] == [
        ["one.npz", "short.txt"],
        ["one.npz", "long.txt"],
        ["two.npz", "short.txt"],
    ]
    assert [line.endswith("  partial") for line in out.splitlines()[5:8]] == [False, False, True]
    assert err == "lm-meter: interrupted; 1 of 4 runs were not made\n"


def test_ctrl_c_after_the_last_prediction_of_a_run_begins_no_other(folder, run, monkeypatch):
    """While its result is put together; that is complete, and the others are not made."""
    honest = EVALUATION.build_result

    def pressed(*arguments):
        signal.raise_signal(signal.SIGINT)
        return honest(*arguments)

    monkeypatch.setattr(EVALUATION, "build_result", pressed)
    status, out, err = run(*ALL, "--format", "csv", "--quiet")
    assert (status, out.count("\r\n")) == (130, 2)
    assert err == "lm-meter: interrupted; 3 of 4 runs were not made\n"


def test_ctrl_c_before_the_first_prediction_of_a_later_run(folder, run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    _with_a_run(monkeypatch, 1, interrupted)
    status, out, err = run(*ALL, "--format", "csv", "--quiet")
    assert (status, out.count("\r\n")) == (130, 2)
    assert err == "lm-meter: interrupted; 3 of 4 runs were not made\n"
    _with_a_run(monkeypatch, 0, interrupted)
    assert run(*ALL, "--quiet") == (130, "", "lm-meter: interrupted, no result\n")


class _Saved:
    """Stands for a result; Ctrl-C is pressed so often while it is saved, which may fail."""

    def __init__(self, presses=0, partial=False, fails=False):
        self.document, self.presses, self.fails = {"partial": partial}, presses, fails

    def __getitem__(self, key):
        return self.document[key]

    def save(self, path):
        for _ in range(self.presses):
            signal.raise_signal(signal.SIGINT)
        if self.fails:
            raise ConfigError("no space")
        Path(path).write_text("whole")


def _made(*results):
    return make_passes([Plan(f"{n}", lambda _, r=r: r, f"{n}.json") for n, r in enumerate(results)], None)


def test_ctrl_c_while_a_result_is_saved_ends_the_command_after_it(folder):
    made = _made(_Saved(presses=1), _Saved())
    assert (len(made.results), made.left, made.is_interrupted) == (1, 1, True)
    assert (folder / "0.json").read_text() == "whole"
    made = _made(_Saved(), _Saved(presses=1))  # the last one: all is there
    assert (len(made.results), made.left, made.is_interrupted) == (2, 0, False)


def test_a_second_ctrl_c_does_not_wait_for_the_file(folder):
    made = _made(_Saved(presses=2), _Saved())
    assert (len(made.results), made.left, made.is_interrupted) == (1, 1, True)
    assert not (folder / "0.json").exists()


def test_a_partial_result_that_cannot_be_saved_ends_the_command_too(folder):
    made = _made(_Saved(partial=True, fails=True), _Saved())
    assert (len(made.results), made.left, made.is_interrupted) == (1, 1, True)
    with pytest.raises(LmMeterError, match="1 of 2 runs failed: 0: no space"):
        made.raise_failure(2)
    made = _made(_Saved(fails=True), _Saved())
    assert (len(made.results), made.left, made.is_interrupted) == (2, 0, False)


def test_parts_of_a_corpus_and_of_no_corpus(folder, run, monkeypatch):
    status, _, err = run("--split", "test", "valid")
    assert (status, err) == (2, "lm-meter: error: --split names several parts; expected --corpus beside them\n")
    asked = []
    monkeypatch.setattr(
        "lm_meter.corpora.corpus",
        lambda name, split, progress: asked.append((name, split)) or _text(split),
    )
    status, _, _ = run(
        "--checkpoint",
        "one.npz",
        "--corpus",
        "wikitext-103",
        "--split",
        "test",
        "valid",
        "--output",
        "{text}.json",
        "--quiet",
    )
    assert status == 0
    assert asked == [("wikitext-103", "test"), ("wikitext-103", "valid")]
    assert load_result("wikitext-103-valid.json")["text"]["name"] == "valid"


def _text(name):
    from lm_meter.text import text_from_bytes

    return text_from_bytes(TEXT.encode(), name)
