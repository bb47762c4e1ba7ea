"""Ranks of saved results: by each figure, ties shared, the best tenth distinguished."""

import json
from pathlib import Path

import pytest
from tiny import TEXT, tiny_checkpoint

from lm_meter import ConfigError, cli, evaluate, load_result
from lm_meter.corpora import WIKITEXT_103
from lm_meter.documents import save_document
from lm_meter.entry import Claim
from lm_meter.profiles import PROFILES
from lm_meter.ranking import rank, ranking_table
from lm_meter.result import price_result
from lm_meter.verdicts import Validation, judge

JUNE = PROFILES["micronet-2019-06"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of three models, larger from one to the next, the last one twice; nobody validated them."""
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
        assert row["storage"] == pytest.approx(reference["score"]["storage_ratio"] + tokenizer, rel=1e-15)
        assert row["score"] == pytest.approx(row["storage"] + row["operations"], rel=1e-15)
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
        ({"name": "another", "sha256": "9" * 64}, f"another ({words} word tokens, SHA-256 999999999999)"),
        ({"word_tokens": words - 1}, f"({words - 1} word tokens, SHA-256 "),
    ):
        other = type(result)({**result.document, "text": {**result["text"], **change}})
        table = ranking_table(rank([(name, result), ("other", other)], JUNE))
        assert "the results are of different texts: " in table
        assert said in table


def test_a_result_of_an_interrupted_run_is_marked(results):
    name, result = results[0]
    partial = type(result)({**result.document, "partial": True})
    found = rank([(name, result), ("cut", partial)], JUNE)
    assert [(row["name"], row["partial"]) for row in found["results"]] == [("small", False), ("cut", True)]
    table = ranking_table(found)
    row = next(line for line in table.splitlines() if line.startswith("  cut"))
    assert row.endswith("  partial")
    assert "\nnot ranked: cut (partial)\n" in table
    assert "\npartial: the pass was interrupted; the figures cover the tokens up to there\n" in table


def test_what_fails_the_gate_is_not_ranked(results):
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
    assert {name: row["meets_gate"] for name, row in rows.items()} == {"small": False, "middle": True, "large": True}
    assert {name: row["storage_rank"] for name, row in rows.items()} == {"small": None, "middle": 1, "large": 2}
    for distinction in ("highly_storage_efficient", "highly_compute_efficient"):
        assert [name for name, row in rows.items() if row[distinction]] == ["middle"]
    table = ranking_table(found)
    assert "highly storage-efficient (the best tenth, here 1): middle\n" in table
    assert "\nnot ranked: small (does not meet the gate)\n" in table
    none = ranking_table(rank(entered[:1], JUNE))
    assert "highly compute-efficient (the best tenth, here 0): -\n" in none


def test_where_the_gate_is_asked_of_some_what_it_is_not_asked_of_is_not_ranked(results):
    _, middle = results[1]
    text = {**middle["text"], "sha256": WIKITEXT_103.splits["test"].sha256, "whole": True}
    asked = type(middle)({**middle.document, "text": text, "perplexity": {**middle["perplexity"], "word": 1.0}})
    rows = {row["name"]: row for row in rank([results[0], ("asked", asked)], JUNE)["results"]}
    assert [rows[name]["unranked"] for name in ("small", "asked")] == ["gate not asked", None]
    assert rows["asked"]["score_rank"] == 1


def test_what_was_interrupted_is_not_ranked(results):
    cut = [(name, type(result)({**result.document, "partial": name == "small"})) for name, result in results[:2]]
    rows = {row["name"]: row for row in rank(cut, JUNE)["results"]}
    assert [rows[name]["storage_rank"] for name in ("small", "middle")] == [None, 1]
    assert [rows[name]["highly_storage_efficient"] for name in ("small", "middle")] == [False, True]


def test_equal_texts_of_other_names_are_one_text(results):
    """A text is its bytes: SHA-256 tells, and not what a file is called."""
    name, result = results[0]
    renamed = type(result)({**result.document, "text": {**result["text"], "name": "another"}})
    assert "different texts" not in ranking_table(rank([(name, result), ("other", renamed)], JUNE))


def test_words_that_were_replaced_take_no_rank_and_are_counted_in_words(results):
    name, result = results[0]
    text = {**result["text"], "replaced_by_unk": 2, "word_tokens_replaced": 13}
    lossy = type(result)({**result.document, "text": text})
    found = rank([("lossy", lossy), (name, result)], JUNE)
    rows = {row["name"]: row for row in found["results"]}
    assert rows["lossy"]["qualifiers"] == ["13 words replaced"]
    assert (rows["lossy"]["unranked"], rows["lossy"]["score_rank"]) == ("13 words replaced", None)
    assert (rows[name]["unranked"], rows[name]["score_rank"]) == (None, 1)
    assert "  13 words replaced\n" in ranking_table(found)


# validations


def _validated(folder, result, name, *claims):
    """A document of a validation of a result, whose author claims these figures: name, value, tolerance."""
    rows = [{"name": key, "claimed": value, "tolerance": tolerance} for key, value, tolerance in claims]
    document = {"schema": "lm-meter/validation/1", "entry": f"{name}.toml", "passes": True, "claims": rows}
    document |= {"regions": [], "tensors": [], "result": result.document}
    (folder / name).mkdir(exist_ok=True)
    save_document(document, folder / name / "validation.json")
    return str(folder / name / "validation.json")


def _entered(folder, results):
    """Four entries, as files: two whose claims hold, one that fails two of them, one of its own boundless tolerance.

    Each of them says of itself that it passes: the verdicts are made again from claims and result.
    """
    (_, small), (_, middle), (_, large), _ = results
    score, operations = (small["score"]["total"], small["operations_per_token"]["total"])
    return {
        "wrong": _validated(folder, small, "wrong", ("score", score / 2, 0.01), ("operations", operations / 2, 0.01)),
        "vast": _validated(folder, small, "vast", ("score", score / 2, 1e300)),
        "middle": _validated(folder, middle, "middle", ("score", middle["score"]["total"], 0.005)),
        "large": _validated(folder, large, "large", ("score", large["score"]["total"] * 1.004, 0.008)),
    }


def test_only_entries_that_pass_are_ranked(results, tmp_path, capsys):
    files = _entered(tmp_path, results)
    results[1][1].save(tmp_path / "bare.json")
    arguments = ["rank", *files.values(), str(tmp_path / "bare.json")]
    assert cli.main([*arguments, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    rows = {Path(row["name"]).parent.name: row for row in document["results"]}
    bare = rows.pop(tmp_path.name)
    status = {"wrong": "fails validation", "vast": "fails validation", "middle": "passes", "large": "passes"}
    assert {name: row["status"] for name, row in rows.items()} == status
    ranks = {"wrong": None, "vast": None, "middle": 1, "large": 2}
    for key in ("storage_rank", "operations_rank", "score_rank"):
        assert {name: row[key] for name, row in rows.items()} == ranks
    assert {name for name, row in rows.items() if row["highly_storage_efficient"]} == {"middle"}
    assert rows["middle"]["qualifiers"] == ["validated within 0.5 %"]
    assert rows["wrong"]["qualifiers"] == ["fails validation (score, operations)"]
    # What nobody validated takes no rank among validated ones.
    assert (bare["status"], bare["unranked"], bare["score_rank"]) == ("not validated", "not validated", None)
    assert document["max_tolerance"] == 0.01

    assert cli.main(arguments) == 0
    table = capsys.readouterr().out
    assert f"not ranked: {files['wrong']} (fails validation (score, operations))\n" in table
    assert f"not ranked: {files['vast']} (fails validation (score))\n" in table
    assert f"not ranked: {tmp_path / 'bare.json'} (not validated)\n" in table
    assert "vast.toml: score allows itself 1e+302 %, more than 1 %\n" in table
    half = f"{results[0][1]['score']['total'] / 2:.8g}, measured {results[0][1]['score']['total']:.8g}, allowed 1 %"
    assert f"wrong.toml: score is claimed {half}" in table


def test_an_entry_that_fails_alone_gets_no_award(results, tmp_path, capsys):
    assert cli.main(["rank", _entered(tmp_path, results)["wrong"]]) == 0
    table = capsys.readouterr().out
    assert "highly storage-efficient (the best tenth, here 0): -\n" in table
    assert "highly compute-efficient (the best tenth, here 0): -\n" in table


def test_whoever_ranks_has_the_last_word_on_tolerances(results, tmp_path, capsys):
    files = _entered(tmp_path, results)
    for most, passing in (("0.006", {"middle"}), ("1e300", {"middle", "large", "vast"}), ("0.001", set())):
        assert cli.main(["rank", *files.values(), "--max-tolerance", most, "--format", "json"]) == 0
        rows = json.loads(capsys.readouterr().out)["results"]
        assert {Path(row["name"]).parent.name for row in rows if row["status"] == "passes"} == passing
    assert cli.main(["rank", *files.values(), "--max-tolerance", "nan"]) == 2
    assert "max tolerance is nan; expected a fraction of a claim, such as 0.01\n" in capsys.readouterr().err


def test_an_entry_that_does_not_meet_the_gate_fails_its_validation(results, tmp_path):
    """As ``validate`` says: whatever it claims. As if this text had been the whole test set."""
    _, small = results[0]
    text = {**small["text"], "sha256": WIKITEXT_103.splits["test"].sha256, "whole": True}
    over = type(small)({**small.document, "text": text, "perplexity": {**small["perplexity"], "word": 35.1}})
    over.validation = Validation("over.toml", (judge(Claim("score", 1.0, 0.01), 1.0),))
    (row,) = rank([("over", over)], JUNE)["results"]
    assert (row["status"], row["unranked"], row["score_rank"]) == ("fails validation", "does not meet the gate", None)


def test_plain_results_are_ranked_among_their_like_and_the_table_says_so(results):
    table = ranking_table(rank(results[:2], JUNE))
    assert "no result here was validated (lm-meter validate): ranks are of measured figures, not of claims\n" in table
    assert [row["status"] for row in rank(results[:2], JUNE)["results"]] == ["not validated"] * 2


def test_a_validation_is_read_as_the_result_in_it(results, tmp_path, capsys):
    (_, result), path = results[0], tmp_path / "v.json"
    file = _validated(tmp_path, result, "v", ("score", result["score"]["total"], 0.01))
    assert load_result(file).document == result.document
    assert load_result(file).validation.entry == "v.toml"
    # A claim is held against the figure under the profile that it was made under, whatever profile ranks.
    assert cli.main(["rank", file, "--profile", "micronet-2019-final", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert row["status"] == "passes"
    assert row["score"] == price_result(result, PROFILES["micronet-2019-final"])["score"]["total"]
    save_document({"schema": "lm-meter/validation/1", "result": {"schema": "lm-meter/bench/1"}}, path)
    with pytest.raises(ConfigError, match="schema is 'lm-meter/bench/1'; expected 'lm-meter/result/1'"):
        load_result(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entry": 3}, "entry is 3; expected the name of a file"),
        ({"claims": None}, "claims is None; expected a list of claims"),
        ({"claims": []}, "validates no claim; expected at least one"),
        ({"regions": [3]}, "regions.0 is 3; expected its name, and numbers for claimed and tolerance"),
        (
            {"claims": [{"name": "score", "claimed": 1, "tolerance": -1}]},
            "claims.0 is {'name': 'score', 'claimed': 1, 'tolerance': -1}; expected its name, and numbers for claimed",
        ),
        (
            {"claims": [{"name": "beauty", "claimed": 1, "tolerance": 0}]},
            "claims has 'beauty'; expected some of perplexity, parameters, operations, matrix_vector, score",
        ),
    ],
)
def test_validations_that_are_none(change, message, results, tmp_path):
    file = _validated(tmp_path, results[0][1], "v", ("score", 1.0, 0.01))
    document = json.loads(Path(file).read_text(encoding="utf-8"))
    save_document(document | change, file)
    with pytest.raises(ConfigError) as caught:
        load_result(file)
    assert str(caught.value).startswith(f"{file}: {message}")
    assert str(caught.value).endswith("; write it again with lm-meter validate --output")


@pytest.mark.parametrize("operations", [None, {}, {"profile": ["x"]}])
def test_a_validation_whose_result_names_no_price_list(operations, results, tmp_path):
    file = _validated(tmp_path, results[0][1], "v", ("score", 1.0, 0.01))
    document = json.loads(Path(file).read_text(encoding="utf-8"))
    document["result"]["operations_per_token"] = operations
    save_document(document, file)
    with pytest.raises(ConfigError, match=r"operations_per_token.*; write it again with eval --output"):
        load_result(file)


def test_a_view_without_a_score(results):
    with pytest.raises(ConfigError) as caught:
        rank(results, PROFILES["flops"])
    assert str(caught.value) == "profile flops is a general view, under which there is no score to rank by"
