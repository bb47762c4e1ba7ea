"""The command line: every subcommand, exit statuses, one line for an error, nothing half-written."""

import json
import os
import pkgutil
import re
import select
import shlex
import signal
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from hang import HANG
from tiny import TEXT, tiny_checkpoint, tiny_parts

import lm_meter
from lm_meter import cli, evaluate
from lm_meter.arguments import TASK_NAMES, parser
from lm_meter.defaults import sample_path, sample_text
from lm_meter.kernels import step_costs
from lm_meter.profiles import PROFILES
from lm_meter.selftest import Check, run_checks
from lm_meter.shared_arguments import PROFILE_NAMES

COMMANDS = ("eval", "quantize", "count", "inspect", "bench", "score", "rescore", "compare", "selftest")


@pytest.fixture(autouse=True)
def no_corpora(tmp_path, monkeypatch):
    """No corpus of this machine's user is seen."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LM_METER_DATA", raising=False)


@pytest.fixture
def run(capsys):
    """Runs a command and gives status, standard output and standard error."""

    def command(*arguments):
        capsys.readouterr()
        status = cli.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return command


@pytest.fixture
def refused(run):
    """Runs a command that must end with status 2 and one line, and gives that line without its prefix."""

    def command(*arguments):
        status, out, err = run(*arguments)
        assert (status, out) == (2, "")
        assert err.count("\n") == 1
        assert err.startswith("lm-meter: error: ")
        return err.removeprefix("lm-meter: error: ").removesuffix("\n")

    return command


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("cli") / "model.npz")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "text"
    path.write_text(TEXT, encoding="utf-8")
    return path


def process(*arguments, **options):
    """The installed program in a process of its own."""
    command = [sys.executable, "-m", "lm_meter", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=False, **options)


# help, version, start


def test_importing_the_command_line_imports_neither_numba_nor_numpy():
    code = "import sys, lm_meter.arguments; lm_meter.arguments.parser(); print({'numba', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG, check=True)

    assert done.stdout == "set()\n"


def test_names_written_out_here_are_those_of_the_profiles():
    assert tuple(PROFILES) == PROFILE_NAMES
    assert parser().parse_args(["eval"]).block == lm_meter.RunOptions().block
    assert set(TASK_NAMES) == set(PROFILES["micronet-2019-06"].tasks) == set(PROFILES["micronet-2019-final"].tasks)


def test_help(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])

    out = capsys.readouterr().out
    assert "example: lm-meter eval" in out
    for command in COMMANDS:
        assert re.search(rf"^ +{command} ", out, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_an_example_that_parses(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])

    example = re.search(r"example:\n  lm-meter (.*)\n", capsys.readouterr().out).group(1).split()
    assert example[0] == command
    parser().parse_args(example)


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])

    assert capsys.readouterr().out == f"lm-meter {lm_meter.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["eval", "--profile", "own"],
        ["eval", "--text", "a", "--corpus", "b"],
        ["eval", "--limit", "x"],
        *(["eval", option, ""] for option in ("--text", "--checkpoint", "--output")),
        *([command, ""] for command in ("inspect", "rescore")),
        ["count", "--checkpoint", ""],
        ["eval", "--two\nlines"],
    ],
)
def test_what_cannot_be_parsed_ends_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lm-meter: error: ")
    assert err.count("\n") == 1
    assert err.endswith(" --help\n")


def test_the_program_runs_as_a_module():
    assert process("--version").stdout == f"lm-meter {lm_meter.__version__}\n"


# eval


def test_eval_prints_a_table(run, model, text):
    status, out, _ = run("eval", "--checkpoint", model, "--text", text)

    assert status == 0
    for heading in (
        "perplexity",
        "operations per word token",
        "parameter storage",
        "score",
        "speed",
        "memory bandwidth",
    ):
        assert re.search(rf"^ *{heading}", out, re.MULTILINE), heading
    assert "23 word tokens, 23 predictions" in out
    assert "partial" not in out
    assert max(map(len, (line for line in out.splitlines() if str(model) not in line and str(text) not in line))) <= 80


def test_eval_as_json_is_the_document_of_the_library(run, model, text):
    """All but what differs from run to run."""
    _, out, _ = run("eval", "--checkpoint", model, "--text", text, "--format", "json", "--block", 3, "--threads", 1)
    printed = json.loads(out)

    library = evaluate(model, text=text, options=lm_meter.RunOptions(block=3, threads=1))

    for section in set(printed) - {"speed", "memory"}:
        assert printed[section] == library[section]


def test_eval_writes_what_it_prints(run, model, text, tmp_path):
    output = tmp_path / "result.json"
    output.write_text("old")
    _, out, _ = run("eval", "--checkpoint", model, "--text", text, "--format", "json", "--output", output)

    assert output.read_text(encoding="utf-8") == out
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_options_of_eval_reach_the_pass(run, model, text):
    arguments = "--limit 9 --block 2 --threads 2 --first-token skip --profile bops --format json --oov unk"
    status, out, _ = run("eval", "--checkpoint", model, "--text", text, *arguments.split())
    result = json.loads(out)

    assert status == 0
    assert (result["text"]["word_tokens"], result["text"]["scored"], result["text"]["first_token"]) == (8, 8, "skip")
    assert (result["online"]["block"], result["environment"]["threads"]) == (2, 2)
    assert result["operations_per_token"]["profile"] == "bops"


def test_without_a_text_it_is_the_sample_and_a_line_says_so(run, tmp_path):
    characters = sorted(set(sample_text().content) | {"\n"})
    model = tiny_checkpoint(tmp_path / "model.npz", kind="characters", words=characters)

    status, out, err = run("eval", "--checkpoint", model, "--limit", 20)

    assert status == 0
    assert "sample text: 20 word tokens" in out
    assert err == (
        "text: the sample that ships with lm-meter; --corpus wikitext-103 downloads the test set, or put "
        f"wiki.test.tokens into {tmp_path / 'cache' / 'lm-meter' / 'wikitext-103'}\n"
    )


def test_without_a_text_it_is_wikitext_103_where_that_is(run, model, shared_data, monkeypatch):
    monkeypatch.setenv("LM_METER_DATA", str(shared_data))

    status, out, err = run("eval", "--checkpoint", model, "--limit", 20, "--oov", "unk")

    assert status == 0
    assert "wikitext-103/test: 20 word tokens" in out
    assert err == "text: wikitext-103/test from this machine; --text FILE evaluates another\n"


def test_a_split_of_a_corpus(run, model, shared_data, monkeypatch):
    monkeypatch.setenv("LM_METER_DATA", str(shared_data))
    arguments = "--corpus wikitext-103 --split valid --limit 20 --oov unk"

    _, out, _ = run("eval", "--checkpoint", model, *arguments.split())

    assert "wikitext-103/valid: 20 word tokens" in out


def test_quiet_prints_nothing_but_the_result(run, model, shared_data, monkeypatch):
    monkeypatch.setenv("LM_METER_DATA", str(shared_data))

    status, _, err = run("eval", "--checkpoint", model, "--limit", 20, "--oov", "unk", "--quiet")

    assert (status, err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--limit 0", "limit is 0; expected 1 or more word tokens"),
        ("--limit -5", "limit is -5; expected 1 or more word tokens"),
        ("--block 0", "block is 0; expected 1 to 4096"),
        ("--block 4097", "block is 4097; expected 1 to 4096"),
        ("--threads 0", "threads is 0; expected 1 to 256"),
        ("--threads 257", "threads is 257; expected 1 to 256"),
        (
            "--limit 1 --first-token skip",
            "nothing is left to predict; the text needs at least two tokens with --first-token skip",
        ),
    ],
)
def test_numbers_out_of_range(arguments, message, refused, model, text, tmp_path):
    output = tmp_path / "result.json"

    assert refused("eval", "--checkpoint", model, "--text", text, "--output", output, *arguments.split()) == message
    assert list(tmp_path.iterdir()) == []


def spoilt(tmp_path):
    """One input of each bad kind, and what the message must contain."""
    (tmp_path / "empty").touch()
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    (tmp_path / "unknown").write_text("the cat\nthe zebra\n")
    (tmp_path / "zip").write_text("no archive")
    whole = tiny_checkpoint(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-50])
    return {
        "--text none": "cannot be read (No such file or directory)",
        "--text empty": "the text is empty",
        "--text latin": "line 1: byte 3 is not UTF-8 (0xe9)",
        "--text unknown": "line 2: word 'zebra' is not in the checkpoint's vocabulary; --oov unk replaces",
        "--checkpoint none": "cannot be opened (No such file or directory)",
        "--checkpoint empty": "the file is empty; expected a checkpoint (.npz)",
        "--checkpoint zip": "is not a zip archive, or is truncated",
        "--checkpoint cut": "is not a zip archive, or is truncated",
    }


def test_bad_inputs_are_one_line_and_status_2(refused, model, text, tmp_path):
    for case, message in spoilt(tmp_path).items():
        option, name = case.split()
        inputs = {"--checkpoint": model, "--text": text} | {option: tmp_path / name}
        before = set(tmp_path.iterdir())

        printed = refused(
            "eval", *(str(part) for pair in inputs.items() for part in pair), "--output", tmp_path / "r.json"
        )

        assert printed.startswith(f"{tmp_path / name}: ")
        assert message in printed
        assert set(tmp_path.iterdir()) == before


def test_a_bad_checkpoint_is_found_before_the_text_is_looked_for(refused, monkeypatch):
    monkeypatch.setattr("lm_meter.corpora.corpus", lambda *a, **k: pytest.fail("the corpus was asked for"))
    assert "cannot be opened" in refused("eval", "--checkpoint", "none", "--corpus", "wikitext-103")


def test_a_split_without_a_corpus(refused, model, text):
    printed = refused("eval", "--checkpoint", model, "--text", text, "--split", "valid")
    assert printed == "--split is a part of a corpus; expected no --text beside it"


def test_without_a_home_the_note_names_the_variable(run, model, monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pathlib.Path.home", none)
    status, _, err = run("eval", "--checkpoint", model, "--oov", "unk", "--limit", "5")
    assert status == 0
    assert "put wiki.test.tokens into $LM_METER_DATA/wikitext-103" in err


def test_a_name_with_a_line_end_does_not_make_two_lines(refused, text):
    assert refused("eval", "--checkpoint", "two\nlines", "--text", text).startswith("two lines: cannot be opened")


def test_a_checkpoint_without_start_token(refused, run, text, tmp_path):
    config, arrays = tiny_parts()
    config["tokenizer"]["start"] = None
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    arguments = ["eval", "--checkpoint", tmp_path / "model.npz", "--text", text]

    assert refused(*arguments) == (
        "the checkpoint has no start token, so the first token of the text has no context; --first-token skip leaves "
        "it unscored; convert --start TOKEN gives a model the token that it was trained with"
    )
    assert run(*arguments, "--first-token", "skip")[0] == 0


def test_a_model_that_overflows(refused, text, tmp_path):
    """Hidden units near 1 times weights of 3e38 add up to more than float32 holds."""
    config, arrays = tiny_parts()
    arrays["lstm.0.bias"] = np.full_like(arrays["lstm.0.bias"], 20)
    arrays["softmax.weight"] = np.full_like(arrays["softmax.weight"], 3e38)
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)

    printed = refused("eval", "--checkpoint", tmp_path / "model.npz", "--text", text, "--output", tmp_path / "r.json")

    assert re.match("the log-probability at position 0 is (nan|-?inf): the model overflows float32, or", printed)
    assert printed.endswith("; there is no perplexity; check the checkpoint's weights")
    assert not (tmp_path / "r.json").exists()


def test_bits_that_differ(refused, model, text, monkeypatch):
    """Such a kernel does not exist; the reader of a single position is replaced."""
    from lm_meter.models.network_runtime import NetworkRuntime

    monkeypatch.setattr(NetworkRuntime, "read_out", lambda *arguments: -1.25)

    printed = refused("eval", "--checkpoint", model, "--text", text, "--block", 5)

    assert re.match(r"position [0-4]: log-probability -1\.25 alone, ", printed)
    assert printed.endswith("in a block of 5; the bits must be equal; please report this with your CPU's name")


def test_anything_else_is_a_bug_and_shows_its_traceback(model, text, monkeypatch):
    monkeypatch.setattr("lm_meter.report.result_table", lambda result: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        cli.main(["eval", "--checkpoint", str(model), "--text", str(text), "--quiet"])


@pytest.fixture
def not_run(monkeypatch):
    """Fails if the pass begins."""
    failing = lambda *a, **k: pytest.fail("the pass began")  # noqa: E731
    monkeypatch.setattr(sys.modules[evaluate.__module__], "run_prepared", failing)


@pytest.mark.usefixtures("not_run")
def test_an_output_that_cannot_be_written_is_found_before_the_run(refused, model, text, tmp_path):
    def output(path):
        return refused("eval", "--checkpoint", model, "--text", text, "--output", path)

    folder, long = tmp_path / "none" / "r.json", tmp_path / ("r" * 300)
    os.mkfifo(tmp_path / "pipe")

    assert output(folder) == f"--output {folder}: there is no folder {folder.parent}; make it first"
    assert output(tmp_path) == f"--output {tmp_path}: is a folder; expected the name of a file"
    assert output("/dev/null") == ("--output /dev/null: is a device or pipe; expected the name of a file")
    assert "is a device or pipe" in output(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(folder)
    assert output(tmp_path / "link") == f"--output {folder}: there is no folder {folder.parent}; make it first"
    (tmp_path / "loop").symlink_to(tmp_path / "pool")
    (tmp_path / "pool").symlink_to(tmp_path / "loop")
    assert (
        output(tmp_path / "loop") == f"--output {tmp_path / 'loop'}: is a loop of symbolic links; choose another name"
    )
    assert output(long) == f"--output {long}: cannot be written (File name too long); choose another place"


@pytest.mark.usefixtures("not_run")
def test_an_output_that_is_an_input_is_found_before_the_run(refused, model, text, tmp_path):
    (tmp_path / "link").symlink_to(model)
    (tmp_path / "text").write_bytes(text.read_bytes())
    assert "is an input of this run" in refused("eval", "--checkpoint", model, "--output", sample_path())
    assert "is a folder" in refused("eval", "--checkpoint", model, "--output", f"{model}/")
    for given in (tmp_path / "link", tmp_path / "text"):
        printed = refused("eval", "--checkpoint", model, "--text", tmp_path / "text", "--output", given)
        assert printed == f"--output {given}: is an input of this run; choose another name"


@pytest.mark.usefixtures("not_run")
def test_a_write_protected_output_is_found_before_the_run(refused, model, text, tmp_path, monkeypatch):
    """``access`` is asked, and stands in here for the system: the superuser may write anywhere."""
    (tmp_path / "r.json").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    printed = refused("eval", "--checkpoint", model, "--text", text, "--output", tmp_path / "r.json")

    assert printed == f"--output {tmp_path / 'r.json'}: is write-protected; choose another name"


def test_a_disk_that_fills_up_during_the_run_does_not_lose_the_table(run, model, text, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    status, out, err = run("eval", "--checkpoint", model, "--text", text, "--output", tmp_path / "r.json")

    assert status == 2
    assert "per word token" in out
    assert err.startswith(f"lm-meter: error: {tmp_path / 'r.json'}: cannot be written (No space left on device)")
    assert list(tmp_path.iterdir()) == []


# --state


def test_a_state_is_written_and_gone_on_from(run, model, text, tmp_path):
    state = tmp_path / "state"
    command = ("eval", "--checkpoint", model, "--text", text, "--state", state, "--save-every", "1", "--format", "json")
    first, again = (run(*command) for _ in range(2))
    assert state.is_file()
    assert first[0] == again[0] == 0
    documents = [json.loads(out) for _, out, _ in (first, again)]
    scored = documents[0]["text"]["scored"]
    assert f"going on from the saved state: {scored}/{scored} tokens, perplexity per piece" in again[2]
    assert documents[0]["chain"] == documents[1]["chain"]
    assert [document["run"]["sittings"] for document in documents] == [1, 2]


def test_a_state_that_would_replace_something(refused, model, text, tmp_path):
    command = ("eval", "--checkpoint", model, "--text", text)
    assert refused(*command, "--state", model) == f"--state {model}: is an input of this run; choose another name"
    assert refused(*command, "--state", text) == f"--state {text}: is an input of this run; choose another name"
    both = ("--state", tmp_path / "r.json", "--output", tmp_path / "." / "r.json")
    assert refused(*command, *both).endswith("r.json: is also that of --state; expected two names")
    before = "--state", tmp_path / "s", "--output", tmp_path / "s.previous"
    assert refused(*command, *before).endswith(
        "s.previous: is also that of --state, the one before; expected two names"
    )
    assert refused(*command, "--state", tmp_path) == f"--state {tmp_path}: is a folder; expected the name of a file"
    (tmp_path / "other").write_text("some text that is no state of anything, and long enough to be one")
    assert refused(*command, "--state", tmp_path / "other").endswith(
        "other: is no state of lm-meter; expected a file written by eval --state; there is no other.previous to go on "
        "from; delete it to start anew"
    )
    message = refused(*command, "--state", tmp_path / "s", "--save-every", "0")
    assert message == "save_every is 0.0; expected a number of seconds above 0"


def test_what_a_state_warns_of_is_one_line(run, model, text, tmp_path):
    state = tmp_path / "state"
    command = ("eval", "--checkpoint", model, "--text", text, "--state", state, "--quiet")
    run(*command)
    state.rename(tmp_path / "state.previous")
    status, _, err = run(*command)
    assert status == 0
    assert err == f"lm-meter: warning: state {state}: is not there; going on from the one before, state.previous\n"


# Ctrl-C


def test_ctrl_c_prints_the_partial_result_marked_partial_and_exits_130(tmp_path):
    """Standard error is a terminal, whose bar shows when the pass is under way."""
    model = tiny_checkpoint(tmp_path / "model.npz", hidden=(400, 400))
    (tmp_path / "text").write_text(TEXT * 20_000, encoding="utf-8")  # minutes of work
    bar, terminal = os.openpty()
    termios.tcsetwinsize(bar, (24, 120))
    command = ["eval", "--checkpoint", model, "--text", tmp_path / "text", "--output", tmp_path / "r.json"]
    running = subprocess.Popen(
        [sys.executable, "-m", "lm_meter", *map(str, command)], stdout=subprocess.PIPE, stderr=terminal, text=True
    )
    try:
        shown = b""
        while b"ppl/piece" not in shown:
            assert select.select([bar], [], [], HANG)[0], f"no bar on the terminal, only {shown}"
            shown += os.read(bar, 1000)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=HANG)
    finally:
        running.kill()
        os.close(terminal)
        os.close(bar)
    saved = json.loads((tmp_path / "r.json").read_text())

    assert running.returncode == 130
    assert out.startswith("partial: the pass was interrupted; the figures cover the tokens up to there\n")
    assert saved["partial"] is True
    assert saved["text"]["whole"] is False
    assert 0 < saved["text"]["scored"] < 20_000 * 23
    assert f"{saved['text']['scored']:,} predictions" in out


def test_ctrl_c_before_the_first_prediction(run, model, text, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules[evaluate.__module__], "run_prepared", interrupted)

    status, out, err = run("eval", "--checkpoint", model, "--text", text)

    assert (status, out) == (130, "")
    assert err == "lm-meter: interrupted, no result\n"


@pytest.mark.parametrize("moment", ["load", "stream", "save"])
def test_ctrl_c_before_and_after_the_pass(moment, run, model, text, tmp_path, monkeypatch):
    """Before the first prediction there is no result; a pass that is complete is not lost to a late Ctrl-C."""
    names = {
        "load": "lm_meter.preparation._compile",
        "stream": "lm_meter.evaluation.stream_bytes_per_second",
        "save": "lm_meter.result.Result.save",
    }
    module, _, attribute = names[moment].rpartition(".")
    owner = pkgutil.resolve_name(module)
    honest = getattr(owner, attribute)

    def pressed(*arguments):
        signal.raise_signal(signal.SIGINT)
        return honest(*arguments)

    monkeypatch.setattr(owner, attribute, pressed)
    status, out, err = run("eval", "--checkpoint", model, "--text", text, "--output", tmp_path / "r.json", "--quiet")
    if moment == "load":
        assert (status, out, err) == (130, "", "lm-meter: interrupted, no result\n")
        assert not (tmp_path / "r.json").exists()
    else:
        assert status == 0
        assert "partial" not in out
        assert json.loads((tmp_path / "r.json").read_text())["partial"] is False


@pytest.mark.parametrize("command", [["count"], ["selftest"]])
def test_ctrl_c_while_kernels_are_compiled_is_obeyed_after_it(command, run, monkeypatch):
    honest = step_costs.chunks_cost

    def pressed(*arguments):
        signal.raise_signal(signal.SIGINT)
        honest(*arguments)

    monkeypatch.setattr(step_costs, "chunks_cost", pressed)
    if command == ["selftest"]:  # two costs there: one press
        calls = iter([pressed])
        monkeypatch.setattr(step_costs, "chunks_cost", lambda *a: next(calls, honest)(*a))
    assert run(*command) == (130, "", "lm-meter: interrupted, no result\n")


def test_a_full_disk_behind_standard_output(model):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "lm_meter", "inspect", str(model)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=HANG, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "lm-meter: error: the output cannot be written (No space left on device); make room, or send it elsewhere\n"
    )


def test_a_standard_output_that_can_only_be_read(model):
    with open(os.devnull) as readable:
        command = [sys.executable, "-m", "lm_meter", "inspect", str(model)]
        done = subprocess.run(command, stdout=readable, stderr=subprocess.PIPE, text=True, timeout=HANG, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("lm-meter: error: the output cannot be written (Bad file descriptor)")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_stream_is_no_error(stream, model, text, tmp_path):
    """Whoever closes one wants nothing from it; the file is still written."""
    descriptor = {"stdout": 1, "stderr": 2}[stream]
    command = [sys.executable, "-m", "lm_meter", "eval", "--checkpoint", model, "--text", text, "--output"]
    quoted = shlex.join(map(str, [*command, tmp_path / "r.json"]))
    done = subprocess.run(f"{quoted} {descriptor}>&-", shell=True, capture_output=True, timeout=HANG, check=False)
    assert done.returncode == 0
    assert json.loads((tmp_path / "r.json").read_text())["partial"] is False


def test_a_name_that_the_terminal_cannot_show_is_escaped(tmp_path):
    path = tiny_checkpoint(tmp_path / "m\udcff.npz")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "lm_meter", "inspect", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=HANG, check=True)
    assert b"m\\udcff.npz" in done.stdout


def test_json_for_a_stream_that_does_not_take_utf_8(tmp_path):
    path = tiny_checkpoint(tmp_path / "é😀.npz")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "lm_meter", "inspect", str(path), "--format", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=HANG, check=True)
    assert json.loads(done.stdout)["path"] == str(path)


@pytest.mark.parametrize("arguments", [["eval", "--limit", "5"], ["inspect", "none"]])
def test_a_full_disk_behind_standard_error_is_no_error(arguments):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "lm_meter", *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True, timeout=HANG, check=False)
    assert done.returncode == (0 if arguments[0] == "eval" else 2)
    assert ("per word token" in done.stdout) == (arguments[0] == "eval")


def test_a_reader_that_has_gone_is_no_error(model):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "lm_meter", "inspect", str(model)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=HANG, check=False)
    os.close(writer)

    assert (done.returncode, done.stderr) == (1, b"")


# count, inspect, score, rescore, selftest


def test_count_times_pieces_is_the_histogram_of_a_run(run, model, text):
    _, counted, _ = run("count", "--checkpoint", model, "--format", "json")
    _, ran, _ = run("eval", "--checkpoint", model, "--text", text, "--format", "json", "--quiet")

    reference = [row | {"count": 23 * row["count"]} for row in json.loads(counted)["histogram"]]
    assert json.loads(ran)["histogram"] == reference


def test_count_prints_a_table_and_what_is_not_priced(run, model):
    """Matrix-vector: 2 * (48 * 20 + 15 * 12) = 2,280, biases included."""
    status, out, _ = run("count", "--checkpoint", model)

    assert status == 0
    assert "matrix-vector products with their biases: 2,280" in out
    assert "not priced\n  embedding: copy of one row of 8 numbers: a move, not an operation" in out


def test_count_under_another_profile(run, model):
    """multiplies of the products alone: 48 * 20 + 15 * 12 = 1,140."""
    _, out, _ = run("count", "--checkpoint", model, "--profile", "macs", "--format", "json")

    assert json.loads(out)["operations_per_piece"]["matrix_vector"] == 1140


def test_inspect_prints_tensors_and_storage_under_each_profile(run, model):
    status, out, _ = run("inspect", model)

    assert status == 0
    assert re.search(r"lstm\.0\.weight +48 x 20 +float32 +32 bit +32 bit +- +960$", out, re.MULTILINE)
    for profile in PROFILES:
        tokenizer = "-" if profile in ("flops", "macs") else r"[\d,.]+"  # these count numbers, and it has none
        assert re.search(rf"^  {profile} +[\d,.]+ +{tokenizer}$", out, re.MULTILINE)


def test_inspect_as_json(run, tmp_path):
    """15 x 8 tied, 32 x 16 with bias 32 (last layer as wide as the embedding), softmax bias 15: 679 numbers."""
    model = tiny_checkpoint(tmp_path / "model.npz", tied=True, dtype="bfloat16")
    found = json.loads(run("inspect", model, "--format", "json")[1])

    assert found["numbers"] == 120 + 512 + 32 + 15
    assert found["bits"] == 16 * 679
    assert found["parameters"] == {
        "micronet-2019-06": 679, "micronet-2019-final": 679 / 2, "flops": 679, "macs": 679, "bops": 16 * 679
    }  # fmt: skip
    tied = next(tensor for tensor in found["tensors"] if tensor["name"] == "softmax.weight")
    assert (tied["tied_to"], tied["count"], tied["stored_width"]) == ("embedding", 0, 16)


@pytest.mark.parametrize("command", ["inspect", "count --checkpoint", "rescore"])
def test_a_missing_file(command, refused, tmp_path):
    assert "No such file or directory" in refused(*command.split(), tmp_path / "none")


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        # 3 / 6.9 and 500 / 1170
        ("--task imagenet --parameters 3e6 --operations 500e6", ("0.434783", "0.427350", "0.862133")),
        ("--task wikitext-103 --parameters 159,000,000 --operations 318_000_000", ("1.000000", "1.000000", "2.000000")),
        # 36.5 / 36.5 and 0
        (
            "--task cifar-100 --parameters 36.5e6 --operations 0 --profile micronet-2019-final",
            ("1.000000", "0.000000", "1.000000"),
        ),
    ],
)
def test_score(arguments, lines, run):
    reference = "storage     {}\noperations  {}\nscore       {}\n".format(*lines)

    assert run("score", *arguments.split()) == (0, reference, "")


@pytest.mark.parametrize("given", ["many", "-1", "nan", "inf", "1e999999999", "", "1,5", "15,00"])
def test_score_of_what_is_no_number(given, refused):
    assert refused("score", "--task", "imagenet", f"--parameters={given}", "--operations", 1) == (
        f"--parameters is {given!r}; expected a number of 0 or more, such as 159e6 or 159,000,000"
    )


def test_score_under_a_general_view(refused):
    arguments = ["--task", "imagenet", "--parameters", "1", "--operations", "1", "--profile", "flops"]

    assert refused("score", *arguments) == (
        "profile flops is a general view without a score; use micronet-2019-06 or -final"
    )


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_rescore_prints_what_eval_would_have_printed(profile, run, model, text, tmp_path):
    arguments = ["eval", "--checkpoint", model, "--text", text, "--quiet"]
    run(*arguments, "--output", tmp_path / "r.json")
    _, reference, _ = run(*arguments, "--profile", profile)

    status, actual, _ = run("rescore", tmp_path / "r.json", "--profile", profile)

    assert status == 0
    assert actual.partition("\nspeed\n")[0] == reference.partition("\nspeed\n")[0]
    assert (
        json.loads(run("rescore", tmp_path / "r.json", "--profile", profile, "--format", "json")[1])["partial"] is False
    )


def test_selftest_passes(run):
    status, out, _ = run("selftest")

    assert status == 0
    assert out.count("PASS  ") == len(run_checks())
    assert "PASS  baseline: matrix-vector operations: 318200832\n" in out
    assert out.endswith(f"{len(run_checks())} passed, 0 failed\n")


def test_selftest_fails_loudly(run, monkeypatch):
    monkeypatch.setattr("lm_meter.selftest.run_checks", lambda: [Check("one", "2", "3"), Check("two", "2", "2")])

    status, out, _ = run("selftest")

    assert status == 1
    assert out == "FAIL  one: 3, expected 2\nPASS  two: 2\n1 passed, 1 failed\n"


def test_selftest_does_not_take_its_numbers_from_the_program():
    """The expected numbers stand in its source as the rules write them."""
    source = Path(sys.modules["lm_meter.selftest"].__file__).read_text()

    for number in ("318200832", "317924393", "159100416", "159376855", "0.862", "4386570240, 137080320, 136812585"):
        assert number in source
