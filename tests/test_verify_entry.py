"""``verify`` of foreign entries: a program runs only where it is named, and what it gives is compared bit by bit."""

import json
import re
from pathlib import Path

import pytest
from entry_programs import program, vocabulary

from lm_meter import cli
from lm_meter.hash_chain import TOKENS_PER_LINK

LINES = "the cat sat on the mat .\na dog ran , the cat ran .\n" * 70  # 1,190 predictions: two links


@pytest.fixture
def made(tmp_path, capsys):
    """A result with its records, and the command that was run."""
    (tmp_path / "lines.txt").write_text(LINES)
    command = program(tmp_path)
    arguments = ["eval", "--entry", command, "--vocabulary", str(vocabulary(tmp_path)), "--quiet"]
    arguments += ["--text", str(tmp_path / "lines.txt"), "--records", str(tmp_path / "rows.npz")]
    assert cli.main([*arguments, "--output", str(tmp_path / "result.json")]) == 0
    capsys.readouterr()
    return tmp_path, command


def verified(folder, *more):
    return cli.main(["verify", str(folder / "result.json"), "--quiet", *more])


def test_an_honest_result(made, capsys):
    folder, command = made
    assert verified(folder, "--entry", command, "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["identical"], found["whole"], found["last"], found["scored"]) == (True, True, 1190, 1190)
    assert (found["counts"], found["records"], found["findings"]) == ("not metered", True, [])
    assert verified(folder, "--entry", command) == 0
    assert "every bit of the log-probabilities; a foreign entry's operations are not met" in capsys.readouterr().out


def test_no_program_is_run_because_a_result_names_it(made, capsys):
    folder, command = made
    (folder / "entry.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    assert verified(folder) == 2
    message = capsys.readouterr().err
    assert "is of a foreign entry, whose program is run only where you name it; the result says --entry '" in message
    assert command.partition(" ")[2] in message
    assert not (folder / "ran").exists()


def test_a_program_that_predicts_something_else_from_a_position_on(made, capsys):
    """It is the second link's: records name the position, without them the link does."""
    folder, command = made
    at = TOKENS_PER_LINK + 5
    changed = program(folder, "weights[0] += 50; values = [weight / sum(weights) for weight in weights]", at=at)
    assert changed == command
    assert verified(folder, "--entry", changed, "--format", "json") == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    messages = [finding["message"] for finding in findings]
    assert any(message.startswith("SHA-256 of the program and the files that its") for message in messages)
    assert any("chain.links.2 is not the run's: log-probabilities at positions 1024 to 1189" in m for m in messages)
    positions = [int(found[1]) for m in messages if (found := re.match(r"position (\d+): log_prob is", m))]
    assert positions == [at]
    assert verified(folder, "--entry", changed) == 1
    assert "DIFFERENT\na program may itself give other bits each time" in capsys.readouterr().out


def test_a_program_that_says_something_else_of_itself(made, capsys):
    folder, _ = made
    claims = "answer['claims'] = {'profile': 'flops', 'parameters': 5}"
    assert verified(folder, "--entry", program(folder, answer=claims)) == 1
    assert "entry.claims: None in the result, {'profile': 'flops', 'parameters': 5" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["name", "sums.low", "sums.high", "vocabulary.size"])
def test_what_a_result_says_of_its_entry_is_compared(path, made, capsys):
    folder, command = made
    document = json.loads((folder / "result.json").read_text())
    *above, last = path.split(".")
    place = document["entry"]
    for key in above:
        place = place[key]
    place[last] = {"name": "another", "size": 1 + document["entry"]["vocabulary"]["size"]}.get(last, 1.00005)
    (folder / "result.json").write_text(json.dumps(document))
    assert verified(folder, "--entry", command) == 1
    assert f"entry.{path.removesuffix('.low').removesuffix('.high')}: " in capsys.readouterr().out


def test_a_command_that_the_result_contradicts_is_refused(made, capsys):
    folder, command = made
    document = json.loads((folder / "result.json").read_text())
    document["checkpoint"]["path"] = "another"
    (folder / "result.json").write_text(json.dumps(document))
    assert verified(folder, "--entry", command) == 2
    assert "checkpoint.path is 'another', but the rest of the document gives " in capsys.readouterr().err


def test_another_vocabulary_is_refused(made, capsys):
    folder, command = made
    words = (folder / "words.txt").read_text()
    (folder / "more.txt").write_text(words + "more\n")
    assert verified(folder, "--entry", command, "--vocabulary", str(folder / "more.txt")) == 2
    assert "more.txt: is not the result's vocabulary: SHA-256 " in capsys.readouterr().err


def test_a_result_that_has_moved_with_its_files(made, capsys, monkeypatch):
    folder, command = made
    place = folder / "elsewhere"
    place.mkdir()
    for name in ("result.json", "rows.npz", "words.txt", "lines.txt"):
        Path(folder / name).rename(place / name)
    assert verified(place, "--entry", command, "--text", str(place / "lines.txt")) == 0


def test_a_partial_result_is_verified_as_far_as_it_goes(made, capsys):
    import os

    folder, _ = made
    arguments = ["eval", "--vocabulary", str(vocabulary(folder)), "--quiet", "--text", str(folder / "lines.txt")]
    stopping = program(folder, f"os.kill({os.getpid()}, 2); time.sleep(60)", at=40)
    assert cli.main([*arguments, "--entry", stopping, "--output", str(folder / "result.json")]) == 130
    capsys.readouterr()
    assert verified(folder, "--entry", program(folder, at=40)) == 1
    out = capsys.readouterr().out
    assert "all of its 40 predictions run again\n  SHA-256 of the program and the files that its command names" in out
    assert sum(line.startswith("  ") for line in out.splitlines()) == 1  # the program's file; every bit is the same


@pytest.mark.parametrize("option", ["--fraction=0.5", "--positions=0:5", "--threads=1", "--checkpoint=m.npz"])
def test_options_of_a_checkpoint_are_refused(option, made, capsys):
    folder, command = made
    assert verified(folder, "--entry", command, option) == 2
    message = "is of a foreign entry, whose program is run again from the start to the end; leave it away"
    assert message in capsys.readouterr().err


def test_options_of_an_entry_are_refused_of_a_checkpoint(tmp_path, capsys):
    from tiny import tiny_checkpoint

    (tmp_path / "lines.txt").write_text(LINES)
    arguments = [
        "eval",
        "--checkpoint",
        str(tiny_checkpoint(tmp_path / "m.npz")),
        "--text",
        str(tmp_path / "lines.txt"),
    ]
    assert cli.main([*arguments, "--quiet", "--output", str(tmp_path / "result.json")]) == 0
    for option in ("--entry", "--vocabulary"):
        assert verified(tmp_path, option, "x") == 2
        assert "is of a checkpoint, not of a foreign entry; leave it away" in capsys.readouterr().err
