"""Names of files that hold marks, line ends, escape sequences and bytes that are not UTF-8, in all that is printed."""

import csv
import io
import json
import os
import re
import shlex
import subprocess
from html.parser import HTMLParser

import pytest
from tiny import TEXT, tiny_checkpoint

from lm_meter import ConfigError, cli
from lm_meter.printable import page, printable
from lm_meter.reporting.command_line import command_of

# A line end, a tab, a bar, a backtick, a comma, quotes, a tag, what colours a terminal, and a byte that is no UTF-8.
HOSTILE = "a\nb\tc|d`e,f\"g'<script>\x1b[31m\\n\u202e" + os.fsdecode(b"\xff")
READABLE = HOSTILE.replace("\udcff", "?")
SHOWN = "a\\nb\\tc|d`e,f\"g'<script>\\x1b[31m\\n\\u202e?"
COUNT = 4
FORMATS = ("table", "markdown", "csv", "json", "jsonl")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of two checkpoints, two texts, and what ``eval`` printed of them in each format."""
    folder = tmp_path_factory.mktemp("names")
    before = os.getcwd()
    os.chdir(folder)
    tiny_checkpoint(folder / f"{HOSTILE}.npz")
    tiny_checkpoint(folder / "plain.npz", seed=3)
    (folder / HOSTILE).write_text(TEXT * 30, encoding="utf-8")
    (folder / "plain.txt").write_text(TEXT, encoding="utf-8")
    printed = {kind: _eval(kind) for kind in FORMATS}
    os.chdir(before)
    return folder, printed


def _eval(kind):
    arguments = ["eval", "--checkpoint", f"{HOSTILE}.npz", "plain.npz", "--text", HOSTILE, "plain.txt"]
    files = ["--output", "{checkpoint}-{text}.json", "--records", "{checkpoint}-{text}.csv"]
    return _run(*arguments, *files, "--format", kind)


def _run(*arguments):
    """Standard output and error of a command that succeeds."""
    streams = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", streams[0])
        patch.setattr("sys.stderr", streams[1])
        assert cli.main([*arguments]) == 0
    return streams[0].getvalue(), streams[1].getvalue()


@pytest.fixture
def here(made, monkeypatch):
    monkeypatch.chdir(made[0])
    return made[1]


def _is_plain(text):
    return all(line.isprintable() for line in text.split("\n"))


def test_text_on_a_terminal_is_one_line_and_no_command():
    assert printable("plain \u00e9 name") == "plain \u00e9 name"
    assert printable(READABLE) == SHOWN
    assert printable(HOSTILE).encode().endswith(b"\\u202e\\udcff")
    assert page(["a\nb", "c"]) == "a\\nb\nc\n"
    assert str(ConfigError("no file a\nb\x1b[31m")) == "no file a b\\x1b[31m"


@pytest.mark.parametrize("kind", FORMATS)
def test_progress_names_runs_on_one_line_each(here, kind):
    _, err = here[kind]
    assert _is_plain(err)
    assert len(re.findall("^run [1-4] of 4: .* over .*$", err, re.MULTILINE)) == err.count("\n") == COUNT


def test_the_table_has_one_line_a_run(here):
    out, _ = here["table"]
    assert _is_plain(out)
    _, *rows = out.split("\n\n")[1].rstrip("\n").split("\n")
    assert len(rows) == COUNT
    assert [row.startswith(f"{SHOWN}.npz") for row in rows] == [True, True, False, False]
    assert len({len(row) for row in rows}) == 1  # in columns
    assert f"text        {SHOWN}: " in out


def test_markdown_has_one_row_a_run_with_as_many_cells_each(here):
    out, _ = here["markdown"]
    assert _is_plain(out)
    rows = out.rstrip("\n").split("\n")
    assert len(rows) == 2 + COUNT
    assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows}) == 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[<`]", out)
    assert SHOWN in re.sub(r"\\(.)", r"\1", out)


def test_csv_and_json_give_names_back(here):
    rows = list(csv.DictReader(io.StringIO(here["csv"][0], newline="")))
    lines = here["jsonl"][0].rstrip("\n").split("\n")
    documents = json.loads(here["json"][0])
    expected = [(c, t) for c in (f"{READABLE}.npz", "plain.npz") for t in (READABLE, "plain.txt")]
    assert [(row["checkpoint"], row["text"]) for row in rows] == expected
    for found in (documents, [json.loads(line) for line in lines]):
        assert [(d["checkpoint"]["path"], d["text"]["name"]) for d in found] == expected
    for kind in ("csv", "json", "jsonl"):
        here[kind][0].encode()


def _results():
    return [f"{HOSTILE}-{HOSTILE}.json", f"plain-{HOSTILE}.json"]


@pytest.mark.parametrize(
    "command", [["rescore"], ["verify"], ["inspect"], ["count"], ["eval"], ["compare"], ["rank"]], ids=lambda c: c[0]
)
def test_tables_of_other_commands_show_names(here, command):
    given = {
        "inspect": [f"{HOSTILE}.npz"],
        "count": ["--checkpoint", f"{HOSTILE}.npz"],
        "eval": ["--checkpoint", f"{HOSTILE}.npz", "--text", HOSTILE, "--quiet", "--records", f"{HOSTILE}.csv"],
        "compare": _results(),
        "rank": _results(),
        "verify": [*_results()[1:], "--text", HOSTILE],
    }.get(command[0], _results()[1:])
    out, _ = _run(*command, *given)
    assert _is_plain(out)
    assert SHOWN.removesuffix("?") in out


def test_reports_show_names_and_obey_none(here):
    _run("report", *_results(), "--html", "report.html", "--markdown", "report.md")

    class Shown(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.texts = set(), []

        def handle_starttag(self, tag, attributes):
            self.tags.add(tag)

        def handle_data(self, data):
            self.texts.append(data)

    with open("report.html", encoding="utf-8", newline="") as file:
        raw = file.read()
    found = Shown()
    found.feed(raw)
    seen = re.sub("[\n\t\x1b\u202e]", "\ufffd", READABLE)
    assert "script" not in found.tags
    assert f"{seen}.npz (lstm)" in found.texts
    assert _is_plain(raw)
    with open("report.md", encoding="utf-8", newline="") as file:
        marks = file.read()
    assert _is_plain(marks)
    for line in marks.split("\n"):
        if line.startswith("| "):
            outside = re.sub(r"(`+) ?.*?\1(?!`)", "", line)
            assert not re.search(r"(?<!\\)(?:\\\\)*<", outside), line


def test_the_command_in_a_report_names_the_same_file(here):
    document = json.loads(here["json"][0])[0]
    command = command_of(document)
    assert command.isprintable()
    assert "$'" in command
    script = f"lm-meter() {{ printf '%s\\0' \"$@\"; }}\n{command}"
    words = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.decode().split("\0")
    assert words[:3] == ["eval", "--checkpoint", f"{READABLE}.npz"]
    document["checkpoint"]["path"] = "m.npz"
    document["text"]["name"] = "my book"
    assert shlex.split(command_of(document))[:6] == [
        "lm-meter", "eval", "--checkpoint", "m.npz", "--text", "my book"
    ]  # fmt: skip
