"""``lm-meter report``: what stands in its documents, the files it writes and refuses, and where curves come from."""

import hashlib
import json
import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest
from report_files import HOSTILE, HOSTILE_WORDS, records_file, records_of, result_file

import lm_meter
from lm_meter import cli
from lm_meter.defaults import sample_path, sample_text
from lm_meter.profiles import PROFILES
from lm_meter.record_table import Words
from lm_meter.reporting.blocks import Section, Table, Text, visible
from lm_meter.reporting.command_line import command_of
from lm_meter.reporting.curves import curves_of
from lm_meter.reporting.document import report_of
from lm_meter.reporting.facts import read_facts
from lm_meter.reporting.html import html
from lm_meter.reporting.markdown import markdown
from lm_meter.reporting.plots import pareto_front
from lm_meter.reporting.svg import Axis, log_axis, short

PROFILE = PROFILES["micronet-2019-06"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Path of a result of a tiny LSTM, and the result."""
    return result_file(tmp_path_factory.mktemp("made"))


def _report(path, *flags, name="report.md"):
    out = path.parent / name
    assert cli.main(["report", str(path), "--html" if name.endswith("html") else "--markdown", str(out), *flags]) == 0
    return out.read_text(encoding="utf-8")


def _changed(path, name, change):
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    found = path.parent / name
    found.write_text(json.dumps(document), encoding="utf-8")
    return found


def test_markdown_has_every_region_with_formula_sizes_widths_counts_and_price(made):
    path, result = made
    page = _report(path)
    for region in result["regions"]:
        assert f"\n#### {region['name']}\n" in page
    for row in result["histogram"]:
        # Counts of this model are whole where the price is 1: all widths here are 16 bits or more.
        assert re.search(rf"\| {row['count']:,} \| {row['count']:,} \| 1 \|", page), row
    # The gates of one LSTM layer of 12 units on an embedding of 8: 48 rows of 20 columns, float32.
    words = result["text"]["word_tokens"]
    assert f"| multiply 32\u00d732 bits | `T·m·n` | {words * 960:,} | {words * 960:,} | 1 | 960 |" in page
    assert f"| add 32\u00d732 bits | `T·(m·n - m) + T·m` | {words * 960:,} | {words * 960:,} | 1 | 960 |" in page
    assert "| `m` | 48 | rows of lstm.0.weight |" in page
    assert "follow from the formulas and these numbers, to the integer." in page


def test_markdown_has_storage_activations_hashes_environment_and_conventions(made):
    path, result = made
    page = _report(path)
    for tensor in result["storage"]["tensors"]:
        assert f"| `{tensor['name']}` | " in page
    assert "| `lstm.0.weight` | 48 \u00d7 20 | float32 | values | 32 | 960 | 1 | 960 | 30,720 |" in page
    assert f"| with state | `lstm.0; bits: lstm.0` | {result['activations']['with_state']['elements']} |" in page
    for text in (result["checkpoint"]["sha256"], result["text"]["sha256"], result["chain"]["links"][-1]):
        assert f"| `{text}` |" in page
    for key in result["environment"]:
        assert key.replace("_", "\\_") in page
    assert "Padding enters neither loss nor state nor counts." in page
    assert "wider input / 16, at most 1" in page


def test_prices_are_those_of_the_profile(made):
    path, result = made
    page = _report(path, "--profile", "bops")
    words = result["text"]["word_tokens"]
    assert f"| multiply 32\u00d732 bits | `T·m·n` | {words * 960:,} | {words * 960:,} | 1024 | {960 * 1024:,} |" in page
    assert not re.search(r"\bscore\b", page.split("## Conventions")[0])  # the tokenizer's table has `scores`


def test_both_formats_have_the_same_tables(made):
    class Cells(HTMLParser):
        def __init__(self):
            super().__init__()
            self.found, self._inside = [], False

        def handle_starttag(self, tag, attributes):
            if tag in ("td", "th"):
                self.found.append("")
                self._inside = True

        def handle_endtag(self, tag):
            self._inside = self._inside and tag not in ("td", "th")

        def handle_data(self, data):
            if self._inside:
                self.found[-1] += data

    path, _ = made
    cells = Cells()
    cells.feed(_report(path, name="report.html"))
    shown = set(cells.found)
    for line in _report(path).splitlines():
        if line.startswith("| ") and not line.startswith(("| ---", "|  |")):
            for cell in line[2:-2].split(" | "):
                assert re.sub(r"\\(.)", r"\1", cell.strip("` ")) in shown, cell


def test_a_count_that_does_not_follow_is_named(made):
    def change(document):
        document["histogram"][0]["count"] += 1

    path, _ = made
    page = _report(_changed(path, "altered.json", change))
    assert "NOT ALL COUNTS FOLLOW FROM THE FORMULAS: 1 of " in page
    assert "such as lstm.0: multiply 32\u00d732 bits" in page


def test_counts_that_are_those_of_more_predictions_are_told(made):
    def change(document):
        for row in document["histogram"]:
            row["count"] *= 2

    path, result = made
    scored = result["text"]["scored"]
    page = _report(_changed(path, "twice.json", change))
    assert (
        f"THE COUNTS ARE THOSE OF ANOTHER RUN: they follow from {2 * scored:,} predictions, and {scored:,} were made. "
    ) in page
    assert "OF ANOTHER RUN" not in _report(path)


def test_an_older_result_has_counts_and_no_laws(made):
    def change(document):
        for name in ("calculation", "run", "chain", "activations", "uncertainty"):
            document.pop(name)

    path, result = made
    page = _report(_changed(path, "older.json", change))
    assert "This result has no formulas" in page
    assert f"| multiply 32\u00d732 bits | {result['histogram'][0]['count']:,} | 1 | 960 |" in page
    assert "This result does not say how it was run" in page
    assert "Not measured by the version that wrote this result." in page
    assert "lm-meter eval --checkpoint" in page


def test_a_law_that_is_none_is_refused(made, capsys):
    def change(document):
        document["calculation"]["regions"][1]["laws"][0]["terms"] = ["T**9**9**9"]

    path, _ = made
    changed = _changed(path, "bad.json", change)
    assert cli.main(["report", str(changed), "--markdown", str(path.parent / "bad.md")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"lm-meter: error: {changed}: lstm.0: the law 'T**9**9**9' cannot be evaluated; ")
    assert error.count("\n") == 1
    assert not (path.parent / "bad.md").exists()


def test_the_command_repeats_the_run(made, tmp_path, monkeypatch, capsys):
    _, result = made
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command_of(result.document))
    assert words[:2] == ["lm-meter", "eval"]
    assert cli.main([*words[1:], "--quiet", "--format", "json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["chain"] == result["chain"]


def test_the_command_is_quoted_and_names_a_corpus_by_its_name(made):
    document = json.loads(made[0].read_text(encoding="utf-8"))
    document["checkpoint"]["path"] = "my model;$(rm).npz"
    document["text"]["name"] = "wikitext-103/test"
    document["run"]["options"] |= {"oov": "unk", "limit": 7, "continuous_cache": "5,0.3,0.1", "first_token": "skip"}
    assert command_of(document) == (
        "lm-meter eval --checkpoint 'my model;$(rm).npz' --corpus wikitext-103 --split test --block 64 --threads 1 "
        "--first-token skip --limit 7 --oov unk --continuous-cache 5,0.3,0.1 --profile micronet-2019-06"
    )
    document["text"] |= {"name": sample_text().name, "sha256": sample_text().sha256}
    assert f" --text {shlex.quote(str(sample_path()))} " in command_of(document)
    for name in ("-model.npz", "--limit"):
        document["checkpoint"]["path"] = name
        assert f" --checkpoint={name} " in command_of(document)


def test_claims_of_a_foreign_entry_are_labelled(made):
    """Nothing of it was metered: what is else a number is null."""
    facts, other = (read_facts(str(made[0]), PROFILE) for _ in range(2))
    nothing = dict.fromkeys(("total", "matrix_vector", "per_piece"))
    facts.document.update(
        entry={"command": "python <model>.py", "name": None, "protocol": 1, "unmetered": True, "timeout": 60.0,
               "claims": {"operations": 1e6, "parameters": None},
               "vocabulary": {"path": "words.txt", "sha256": "0" * 64, "size": 9},
               "files": [{"name": "model.py", "sha256": "1" * 64}]},
        histogram=[], regions=[], activations=None, calculation=None,
        operations_per_token=facts.document["operations_per_token"] | nothing,
        storage={"bits": None, "parameters": None, "tensors": []},
        checkpoint={"path": "python <model>.py", "sha256": None, "architecture": "foreign entry"},
        memory={"peak_resident_bytes": None},
    )  # fmt: skip
    facts.document["online"].update(policy=None, context=None, bits_equal=None)
    facts.document["speed"].update(weight_bytes_per_token=None)
    ratios = {"storage_ratio": 0.5, "operations_ratio": 0.25, "total": 0.75}
    facts.document["score"].update(dict.fromkeys(ratios), claimed=ratios)
    page = markdown(report_of([facts]))
    assert "UNMETERED" in page
    assert "| operations (claimed, unmetered) | 1,000,000 |" in page
    assert "| parameters (claimed, unmetered) | not claimed |" in page
    assert "| score: total (claimed, unmetered) | 0.750000 |" in page
    assert "    python <model>.py\n" in page
    assert f"| SHA-256 of model.py | `{'1' * 64}` |" in page
    assert "    lm-meter eval --entry 'python <model>.py' --vocabulary words.txt --entry-timeout 60 --text " in page
    assert "--block" not in page
    assert "## Operations" not in page
    page = html(report_of([other, facts]))
    assert ">0.75000 (claimed)<" in page
    assert 'class="dot claimed"' in page
    assert "What is marked as claimed was not metered" in page
    # However small, claims take no metered result's place on the front, nor do they stand on one.
    smallest = {"storage_ratio": 1e-9, "operations_ratio": 1e-9, "total": 2e-9}
    facts.document["score"].update(claimed=smallest)
    page = markdown(report_of([other, facts]))
    assert "| `result.json` | yes | " in page
    assert "| `result.json` | left out: unmetered | 0.00000 (claimed) | 0.00000 (claimed) | 0.00000 (claimed) |" in page
    page = html(report_of([facts, facts]))
    assert 'class="dot claimed"' in page
    assert "Pareto front of the results" not in page


def test_a_ratio_of_nothing_is_not_drawn_and_said_so(made):
    facts, other = (read_facts(str(made[0]), PROFILE) for _ in range(2))
    facts.document["score"].update(storage_ratio=0.0, tokenizer_ratio=0.0)
    page = html(report_of([other, facts]))
    assert "these are not drawn: result.json." in page
    assert page.count('<circle cx="9"') == 1  # the legend's
    assert len(re.findall(r'<circle cx="[0-9.]+" cy="[0-9.]+" r="6"', page)) == 1


def test_nothing_of_a_strangers_result_is_markup(tmp_path):
    path, result = result_file(tmp_path, checkpoint=HOSTILE.replace("/", "\u2215"), words=HOSTILE_WORDS)
    records = records_file(tmp_path, result)
    page = _report(path, "--records", str(records), name="report.html")
    assert "<script" not in page
    assert page.count("</style>") == 1
    assert page.count("&lt;script&gt;alert(1)") > 0
    page = _report(path, "--records", str(records))
    for line in page.splitlines():
        outside = re.sub(r"(`+).*?\1", "", line) if not line.startswith("    ") else ""
        assert not re.search(r"(?<!\\)<", outside), line


def test_markdown_means_what_the_text_says():
    report = Section("# a *b* <c>", [Text("- no list"), Text("1. `no` [link](x) https://x.y"),
                     Table("t", ("h|1", "n"), [("a|`b`", "x|y\n\u202e")])])  # fmt: skip
    assert markdown(report).split("\n\n") == [
        "# \\# a \\*b\\* \\<c\\>",
        "\\- no list",
        "1\\. \\`no\\` \\[link\\](x) https:\\//x.y",
        "**t**",
        "| h\\|1 | n |\n| --- | ---: |\n| `` a\\|`b` `` | x\\|y\ufffd\ufffd |\n",
    ]
    assert visible("a\u0000b\u200bc\ud800") == "a\ufffdb\ufffdc\ufffd"


def test_files_are_refused_before_anything_is_read(made, tmp_path, capsys):
    path, _ = made
    for arguments, message in (
        ([], "report: is told no file to write; expected --html FILE, --markdown FILE or both"),
        (["--html", str(path)], f"--html {path}: is an input of this run; choose another name"),
        (
            ["--html", str(tmp_path / "a"), "--markdown", str(tmp_path / "a")],
            f"--html and --markdown name the same file, {tmp_path / 'a'}; choose two names",
        ),
        (
            ["--html", str(tmp_path / "a"), "--records", "x.npz", "--records", "y.npz"],
            "--records is given 2 times for 1 results; expected one for each",
        ),
        (["--html", str(tmp_path)], f"--html {tmp_path}: is a folder; expected the name of a file"),
    ):
        assert cli.main(["report", str(path), *arguments]) == 2
        assert capsys.readouterr().err == f"lm-meter: error: {message}\n"
    assert list(tmp_path.iterdir()) == []


def test_records_that_a_result_names_are_no_place_for_a_report(made, capsys):
    path, result = made
    records = records_file(path.parent, result, "mine.npz")
    before = records.read_bytes()
    named = _changed(path, "named.json", lambda d: d.update(records={"file": "mine.npz", "sha256": _sha256(records)}))
    assert cli.main(["report", str(named), "--html", str(records)]) == 2
    assert f"--html {records}: is an input of this run" in capsys.readouterr().err
    assert records.read_bytes() == before


def test_a_disk_that_fills_up_leaves_no_half_of_a_report(made, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "old.md").write_text("old", encoding="utf-8")
    monkeypatch.setattr("os.replace", full)
    assert cli.main(["report", str(made[0]), "--markdown", str(tmp_path / "old.md")]) == 2
    assert "old.md: cannot be written (No space left on device); choose another place" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["old.md"]
    assert (tmp_path / "old.md").read_text(encoding="utf-8") == "old"


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_curves_come_from_the_records_that_a_result_names(made):
    path, result = made
    records = records_file(path.parent, result)
    entry = {"file": "records.npz", "sha256": _sha256(records)}
    named = _changed(path, "named.json", lambda d: d.update(records=entry))
    assert "**Loss against position**" in _report(named)
    wrong = _changed(path, "wrong.json", lambda d: d.update(records=entry | {"sha256": "0" * 64}))
    assert "records.npz is not the one that the result names: its SHA-256 is another" in _report(wrong)
    gone = _changed(path, "gone.json", lambda d: d.update(records=entry | {"file": "gone.npz"}))
    assert "the file of records, gone.npz, is not beside the result" in _report(gone)
    assert "the result names no file of records (eval --records)" in _report(path)


def test_records_of_another_run_are_refused(made, tmp_path, capsys):
    path, result = made
    scored = result["text"]["scored"]
    for changes, message in (
        ({"text_sha256": "0" * 64}, "text_sha256 is 0000"),
        ({"checkpoint_sha256": "0" * 64}, "checkpoint_sha256 is 0000"),
        ({"log_prob": result.log_probs - 1}, "the sum of losses is "),
        ({"operations": np.ones(scored, np.int64)}, f"the sum of operations is {scored}, in the result "),
    ):
        records = records_file(tmp_path, result, **changes)
        assert cli.main(["report", str(path), "--markdown", str(tmp_path / "x.md"), "--records", str(records)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"lm-meter: error: {records}: {message}")
        assert error.endswith("; expected the records that eval --records wrote with it\n")
    shorter = {
        name: getattr(records_of(result), name)[:-1]
        for name in ("position", "line", "article", "word", "token", "log_prob", "rank", "operations", "word_start")
    }
    records = records_file(tmp_path, result, **shorter)
    assert cli.main(["report", str(path), "--markdown", str(tmp_path / "x.md"), "--records", str(records)]) == 2
    assert (
        f"the number of rows is {scored - 1}, in the result {scored}; expected the records" in capsys.readouterr().err
    )


def test_curves_by_hand(made):
    """Tokens 0 to 3 in turn lose 1 to 4 nats; operations are 100, 200, ... and 1000 from the tenth prediction on."""
    place = np.arange(made[1]["text"]["scored"])
    operations = 100 * np.minimum(place + 1, 10)
    records = records_of(made[1], log_prob=-1.0 - place % 4, operations=operations)
    size = records.size
    curves = curves_of(records, None)

    assert curves.by_position.count.sum() == size
    assert curves.by_position.running[-1] == pytest.approx(-records.log_prob.mean())
    assert curves.operations.first[:4].tolist() == [1, 2, 3, 4]
    assert curves.operations.mean[:3].tolist() == [100, 200, 300]
    assert curves.operations.mean[-1] == 1000
    assert (curves.operations.mean * curves.operations.count).sum() == records.operations.sum()
    # Two articles: their first positions are together.
    assert curves.in_article.count[0] == 2
    first = [-records.log_prob[n] for n in (0, size // 2)]
    assert curves.in_article.mean[0] == np.mean(first)
    # All four tokens occur equally often, but for one more of the first ones.
    assert curves.by_frequency.count.sum() == size
    assert curves.by_frequency.share.sum() == pytest.approx(1)
    (band,) = set(zip(curves.by_frequency.first.tolist(), curves.by_frequency.last.tolist(), strict=True))
    assert band[0] <= size // 4 <= band[1]


def test_frequency_is_that_of_words_where_they_have_pieces(made):
    records = records_of(made[1])
    size = records.size // 2
    numbers = np.arange(size)
    # "rare" once, "often" everywhere else; a rare word loses 9 nats and any other 1.
    words = Words(numbers, numbers, np.zeros(size, np.int32), numbers, -np.where(numbers == 3, 9.0, 1.0), numbers,
                  tuple("rare" if n == 3 else "often" for n in range(size)))  # fmt: skip
    found = curves_of(records, words).by_frequency
    assert found.first[0] == found.last[0] == 1
    assert found.mean.tolist() == [9.0, 1.0]
    assert found.count.tolist() == [1, size - 1]
    assert found.share[0] == 9 / (9 + size - 1)


def test_several_results_stand_beside_each_other(made, tmp_path):
    path, _ = made
    second, result = result_file(tmp_path, "second.json", hidden=(30,))
    page = tmp_path / "both.md"
    assert cli.main(["report", str(path), str(second), "--markdown", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "# Report of result.json, second.json" in text
    assert text.count("\n### Operations\n") == 2
    # The smaller one is better in both: the larger one is not on the front.
    assert re.search(r"\| `result\.json` \| yes \| [0-9.]+ \|", text)
    assert re.search(r"\| `second\.json` \| no \| [0-9.]+ \|", text)
    assert f"{result['score']['total']:.5f} |" in text


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(1, 1)], [(1, 1)]),
        ([(1, 3), (2, 2), (3, 1), (3, 3), (2, 2)], [(1, 3), (2, 2), (3, 1)]),
        ([(1, 2), (1, 1), (2, 1)], [(1, 1)]),
    ],
)
def test_pareto_front(points, front):
    assert pareto_front(points) == front


def test_axes():
    assert Axis("x", 0, 10).ticks() == [0, 2, 4, 6, 8, 10]
    assert Axis("x", 1, 1000, True).ticks() == pytest.approx([1, 10, 100, 1000])
    assert log_axis("x", [3.0], 2).ticks() == pytest.approx([2, 5])
    assert [Axis("x", 1, 100, True).place(value) for value in (1, 10, 100)] == [0, 0.5, 1]
    assert [short(value) for value in (0, 0.05, 0.002, 7, 1500, 2e6, 3.1e9)] == [
        "0", "0.05", "2e-3", "7", "1.5k", "2M", "3.1G",
    ]  # fmt: skip


def test_a_general_view_has_no_plane(made):
    page = _report(made[0], "--profile", "flops", name="view.html")
    assert "On the plane of scores" not in page
    assert lm_meter.__version__ in page


@pytest.mark.parametrize("first_token", ["score", "skip"])
def test_the_command_of_an_older_result_runs_over_as_much_of_the_text(first_token, made):
    _, result = made
    options = lm_meter.RunOptions(limit=7, first_token=first_token)
    document = dict(
        lm_meter.evaluate(result["checkpoint"]["path"], text=result["text"]["name"], options=options).document
    )
    assert " --limit 7 " in command_of(document)
    document["run"] = None
    assert " --limit 7 " in command_of(document)
    assert " --limit " not in command_of(document | {"partial": True})
