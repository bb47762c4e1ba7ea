"""Ranks of saved results: by each figure, ties shared, the best tenth distinguished."""

import json

import pytest
from tiny import TEXT, tiny_checkpoint

from lm_meter import ConfigError, cli, evaluate, load_result
from lm_meter.corpora import WIKITEXT_103
from lm_meter.documents import save_document
from lm_meter.profiles import PROFILES
from lm_meter.ranking import rank, ranking_table
from lm_meter.result import price_result

JUNE = PROFILES["micronet-2019-06"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of three models, larger from one to the next, the last one twice."""
    folder = tmp_path_factory.mktemp("rank")
    (folder / "text").write_text(TEXT, encoding="utf-8")
    found = []
    for name, units in (("small", 4), ("middle", 8), ("large", 16)):
        checkpoint = tiny_checkpoint(folder / f"{name}.npz", hidden=(units,))
        found.append((name, evaluate(checkpoint, text=folder / "text")))
    return [*found, ("again", found[-1][1])]


def test_ranks_follow_the_figures(results):
    found = rank([results[i] for i in (2, 0, 3, 1)], JUNE)
    rows = found["results"]
    assert [row["name"] for row in rows] == ["small", "middle", "again", "large"]
    for key in ("storage", "operations", "score"):
        assert [row[f"{key}_rank"] for row in rows] == [1, 2, 3, 3]
    for row in rows:
        reference = price_result(dict(results)[row["name"]], JUNE)
        tokenizer = reference["score"]["tokenizer_ratio"]
        assert row["score"] == reference["score"]["total"]
        assert row["score"] == pytest.approx(row["storage"] + tokenizer + row["operations"], rel=1e-15)
        assert row["perplexity"] == reference.perplexity
        assert row["meets_gate"] is None
    assert [row["highly_storage_efficient"] for row in rows] == [True, False, False, False]


def test_a_tenth_is_rounded_up(results):
    found = rank([(f"{n}", results[n % 4][1]) for n in range(11)], JUNE)
    assert found["distinguished"] == 2
    # Three results are the smallest model's: they share the first rank.
    assert sum(row["highly_compute_efficient"] for row in found["results"]) == 3


def test_the_command(results, tmp_path, capsys):
    files = []
    for name, result in results[:2]:
        files.append(str(tmp_path / f"{name}.json"))
        result.save(files[-1])
    assert cli.main(["rank", *reversed(files)]) == 0
    printed = capsys.readouterr().out
    assert printed.index("small.json") < printed.index("middle.json")
    assert f"highly storage-efficient (the best tenth, here 1): {files[0]}" in printed
    assert "different texts" not in printed
    assert cli.main(["rank", *files, "--format", "json", "--profile", "micronet-2019-final"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["profile"]) == ("lm-meter/ranking/1", "micronet-2019-final")


def test_results_of_different_texts_are_said_to_be(results):
    name, result = results[0]
    words = result["text"]["word_tokens"]
    for change, said in (
        ({"name": "another"}, f"another ({words} word tokens)"),
        ({"word_tokens": words - 1}, f"({words - 1} word tokens)"),
    ):
        other = type(result)({**result.document, "text": {**result["text"], **change}})
        table = ranking_table(rank([(name, result), ("other", other)], JUNE))
        assert "the results are of different texts: " in table
        assert said in table


def test_a_result_of_an_interrupted_run_is_marked(results):
    name, result = results[0]
    partial = type(result)({**result.document, "partial": True})
    found = rank([(name, result), ("cut", partial)], JUNE)
    assert [(row["name"], row["partial"]) for row in found["results"]] == [("cut", True), ("small", False)]
    assert "  cut (partial)  " in ranking_table(found)


def test_what_fails_the_gate_is_ranked_and_not_distinguished(results):
    """Only the whole test set asks it, which a test does not run over: as if it had been this text."""

    def judged(meets, result):
        text = {**result["text"], "sha256": WIKITEXT_103.splits["test"].sha256, "whole": True}
        text |= {"first_token": "score", "replaced_by_unk": 0}
        perplexity = {**result["perplexity"], "word": 35.0 if meets else 35.1}
        return type(result)({**result.document, "text": text, "perplexity": perplexity})

    (small, middle, large, _), gates = results, (False, True, True)
    entered = [
        (name, judged(meets, result)) for meets, (name, result) in zip(gates, (small, middle, large), strict=True)
    ]
    found = rank(entered, JUNE)
    rows = {row["name"]: row for row in found["results"]}
    assert [row["meets_gate"] for row in rows.values()] == [False, True, True]
    assert [row["storage_rank"] for row in rows.values()] == [1, 2, 3]
    for distinction in ("highly_storage_efficient", "highly_compute_efficient"):
        assert [name for name, row in rows.items() if row[distinction]] == ["middle"]
    table = ranking_table(found)
    assert "highly storage-efficient (the best tenth, here 1): middle\n" in table
    assert table.endswith("\nnot among these, as they do not meet the gate or are partial: small\n")
    none = ranking_table(rank(entered[:1], JUNE))
    assert "highly compute-efficient (the best tenth, here 0): -\n" in none


def test_what_was_interrupted_is_ranked_and_not_distinguished(results):
    cut = [(name, type(result)({**result.document, "partial": name == "small"})) for name, result in results[:2]]
    rows = {row["name"]: row for row in rank(cut, JUNE)["results"]}
    assert [rows[name]["storage_rank"] for name in ("small", "middle")] == [1, 2]
    assert [rows[name]["highly_storage_efficient"] for name in ("small", "middle")] == [False, True]


def test_a_validation_is_ranked_by_the_result_in_it(results, tmp_path, capsys):
    (_, result), path = results[0], tmp_path / "v.json"
    save_document({"schema": "lm-meter/validation/1", "passes": True, "result": result.document}, path)
    assert load_result(path).document == result.document
    assert cli.main(["rank", str(path), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert row["score"] == result["score"]["total"]
    save_document({"schema": "lm-meter/validation/1", "result": {"schema": "lm-meter/bench/1"}}, path)
    with pytest.raises(ConfigError, match="schema is 'lm-meter/bench/1'; expected 'lm-meter/result/1'"):
        load_result(path)


def test_a_view_without_a_score(results):
    with pytest.raises(ConfigError) as caught:
        rank(results, PROFILES["flops"])
    assert str(caught.value) == "profile flops is a general view, under which there is no score to rank by"
