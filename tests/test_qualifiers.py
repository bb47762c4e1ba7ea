"""What has to be known of a result beside its figures stands in every view of it, long or short."""

import csv
import io
import json
from pathlib import Path

import pytest
from report_files import result_file
from tiny import ADAPTIVE, TEXT, WORDS, tiny_checkpoint
from tiny_transformer import transformer_parts

from lm_meter import ConfigError, RunOptions, cli, evaluate, load_result, write_checkpoint
from lm_meter.profiles import PROFILES
from lm_meter.qualifiers import labels, qualifiers_of, words_replaced
from lm_meter.report import result_table
from lm_meter.result import price_result
from lm_meter.run_rows import rows_table
from lm_meter.short_names import short_names

MANY_WORDS = (*WORDS, *(f"w{i}" for i in range(400 - len(WORDS))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results of which something has to be known, and one that is plain, all over one text."""
    folder = tmp_path_factory.mktemp("qualified")
    (folder / "text").write_text(TEXT, encoding="utf-8")
    tiny_checkpoint(folder / "plain.npz")
    tiny_checkpoint(folder / "bins.npz", words=MANY_WORDS, embedding=9, hidden=(12,), adaptive=ADAPTIVE)
    tiny_checkpoint(folder / "few.npz", words=("<eos>", "<unk>", "the", "=", "."))
    write_checkpoint(folder / "long.npz", *transformer_parts("llama"))
    runs = {"plain": {}, "bins": {"limit": 20}, "few": {"oov": "unk"}, "long": {"context": 99}, "short": {"context": 2}}
    for name, options in runs.items():
        checkpoint = folder / ("long.npz" if name == "short" else f"{name}.npz")
        evaluate(checkpoint, text=folder / "text", options=RunOptions(**options)).save(folder / f"{name}.json")
    return folder


def _document(folder, name):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def own(folder):
    """Tokens of the transformer's own context, as its checkpoint says."""
    return transformer_parts("llama")[0]["dimensions"]["context"]


def _expected(name, own):
    # " = the cat = / the cat sat on the mat . / a dog ran , the cat ran . ": of 19 words "=", "the" and "." are known.
    replaced = sum(word not in ("=", "the", ".") for word in TEXT.split())
    return {
        "plain": [],
        "bins": ["part of the text", "needed bins"],
        "few": [f"{replaced} words replaced"],
        "long": [f"context 99 > {own}"],
        "short": [],
    }[name]


@pytest.mark.parametrize("name", ["plain", "bins", "few", "long", "short"])
def test_the_qualifiers_of_a_result(name, folder, own):
    found = qualifiers_of(_document(folder, name))
    assert [qualifier.label for qualifier in found] == _expected(name, own)
    assert [qualifier.label for qualifier in found if qualifier.excludes] == (
        {"few": _expected("few", own), "bins": ["needed bins"]}.get(name, [])
    )


@pytest.mark.parametrize("name", ["bins", "few", "long"])
def test_every_view_shows_them(name, folder, own, tmp_path, capsys):
    result, plain = str(folder / f"{name}.json"), str(folder / "plain.json")
    expected = _expected(name, own)

    def printed(*arguments):
        assert cli.main([*arguments]) == 0
        return capsys.readouterr().out

    for label in expected:
        # Long views: the label, a colon, and a sentence on a line of their own.
        assert f"\n{label}: " in "\n" + printed("rescore", result)
        assert f"\n{label}: " in printed("rank", result, plain)
        assert f"  {label}" in printed("rank", result, plain) or f"; {label}" in printed("rank", result, plain)
        if name != "bins":  # which is of a part of the text
            compared = printed("compare", plain, result, "--per-word")
            assert f"\nnote: {label}: " in compared
            assert f"; {label}" in compared.splitlines()[1]
        for form, file in (("--markdown", tmp_path / "r.md"), ("--html", tmp_path / "r.html")):
            for files in ([result], [result, plain]):
                printed("report", *files, form, str(file))
                page = file.read_text(encoding="utf-8").replace("&gt;", ">").replace("\\>", ">")
                assert f"\n{label}: " in page or f"<p>{label}: " in page
                if len(files) == 2:
                    assert f"| {'; '.join(expected)} |" in page or f">{'; '.join(expected)}<" in page


@pytest.mark.parametrize("form", ["csv", "markdown", "table"])
def test_rows_of_runs_show_them(form, folder, own, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    arguments = ["--oov", "unk", "--text", "text", "--checkpoint", "few.npz", "bins.npz", "--quiet", "--format", form]
    assert cli.main(["eval", *arguments]) == 0
    out = capsys.readouterr().out
    expected = {"few.npz": "; ".join(_expected("few", own)), "bins.npz": "needed bins"}
    if form == "csv":
        found = {row["checkpoint"]: row["qualifiers"] for row in csv.DictReader(io.StringIO(out, newline=""))}
    else:
        lines = [line.strip("| ") for line in out.splitlines() if line.lstrip("| ").startswith(("few", "bins"))]
        found = {line.split()[0]: next(v for v in expected.values() if line.endswith(f" {v}")) for line in lines}
    assert found == expected
    if form == "table":
        assert "\nneeded bins: of the adaptive softmax only the first bin" in out


def test_words_that_were_replaced_are_counted_in_word_tokens():
    """A result of older versions has the number of the model's tokens alone."""
    assert words_replaced({"text": {"replaced_by_unk": 2, "word_tokens_replaced": 13}}) == 13
    assert words_replaced({"text": {"replaced_by_unk": 2}}) == 2
    # Whoever wrote 0 beside it has not undone what the other field says.
    assert words_replaced({"text": {"replaced_by_unk": 2, "word_tokens_replaced": 0}}) == 2


@pytest.mark.parametrize("value", [-1, "2", [2], 1.5])
def test_words_that_were_replaced_are_a_number(value, folder, tmp_path):
    document = _document(folder, "few")
    document["text"]["word_tokens_replaced"] = value
    (tmp_path / "r.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"text\.word_tokens_replaced is "):
        load_result(tmp_path / "r.json")


def test_a_context_beyond_the_models_own_is_said_on_standard_error_and_in_the_result(folder, own, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    run = ["eval", "--checkpoint", "long.npz", "--text", "text", "--format", "json", "--context"]
    said = (
        f"long.npz over text: a context of {own + 1} tokens is more than the {own} that the checkpoint gives as its "
        "own; beyond that a model predicts worse as a rule\n"
    )
    assert cli.main([*run, str(own + 1)]) == 0
    out, err = capsys.readouterr()
    assert said in err
    online = json.loads(out)["online"]
    assert (online["context"], online["own_context"]) == (own + 1, own)
    assert cli.main([*run, str(own)]) == 0
    assert "a context of" not in capsys.readouterr().err


def test_an_own_context_that_was_altered_does_not_verify(folder, own, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    document = _document(folder, "long")
    document["online"]["own_context"] = 99
    (tmp_path / "r.json").write_text(json.dumps(document), encoding="utf-8")
    for part in ([], ["--fraction", "0.5"]):
        arguments = ["verify", str(tmp_path / "r.json"), "--checkpoint", "long.npz", "--text", "text", "--quiet"]
        assert cli.main([*arguments, *part]) == 1
        assert f"online.own_context is 99 in the result, {own} " in capsys.readouterr().out


def test_results_of_older_versions_have_no_own_context(folder, tmp_path, capsys):
    document = _document(folder, "long")
    del document["online"]["own_context"]
    (tmp_path / "r.json").write_text(json.dumps(document), encoding="utf-8")
    assert cli.main(["rescore", str(tmp_path / "r.json")]) == 0
    assert "context 99" not in capsys.readouterr().out.partition("speed")[0]


# names of files, and texts, that differ


def test_short_names_tell_paths_apart():
    assert short_names(["a/v.json", "b/v.json", "c/w.json"]) == ["a/v.json", "b/v.json", "w.json"]
    assert short_names(["/x/a/v.json", "/y/a/v.json"]) == ["x/a/v.json", "y/a/v.json"]
    assert short_names(["v.json", "a/v.json", "v.json"]) == ["v.json", "a/v.json", "v.json"]
    assert short_names(["./v.json", "v.json"]) == ["./v.json", "v.json"]


def test_a_report_names_results_in_folders_so_that_they_differ(tmp_path, capsys):
    """In titles, links, tables and drawings."""
    for number, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        result_file(tmp_path / name, "validation.json", hidden=(12 + 4 * number,))
    files = [str(tmp_path / name / "validation.json") for name in ("one", "two")]
    pages = {}
    for form in ("html", "markdown"):
        assert cli.main(["report", *files, f"--{form}", str(tmp_path / form)]) == 0
        pages[form] = (tmp_path / form).read_text(encoding="utf-8")
    page = pages["html"]
    assert "<title>Report of one/validation.json, two/validation.json</title>" in page
    for name in ("one", "two"):
        assert f">{name}/validation.json</a>" in page  # a link of the contents
        assert f">{name}/validation.json</h2>" in page
        assert f"<code>{name}/validation.json</code>" in page
        assert f"<title>{name}/validation: " in page  # of a point
        assert f"\n## {name}/validation.json\n" in pages["markdown"]
    assert ">validation.json<" not in page


def test_a_table_of_runs_gives_one_count_of_word_tokens_only_where_there_is_one(folder):
    whole, part = (load_result(folder / f"{name}.json") for name in ("plain", "bins"))
    count = whole["text"]["word_tokens"]
    assert f": {count} word tokens\n" in rows_table([whole, whole])
    head, *rows = (line.split() for line in rows_table([whole, part]).splitlines() if "npz" in line or "tokens" in line)
    assert "word" in head
    assert [row[1] for row in rows[:2]] == [str(count), "20"]
    assert f": {count} word tokens" not in rows_table([whole, part])


def test_a_unit_stands_in_the_table_that_is_in_it_and_above_nothing_else(folder):
    """Operations of long names and many digits are in thousands; the lines below the table are not."""
    result = load_result(folder / "plain.json")
    name = "layers.0.feed_forward.a_long_name_of_a_region"
    names = {region["name"]: f"{name}.{n}" for n, region in enumerate(result["regions"])}
    for row in (*result["histogram"], *result["regions"]):
        key = "region" if "region" in row else "name"
        row[key] = names[row[key]]
    for row in result["histogram"]:
        row["count"] *= 10**6
    lines = result_table(price_result(result, PROFILES["micronet-2019-06"])).splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("operations per word token"))
    assert lines[head + 1].startswith(("  region, thousands ", "  region, millions "))
    assert not any("(thousands)" in line or "(millions)" in line for line in lines)


def test_labels_are_one_cell(folder):
    assert labels(qualifiers_of(_document(folder, "bins"))) == "part of the text; needed bins"
    assert labels([]) == ""


def test_readme_names_every_label():
    """The page that says what the labels mean has each of them."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    section = readme.split("\n## Qualifiers\n")[1].split("\n## ")[0]
    for label in ("partial", "unmetered", "bits differ", "words replaced", "part of the text", "first token skipped",
                  "needed bins", "context 64 > 32", "validated within 1 %", "fails validation"):  # fmt: skip
        assert f"`{label}" in section or f"{label}`" in section, label
