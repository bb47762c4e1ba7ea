"""Two results beside each other: every difference recomputed from the records, and what is refused."""

import dataclasses
import json
import math
import re
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from entry_programs import program, vocabulary
from recorded import recorded, write_text

from lm_meter import ConfigError, ForeignEntry, cli, evaluate_entry, load_result
from lm_meter.comparison import compare, read_compared
from lm_meter.comparison_table import comparison_table
from lm_meter.defaults import default_checkpoint
from lm_meter.documents import save_document
from lm_meter.loss_differences import FREQUENCIES, PLACES
from lm_meter.profiles import PROFILES
from lm_meter.records import read_records, write_records
from lm_meter.result import price_result

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
JUNE = PROFILES["micronet-2019-06"]
MODELS = {
    "a": {},
    "b": {"hidden": (16,), "dtype": "float16"},
    "pieces": {"kind": "sentencepiece", "words": ("the", "cat", "mat")},  # other words are several pieces
    "characters": {"kind": "characters"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results and records of four models over a text with articles: a line's title is three of them."""
    place = tmp_path_factory.mktemp("compare")
    write_text(place / "text", 66, articles=22)
    for name, model in MODELS.items():
        recorded(place, name, place / "text", suffix=".csv" if name == "b" else ".npz", **model)
    return place


def _compared(folder, first, second, per_word=False, profile=JUNE):
    return compare(*(read_compared(str(folder / f"{name}.json")) for name in (first, second)), profile, per_word)


def _rows(folder, name):
    """Records as plain rows: word token, article, text and loss."""
    path = next(folder.glob(f"{name}.records.*"))
    records = read_records(path)
    text = dict(zip(records.token_id.tolist(), records.token_text.tolist(), strict=True))
    columns = (records.word, records.article, records.token, -records.log_prob)
    return [(w, a, text[t], x) for w, a, t, x in zip(*(column.tolist() for column in columns), strict=True)]


def test_the_perplexity_and_its_interval(folder):
    found = _compared(folder, "a", "b")["perplexity"]
    losses = [np.array([row[3] for row in _rows(folder, name)]) for name in ("a", "b")]
    means = [loss.sum() / loss.size for loss in losses]
    assert found["first"] == pytest.approx(math.exp(means[0]), rel=1e-12)
    assert found["second"] == pytest.approx(math.exp(means[1]), rel=1e-12)
    assert found["difference"] == found["second"] - found["first"]
    assert found["ratio"] == pytest.approx(math.exp(means[1] - means[0]), rel=1e-12)
    assert found["nats_difference"] == pytest.approx(means[1] - means[0], rel=1e-12)
    interval = found["interval"]
    assert (interval["method"], interval["block"], interval["blocks"]) == ("bootstrap-t", "article", 22)
    assert interval["paired"] is True
    assert interval["nats_low"] < means[1] - means[0] < interval["nats_high"]
    assert interval["ratio_low"] == math.exp(interval["nats_low"])
    assert interval["difference_low"] < found["difference"] < interval["difference_high"]

    # Its half width is near that of the normal interval of the articles' differences, worked out here.
    article = np.array([row[1] for row in _rows(folder, "a")])
    difference, sums = losses[1] - losses[0], []
    for number in np.unique(article):
        here = article == number
        sums.append((difference[here].sum(), here.sum()))
    residuals = [total - (means[1] - means[0]) * words for total, words in sums]
    half = 1.96 * math.sqrt(sum(r * r for r in residuals) * 22 / 21) / article.size
    assert (interval["nats_high"] - interval["nats_low"]) / 2 == pytest.approx(half, rel=0.2)


def test_the_verdict_is_the_interval_s(folder):
    found = _compared(folder, "a", "b")["perplexity"]
    assert found["verdict"] == ("lower" if found["difference"] < 0 else "higher")
    backwards = _compared(folder, "b", "a")["perplexity"]
    assert backwards["difference"] == -found["difference"]
    assert backwards["verdict"] == {"lower": "higher", "higher": "lower"}[found["verdict"]]
    same = _compared(folder, "a", "a")
    assert same["perplexity"]["verdict"] == "too close to call"
    assert same["perplexity"]["interval"]["difference_low"] == same["perplexity"]["interval"]["difference_high"] == 0
    assert same["notes"] == ["both results are of the same checkpoint"]
    assert "same checkpoint" in comparison_table(same)
    assert "  no region differs\n" in comparison_table(same)


def _interval_lines(found):
    lines = comparison_table(found).split("\n")
    first = next(n for n, line in enumerate(lines) if "95% interval" in line)
    return lines[first : lines.index("", first)]


def test_the_verdict_is_that_of_the_interval_that_is_shown_first(folder):
    found = _compared(folder, "a", "b")
    assert found["perplexity"]["verdict_of"] == "ratio"
    interval = found["perplexity"]["interval"]

    def shown(low, high, difference):
        ends = {"ratio_low": low, "ratio_high": high, "difference_low": difference[0], "difference_high": difference[1]}
        interval.update(ends)
        found["perplexity"]["verdict"] = "lower" if high < 1 else "higher" if low > 1 else "too close to call"
        return _interval_lines(found)

    assert shown(0.98, 0.99, (-3, -1)) == [
        "  95% interval of B / A: 0.98000 to 0.99000 (paired bootstrap-t, 22 articles); by it: B is lower",
        "  of B - A, from the same blocks: -3.000 to -1.000",
    ]
    # However near to 1, its side can be seen.
    assert "0.99900 to 1-2.0e-07 (" in shown(0.999, 1 - 2e-7, (-3, -1e-9))[0]
    assert "of B / A: 1+3.0e-07 to 1.00000 (" not in shown(1 + 3e-7, 1 + 4e-7, (1e-9, 1))[0]
    assert "of B / A: 1.00000 to 1.00000 (paired bootstrap-t, 22 articles); by it: too" in shown(1, 1, (0, 0))[0]
    # The two intervals are made apart; where they disagree it is said.
    assert shown(0.98, 0.999, (-3, 0.1))[2:] == [
        "  by the interval of B - A alone the verdict were: too close to call; the two are made apart"
    ]
    assert shown(0.98, 1.001, (-3, -0.1))[2:] == [
        "  by the interval of B - A alone the verdict were: lower; the two are made apart"
    ]


def test_losses_by_band_and_by_word(folder):
    found = _compared(folder, "a", "b")["loss"]
    rows, others = _rows(folder, "a"), _rows(folder, "b")
    times = Counter(row[2] for row in rows)
    place, places = Counter(), []
    for row in rows:
        place[row[1]] += 1
        places.append(place[row[1]])
    assert found["position_in"] == "article"
    for name, bounds, values in (
        ("by_frequency", FREQUENCIES, [times[row[2]] for row in rows]),
        ("by_position", PLACES, places),
    ):
        assert sum(row["words"] for row in found[name]) == len(rows)
        for row in found[name]:
            assert row["from"] in bounds
            here = [n for n, value in enumerate(values) if row["from"] <= value <= (row["to"] or 10**9)]
            totals = [math.fsum(losses[n][3] for n in here) for losses in (rows, others)]
            assert row["words"] == len(here)
            assert row["first_nats_per_word"] == pytest.approx(totals[0] / len(here))
            assert row["second_nats_per_word"] == pytest.approx(totals[1] / len(here))
            assert row["difference"] == pytest.approx((totals[1] - totals[0]) / len(here))
            assert row["total_difference"] == pytest.approx(totals[1] - totals[0])
    totals = {word: [0.0, 0.0] for word in times}
    for row, other in zip(rows, others, strict=True):
        totals[row[2]][0] += row[3]
        totals[row[2]][1] += other[3]
    expected = sorted(totals, key=lambda word: -abs(totals[word][1] - totals[word][0]))[:20]
    assert [row["word"] for row in found["by_word"]] == expected
    for row in found["by_word"]:
        first, second = totals[row["word"]]
        assert row["count"] == times[row["word"]]
        assert row["first_nats"] == pytest.approx(first / row["count"])
        assert row["second_nats"] == pytest.approx(second / row["count"])
        assert row["total_difference"] == pytest.approx(second - first)


def test_a_text_without_articles_is_compared_by_lines(tmp_path):
    write_text(tmp_path / "text", 30)
    for name in ("a", "b"):
        recorded(tmp_path, name, tmp_path / "text", **MODELS[name])
    found = _compared(tmp_path, "a", "b")
    assert (found["perplexity"]["interval"]["block"], found["perplexity"]["interval"]["blocks"]) == ("line", 30)
    assert found["loss"]["position_in"] == "text"
    assert [row["words"] for row in found["loss"]["by_position"]][:2] == [10, 90]
    write_text(tmp_path / "text", 5)
    for name in ("a", "b"):
        recorded(tmp_path, name, tmp_path / "text", **MODELS[name])
    few = _compared(tmp_path, "a", "b")
    assert few["perplexity"]["interval"] is few["perplexity"]["verdict"] is None
    assert few["notes"] == ["no interval: the text has fewer than 20 lines"]


def _write_changed(path, to, **columns):
    write_records(dataclasses.replace(read_records(path), **columns), to)


@pytest.mark.parametrize("profile", ["micronet-2019-final", "bops"])
def test_operations_by_region_and_kind(profile, folder):
    found = _compared(folder, "a", "b", profile=PROFILES[profile])
    documents = [load_result(folder / f"{name}.json").document for name in ("a", "b")]
    sums = []
    for document in documents:
        narrow = False  # float16 is not below 16 bits
        cells = Counter()
        for row in document["histogram"]:
            price = PROFILES[profile].operation(row["kind"], row["bits_a"], row["bits_b"], narrow)
            cells[row["region"], row["kind"]] += price * row["count"]
        sums.append({key: float(value / document["text"]["word_tokens"]) for key, value in cells.items()})
    operations = found["operations"]
    cells = {
        (region, kind): figures
        for region, kinds in operations["by_region_and_kind"].items()
        for kind, figures in kinds.items()
    }
    assert set(cells) == {*sums[0], *sums[1]}
    for key, figures in cells.items():
        reference = [each.get(key, 0.0) for each in sums]
        assert [figures["first"], figures["second"]] == pytest.approx(reference)
        assert figures["difference"] == pytest.approx(reference[1] - reference[0])
    for side, each in zip(("first", "second"), sums, strict=True):
        assert operations["total"][side] == pytest.approx(sum(each.values()))
        for region, figures in operations["by_region"].items():
            assert figures[side] == pytest.approx(sum(v for (r, _), v in each.items() if r == region))
        for kind, figures in operations["by_kind"].items():
            assert figures[side] == pytest.approx(sum(v for (_, k), v in each.items() if k == kind))


def test_storage_by_tensor(folder):
    found = _compared(folder, "a", "b")["storage"]
    # a: 12 units, float32; b: 16, float16. Their biases and matrices differ in shape or width, all of them.
    shapes = {
        "embedding": ([15, 8], [15, 8]),
        "lstm.0.weight": ([48, 20], [64, 24]),
        "lstm.0.bias": ([48], [64]),
        "softmax.weight": ([15, 12], [15, 16]),
        "softmax.bias": ([15], [15]),
    }
    assert {row["name"] for row in found["tensors"]} == set(shapes)
    assert found["equal_tensors"] == 0
    for row in found["tensors"]:
        first, second = shapes[row["name"]]
        assert (row["first"]["shape"], row["second"]["shape"]) == (first, second)
        assert (row["first"]["width"], row["second"]["format"]) == (32, "float16")
        assert row["bits_difference"] == math.prod(second) * 16 - math.prod(first) * 32
    changes = [abs(row["bits_difference"]) for row in found["tensors"]]
    assert changes == sorted(changes, reverse=True)
    assert found["bits"]["difference"] == sum(row["bits_difference"] for row in found["tensors"])


def test_a_tensor_that_only_one_has(folder, tmp_path):
    recorded(tmp_path, "deep", folder / "text", hidden=(12, 12))
    found = compare(read_compared(str(folder / "a.json")), read_compared(str(tmp_path / "deep.json")), JUNE)
    rows = {row["name"]: row for row in found["storage"]["tensors"]}
    assert rows["lstm.1.weight"]["first"] is None
    assert found["storage"]["equal_tensors"] == 5
    assert "not there" in comparison_table(found)
    assert found["operations"]["by_region"]["lstm.1"]["first"] == 0


def test_figures_of_both_are_those_of_the_results(folder):
    found = _compared(folder, "a", "b")
    documents = [price_result(load_result(folder / f"{name}.json"), JUNE).document for name in ("a", "b")]
    for side, document in zip(("first", "second"), documents, strict=True):
        assert found["score"][side] == document["score"]["total"]
        assert found["storage"]["parameters"][side] == document["storage"]["parameters"]
        for view in ("with_state", "without_state"):
            for unit in ("elements", "bits"):
                assert found["activations"][view][unit][side] == document["activations"][view][unit]
        assert found["speed"]["tokens_per_second"][side] == document["speed"]["tokens_per_second"]


def test_speeds_say_where_the_runs_differ(folder, tmp_path):
    first, second = (load_result(folder / f"{name}.json").document for name in ("a", "b"))
    second["environment"]["cpu"], second["environment"]["threads"] = "another", first["environment"]["threads"] + 1
    first["speed"]["tokens_per_second"], second["speed"]["tokens_per_second"] = 200.0, 300.0
    for document in (first, second):
        document["speed"]["weight_bytes_per_token"] = document["speed"]["bandwidth_fraction"] = 0
    for name, document in (("a", first), ("b", second)):
        save_document({**document, "records": None}, tmp_path / f"{name}.json")
    found = _compared(tmp_path, "a", "b")
    assert found["speed"]["tokens_per_second"]["ratio"] == found["speed"]["word_tokens_per_second"]["ratio"] == 1.5
    assert set(found["speed"]["environment_differs"]) == {"cpu", "threads"}
    assert found["speed"]["environment_differs"]["cpu"] == [first["environment"]["cpu"], "another"]
    table = comparison_table(found)
    assert "  of two runs that differ in more than the model:\n" in table
    assert " and another\n" in table


@pytest.mark.parametrize(("first", "second"), [("a", "pieces"), ("pieces", "a"), ("pieces", "characters")])
def test_other_tokenizations_are_compared_per_word(first, second, folder):
    with pytest.raises(ConfigError, match="so that single predictions cannot be compared; compare them with --per"):
        _compared(folder, first, second)
    found = _compared(folder, first, second, per_word=True)
    totals, words = [], found["text"]["word_tokens"]
    for name in (first, second):
        sums = Counter()
        for word, _, _, loss in _rows(folder, name):
            sums[word] += loss
        totals.append(sums)
    assert found["perplexity"]["nats_difference"] == pytest.approx(
        (math.fsum(totals[1].values()) - math.fsum(totals[0].values())) / words
    )
    for name in ("by_frequency", "by_position"):
        assert sum(row["words"] for row in found["loss"][name]) == words
        change = math.fsum(row["total_difference"] for row in found["loss"][name])
        assert change == pytest.approx(found["perplexity"]["nats_difference"] * words)
    # Words are those of the text. The fixture calls the end of a line <end> where pieces are not words.
    listed = {row["word"]: row for row in found["loss"]["by_word"]}
    assert "the" in listed
    assert "<end>" in listed
    spoken = [
        word for line in (folder / "text").read_text(encoding="utf-8").splitlines() for word in [*line.split(), "<end>"]
    ]
    reference = [sum(total[n] for n, word in enumerate(spoken) if word == "the") for total in totals]
    assert listed["the"]["count"] == spoken.count("the")
    assert listed["the"]["total_difference"] == pytest.approx(reference[1] - reference[0])


def test_the_first_token_may_be_context_of_both(folder, tmp_path):
    for name in ("a", "pieces"):
        recorded(tmp_path, name, folder / "text", first_token="skip", **MODELS[name])
    found = _compared(tmp_path, "a", "pieces", per_word=True)
    words = found["text"]["word_tokens"]
    assert found["perplexity"]["interval"]["nats_low"] < found["perplexity"]["nats_difference"]
    assert sum(row["words"] for row in found["loss"]["by_position"]) == words
    with pytest.raises(
        ConfigError, match=r"text\.first_token is score and skip; expected results of the same part of the text; "
    ):
        compare(read_compared(str(folder / "a.json")), read_compared(str(tmp_path / "a.json")), JUNE)


def test_tokenizations_of_as_many_pieces_are_told_apart_by_the_records(folder, tmp_path):
    words = ("<eos>", "<unk>", "THE", "cat", "sat", "on", "mat", "a", "dog", "ran", ",", ".", "=", "Ü", "1")
    (tmp_path / "text").write_text("cat sat on mat .\n" * 25, encoding="utf-8")
    recorded(tmp_path, "a", tmp_path / "text")
    _, result, records = recorded(tmp_path, "b", tmp_path / "text", words=words)
    assert _compared(tmp_path, "a", "b")["perplexity"]["interval"]  # other numbers, the same words
    records.token_text[records.token_text == "cat"] = "CAT"
    (tmp_path / "b.records.npz").unlink()
    result.document["records"] |= write_records(records, tmp_path / "b.records.npz")._asdict()
    save_document(result.document, tmp_path / "b.json")
    with pytest.raises(ConfigError, match=r"differ \(piece 0 is 'cat' and 'CAT'\), so that single predictions cannot"):
        _compared(tmp_path, "a", "b")


def test_replaced_words_are_another_tokenization_and_said_per_word(folder, tmp_path):
    words = ("<eos>", "<unk>", "the", "cat", "=", "on", "mat", "a", "dog", "ran", ",", ".")
    recorded(tmp_path, "few", folder / "text", words=words, oov="unk")
    both = read_compared(str(folder / "a.json")), read_compared(str(tmp_path / "few.json"))
    with pytest.raises(ConfigError, match=r"text\.replaced_by_unk is 0 and \d+"):
        compare(*both, JUNE)
    (note,) = compare(*both, JUNE, per_word=True)["notes"]
    assert note.startswith("unknown words that were replaced: 0 and ")


def test_without_records_the_rest_is_compared(folder, tmp_path):
    for name in ("a", "b"):
        save_document(load_result(folder / f"{name}.json").document, tmp_path / f"{name}.json")
    (tmp_path / "a.records.npz").write_bytes((folder / "a.records.npz").read_bytes())
    found = _compared(tmp_path, "a", "b")
    whole = _compared(folder, "a", "b")
    assert found["perplexity"]["difference"] == whole["perplexity"]["difference"]
    assert found["perplexity"]["interval"] is found["loss"] is None
    for name in ("operations", "storage", "score", "activations", "speed"):
        assert found[name] == whole[name]
    (note,) = found["notes"]
    assert note == (
        f"no interval, and not where the losses differ: {tmp_path / 'b.json'}: its records, b.records.csv, are not "
        "there; name them with --records"
    )
    document = load_result(folder / "b.json").document
    save_document({**document, "records": None}, tmp_path / "b.json")
    (note,) = _compared(tmp_path, "a", "b")["notes"]
    assert note.endswith("b.json: was made without records; make it again with eval --records FILE.npz")
    assert "\nnote: no interval" in comparison_table(found)


def test_records_of_another_run_or_that_were_changed(folder, tmp_path):
    document = load_result(folder / "a.json").document
    path = folder / "a.records.npz"

    def refusal(file, **changes):
        save_document({**document, **changes}, tmp_path / "r.json")
        with pytest.raises(ConfigError) as caught:
            read_compared(str(tmp_path / "r.json"), str(file))
        return str(caught.value)

    ending = "; expected the records that eval --records wrote with it"
    other = folder / "b.records.csv"
    assert refusal(other) == f"{other}: its SHA-256 is not that of records.sha256 in the result{ending}"
    message = refusal(other, records=None)
    assert message.startswith(f"{other}: the sum of losses is ")
    assert f", in the result {document['nll_nats']}" in message
    message = refusal(folder / "pieces.records.npz", records=None)
    assert message.startswith(f"{folder / 'pieces.records.npz'}: checkpoint_sha256 is ")
    found = read_records(path).log_prob  # the sum stays, rounded once, whatever the order
    _write_changed(path, tmp_path / "swapped.npz", log_prob=np.append(found[[1, 0]], found[2:]))
    assert "the last link of the chain is " in refusal(tmp_path / "swapped.npz", records=None)
    _write_changed(path, tmp_path / "more.npz", operations=read_records(path).operations + 1)
    assert "the sum of operations is " in refusal(tmp_path / "more.npz", records=None)
    word = read_records(path).word
    _write_changed(path, tmp_path / "words.npz", word=np.append(word[:-1], word[-1] + 10_000))
    assert "its word tokens are more than " in refusal(tmp_path / "words.npz", records=None)
    assert "no-such.npz: cannot be read (No such file or directory)" in refusal(tmp_path / "no-such.npz")


def test_records_that_end_elsewhere(folder, tmp_path):
    word = read_records(folder / "a.records.npz").word
    _write_changed(folder / "a.records.npz", tmp_path / "end.npz", word=np.append(word[1:], word[-1] + 1))
    save_document({**load_result(folder / "a.json").document, "records": None}, tmp_path / "a.json")
    both = read_compared(str(folder / "a.json")), read_compared(str(tmp_path / "a.json"), str(tmp_path / "end.npz"))
    with pytest.raises(
        ConfigError, match=r"the records end with word tokens .*; expected the same part of the text in both"
    ):
        compare(*both, JUNE, per_word=True)


def test_other_texts(folder, tmp_path):
    write_text(tmp_path / "text", 30, seed=1)
    recorded(tmp_path, "a", tmp_path / "text")
    both = read_compared(str(folder / "a.json")), read_compared(str(tmp_path / "a.json"))
    for per_word in (False, True):
        with pytest.raises(ConfigError, match=r" is of text .*\); expected two results of the same text"):
            compare(*both, JUNE, per_word)


def test_a_foreign_entry_has_no_costs_to_compare(folder, tmp_path):
    entry = ForeignEntry(program(tmp_path, at=-1), vocabulary(tmp_path))
    save_document(evaluate_entry(entry, text=folder / "text").document, tmp_path / "entry.json")
    both = read_compared(str(folder / "a.json")), read_compared(str(tmp_path / "entry.json"))
    found = compare(*both, JUNE)
    assert found["operations"] is found["storage"] is found["activations"] is None
    assert found["score"]["difference"] is None
    assert found["perplexity"]["difference"] == both[1].result.perplexity - both[0].result.perplexity
    assert f"{tmp_path / 'entry.json'} is of a foreign entry, whose costs are not metered" in found["notes"]
    no_records = f"{tmp_path / 'entry.json'}: was made without records; make it again with eval --records FILE.npz"
    assert f"no interval, and not where the losses differ: {no_records}" in found["notes"]
    table = comparison_table(found)
    assert "operations" not in table.split("\nspeed\n")[0].split("perplexity")[1]


def test_the_command(folder, tmp_path, capsys):
    files = [str(folder / f"{name}.json") for name in ("a", "b")]
    output = str(tmp_path / "comparison.json")
    assert cli.main(["compare", *files, "--profile", "bops", "--output", output]) == 0
    table, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, table.splitlines()[2:])) <= 100
    assert "  95% interval of B / A: " in table
    assert "(paired bootstrap-t, 22 articles); by it: B is " in table
    assert cli.main(["compare", *files, "--profile", "bops", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert document["schema"] == "lm-meter/comparison/1"
    records = [str(next(folder.glob(f"{name}.records.*"))) for name in ("a", "b")]
    assert cli.main(["compare", *files, "--records", *records, "--profile", "bops", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    for taken in (files[0], records[1]):
        assert cli.main(["compare", *files, "--output", taken]) == 2
        assert "is an input of this run; choose another name" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("compare", "--output"), ("report", "--markdown")])
def test_word_tokens_beside_records_are_no_place_for_what_is_made_of_them(command, folder, tmp_path, capsys):
    recorded(tmp_path, "pieces", folder / "text", suffix=".csv", **MODELS["pieces"])
    (words,) = tmp_path.glob("*.words.csv")
    before = words.read_bytes()
    results = [str(tmp_path / "pieces.json")] * 2
    assert cli.main([command[0], *results, command[1], str(words)]) == 2
    assert f"{command[1]} {words}: is an input of this run" in capsys.readouterr().err
    assert words.read_bytes() == before


def test_the_commands_of_the_readme_print_what_it_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LM_METER_DATA", raising=False)
    section = README.split("\n## Two results beside each other\n")[1].split("\n## ")[0]
    commands = re.findall(r"^    lm-meter (.*)$", section, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        arguments = [
            str(default_checkpoint().parent / word) if re.fullmatch(r"lstm-small.*\.npz", word) else word
            for word in shlex.split(command)
        ]
        capsys.readouterr()
        assert cli.main(arguments) == 0
    printed = re.search(r"^```text\n(.*?)^\.\.\.\n```$", section, re.MULTILINE | re.DOTALL)[1]
    assert printed in capsys.readouterr().out


def test_documented_fields_are_those_of_a_comparison(folder):
    section = README.split("\n## Two results beside each other\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", section, re.MULTILINE)
    found = _compared(folder, "a", "b")
    assert {name for first, _ in rows for name in re.findall(r"`(\w+)`", first)} | {"schema"} == set(found)
    for first, content in rows:
        for name in re.findall(r"`(\w+)`", first):
            inner = found[name][0] if isinstance(found[name], list) and found[name] else found[name]
            if isinstance(inner, dict) and name != "activations":
                figures = {"first", "second", "difference"}
                assert set(inner) - figures <= set(re.findall(r"`(\w+)`", content)), name


def test_signs_that_a_terminal_would_obey_are_escaped(folder):
    found = _compared(folder, "a", "b")
    found["loss"]["by_word"][0]["word"] = "\x1b[2J\n" + "w" * 100
    table = comparison_table(found)
    assert "  \\x1b[2J\\nwwwwwwwwwwww...  " in table
