"""The program of a foreign entry as a process: what it is told, and that nothing of it is left however it ends."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from entry_programs import TEXT, here, is_gone, program, time_runs_out, vocabulary
from hang import HANG

from lm_meter import ConfigError, EntryError, ForeignEntry, evaluate_entry

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
# Two grandchildren, of which one leaves the session; their numbers, and the program's own, go into a file.
FAMILY = """
near = subprocess.Popen(["sleep", "600"])
far = subprocess.Popen(["sleep", "600"], start_new_session=True)
with open({file!r}, "w") as file:
    file.write(f"{{os.getpid()}} {{near.pid}} {{far.pid}}")
"""


@pytest.fixture
def text(tmp_path):
    (tmp_path / "secret").mkdir()
    file = tmp_path / "secret" / "book.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


def family(folder):
    """Source that starts a family, and the file that names it."""
    return FAMILY.format(file=str(folder / "family")), folder / "family"


def numbers(file):
    return [int(number) for number in file.read_text().split()]


ENDS = {
    "the text": ("pass", None),
    "an error": ("values[0] = 2.0", "sum to"),
    "a sleep": ("HERE; time.sleep(9999)", "came within 2 s"),
    "a stop": ("HERE; os.kill(os.getpid(), signal.SIGSTOP)", "is stopped"),
    "its exit": ("os._exit(1)", "exit status 1"),
}


@pytest.mark.parametrize("name", ENDS)
def test_nothing_is_left_after(name, tmp_path, text, monkeypatch):
    body, message = ENDS[name]
    time_runs_out(monkeypatch, tmp_path)
    start, file = family(tmp_path)
    entry = ForeignEntry(program(tmp_path, body.replace("HERE", here(tmp_path)), start), vocabulary(tmp_path), 2.0)
    if message is None:
        assert evaluate_entry(entry, text=text)["entry"]["ending"] == "ended with exit status 0"
    else:
        with pytest.raises(EntryError, match=message):
            evaluate_entry(entry, text=text)
    assert len(numbers(file)) == 3
    assert all(is_gone(number) for number in numbers(file))


def started(tmp_path, text, body):
    """A run of the command line whose program does ``body`` at position 3, and the file that names its family."""
    start, file = family(tmp_path)
    command = [sys.executable, "-m", "lm_meter", "eval", "--text", str(text), "--vocabulary", str(vocabulary(tmp_path))]
    command += [
        "--entry",
        program(tmp_path, body, answer=start),
        "--entry-timeout",
        "300",
        "--format",
        "json",
        "--quiet",
    ]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return run, file


def waits_until(condition):
    deadline = time.monotonic() + HANG
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_runner_ends_all_and_leaves_a_partial_result(number, tmp_path, text):
    here = tmp_path / "here"
    run, file = started(tmp_path, text, f"open({str(here)!r}, 'w').close(); time.sleep(9999)")
    waits_until(here.exists)
    run.send_signal(number)
    out, errors = run.communicate(timeout=HANG)
    assert (run.returncode, errors) == (128 + number, "")
    document = json.loads(out)
    assert document["partial"]
    assert document["text"]["scored"] == 3
    assert document["entry"]["ending"] == "was killed, as the run was interrupted"
    assert all(is_gone(pid) for pid in numbers(file))


def test_a_signal_before_the_first_prediction_leaves_no_result(tmp_path, text):
    here = tmp_path / "here"
    start, file = family(tmp_path)
    waiting = start + f"open({str(here)!r}, 'w').close(); time.sleep(9999)"
    command = [sys.executable, "-m", "lm_meter", "eval", "--entry", program(tmp_path, answer=waiting), "--quiet"]
    run = subprocess.Popen([*command, "--text", str(text)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    waits_until(here.exists)
    run.send_signal(signal.SIGINT)
    out, errors = run.communicate(timeout=HANG)
    assert (run.returncode, out, errors) == (130, "", "lm-meter: interrupted, no result\n")
    assert all(is_gone(pid) for pid in numbers(file))


def test_a_program_that_does_not_end_by_itself_is_ended(tmp_path, text, monkeypatch):
    time_runs_out(monkeypatch, tmp_path)
    entry = ForeignEntry(program(tmp_path, end=f"{here(tmp_path)}; time.sleep(9999)"), vocabulary(tmp_path), 1.0)
    result = evaluate_entry(entry, text=text)
    assert result["entry"]["ending"] == "was killed, as it did not end after its last distribution"
    assert not result["partial"]


def test_a_program_that_fails_after_its_last_distribution_says_so(tmp_path, text):
    result = evaluate_entry(ForeignEntry(program(tmp_path, end="sys.exit(7)"), vocabulary(tmp_path)), text=text)
    assert result["entry"]["ending"] == "ended with exit status 7"


def test_the_program_is_not_told_where_the_text_is(tmp_path, text, monkeypatch):
    monkeypatch.setenv("LM_METER_DATA", str(text.parent))
    monkeypatch.setenv("BOOK", f"x:{text}")
    monkeypatch.setenv("NEAR", os.path.relpath(text, tmp_path))  # from the working directory
    monkeypatch.setenv("FLAGS", f"-k --text={os.path.relpath(text, tmp_path)}")
    monkeypatch.setenv("KEPT", "yes")
    monkeypatch.setenv("BESIDE", f"{text}-model:{text}.py")
    monkeypatch.chdir(tmp_path)
    seen = """
with open("seen.json", "w") as file:
    names = sorted(os.listdir("/proc/self/fd"), key=int)
    links = [os.readlink(f"/proc/self/fd/{n}") for n in names if os.path.exists(f"/proc/self/fd/{n}")]
    json.dump({"arguments": sys.argv, "environment": dict(os.environ), "open": links, "hello": hello}, file)
"""
    with open(text):  # held open by the runner
        evaluate_entry(ForeignEntry(program(tmp_path, answer=seen), vocabulary(tmp_path)), text=text)
    found = json.loads((tmp_path / "seen.json").read_text(encoding="utf-8"))
    assert found["environment"].pop("BESIDE") == f"{text}-model:{text}.py"  # other files
    assert "secret" not in str(found)
    assert "book.txt" not in str(found)
    assert found["environment"]["KEPT"] == "yes"
    assert not {"BOOK", "NEAR", "FLAGS", "LM_METER_DATA"} & set(found["environment"])
    # Its input, output and error, and the file that it writes.
    assert len(found["open"]) == 4


@pytest.mark.parametrize("form", ["{}", "--text={}", "--book {}", "sub/../secret/book.txt", "'cat secret/book.txt'"])
def test_a_command_that_names_the_text_is_refused(form, tmp_path, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    entry = ForeignEntry(f"{program(tmp_path)} {form.format(text)}", vocabulary(tmp_path))
    with pytest.raises(ConfigError, match="the program is sent it token by token and must not read it"):
        evaluate_entry(entry, text=text)


def test_a_command_may_name_a_file_whose_name_begins_as_the_text_does(tmp_path, text):
    entry = ForeignEntry(f"{program(tmp_path)} {text}.py {text}-model", vocabulary(tmp_path))
    assert not evaluate_entry(entry, text=text)["partial"]


def test_the_next_token_is_sent_after_the_distribution_only(tmp_path, text):
    """The program looks whether its input is empty, long after it got a token and before it answers."""
    body = "import select\ntime.sleep(0.3)\nif select.select([0], [], [], 0)[0]: sys.exit('sent early')"
    result = evaluate_entry(ForeignEntry(program(tmp_path, body), vocabulary(tmp_path)), text=text)
    assert result["text"]["scored"] == 17


def test_standard_error_of_the_program_is_passed_through(tmp_path, text, capfd):
    body = "print('a note', file=sys.stderr)"
    evaluate_entry(ForeignEntry(program(tmp_path, body, end=body), vocabulary(tmp_path)), text=text)
    assert capfd.readouterr() == ("", "a note\na note\n")


@pytest.mark.parametrize("moment", ["answer", "body", "end"])
def test_standard_error_that_nobody_reads_holds_up_nothing(moment, tmp_path, text):
    """More than a pipe holds, on a standard error of ours that is a full pipe; its beginning is there to be read."""
    flood = "sys.stderr.write('x' * 3_000_000); sys.stderr.flush()"
    command = [sys.executable, "-m", "lm_meter", "eval", "--quiet", "--text", str(text), "--format", "json"]
    command += ["--vocabulary", str(vocabulary(tmp_path)), "--entry", program(tmp_path, **{moment: flood})]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    document = json.loads(run.stdout.read())
    assert run.wait(60) == 0
    assert document["text"]["scored"] == 17
    assert document["entry"]["ending"] == "ended with exit status 0"
    assert set(run.stderr.read()) == {ord("x")}
    run.stdout.close()
    run.stderr.close()


@pytest.mark.parametrize("closed", ["0<&-", "0<&- 2>&-", "0<&- 1>&- 2>&-"])
def test_a_runner_without_standard_streams(closed, tmp_path, text):
    """The pipes to the program are not taken for them."""
    noisy = program(tmp_path, "print('a note', file=sys.stderr)")
    arguments = ["eval", "--quiet", "--text", str(text), "--vocabulary", str(vocabulary(tmp_path)), "--entry", noisy]
    command = shlex.join([sys.executable, "-m", "lm_meter", *arguments, "--output", str(tmp_path / "result.json")])
    assert subprocess.run(["sh", "-c", f"{command} {closed}"], capture_output=True, timeout=HANG).returncode == 0
    assert json.loads((tmp_path / "result.json").read_text())["text"]["scored"] == 17


def test_what_a_program_said_last_is_in_the_message(tmp_path, text):
    body = "raise ValueError('no\\tsuch layer')"
    with pytest.raises(EntryError) as caught:
        evaluate_entry(ForeignEntry(program(tmp_path, body), vocabulary(tmp_path)), text=text)
    message = "position 3: the program ended with exit status 1 after 0 bytes of its distribution of 120 bytes; "
    assert str(caught.value) == f"entry: {message}its standard error ends 'ValueError: no such layer'"


def test_a_runner_whose_children_are_not_kept_for_it(tmp_path, text):
    """Some programs start others with SIGCHLD ignored; the exit status of a child is then lost."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        result = evaluate_entry(ForeignEntry(program(tmp_path), vocabulary(tmp_path)), text=text)
        start, file = family(tmp_path)
        with pytest.raises(EntryError, match="position 3: the program ended with exit status"):
            evaluate_entry(ForeignEntry(program(tmp_path, "os._exit(5)", start), vocabulary(tmp_path)), text=text)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert result["text"]["scored"] == 17
    assert all(is_gone(number) for number in numbers(file))


def test_ctrl_c_pressed_again_while_the_program_is_ended(tmp_path, text, monkeypatch):
    """The first one ends the run; the second comes before anything has ended."""
    from lm_meter.supervised import Supervised

    start, file = family(tmp_path)
    end, presses = Supervised.end, []

    def pressed_once(process):
        if not presses:
            presses.append(signal.SIGINT)
            raise KeyboardInterrupt
        end(process)

    monkeypatch.setattr(Supervised, "end", pressed_once)
    body = f"os.kill({os.getpid()}, signal.SIGINT); time.sleep(9999)"
    with pytest.raises(KeyboardInterrupt):
        evaluate_entry(ForeignEntry(program(tmp_path, body, start), vocabulary(tmp_path)), text=text)
    assert all(is_gone(number) for number in numbers(file))


# A process in a session of its own, started by one that ends at once, without any environment: neither a parent nor a
# variable leads to it. The program goes on when its number is known.
DAEMON = """
source = "import os, sys, time\\nos.setsid()\\n"
source += "if os.fork(): os._exit(0)\\n"
source += "file = open(sys.argv[1] + '.part', 'w'); file.write(str(os.getpid())); file.close()\\n"
source += "os.rename(sys.argv[1] + '.part', sys.argv[1])\\n"
source += "os.dup2(os.open(os.devnull, os.O_RDWR), 0); os.dup2(0, 1); os.dup2(0, 2)\\n"
source += "time.sleep(9999)"
subprocess.run([sys.executable, "-I", "-S", "-c", source, {file!r}], check=True, env={{}})
while not os.path.exists({file!r}): time.sleep(0.01)
"""
DAEMON_ENDS = {
    "the text": ("pass", None),
    "its exit": ("os._exit(0)", "exit status 0"),
    "an error": ("values[0] = 2.0", "sum to"),
    "a sleep": ("HERE; time.sleep(9999)", "came within 2 s"),
    "ignored signals": (
        "for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\nos.kill(os.getppid(), 15)\nHERE; time.sleep(9999)",
        "ended by signal 9|was ended; expected it to be left alone",
    ),
}


@pytest.mark.parametrize("name", DAEMON_ENDS)
def test_daemons_end_with_the_program(name, tmp_path, text, monkeypatch):
    (body, message), file = DAEMON_ENDS[name], tmp_path / "daemon"
    time_runs_out(monkeypatch, tmp_path)
    command = program(tmp_path, body.replace("HERE", here(tmp_path)), DAEMON.format(file=str(file)))
    entry = ForeignEntry(command, vocabulary(tmp_path), 2.0)
    if message is None:
        evaluate_entry(entry, text=text)
    else:
        with pytest.raises(EntryError, match=message):
            evaluate_entry(entry, text=text)
    assert is_gone(int(file.read_text()))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_whatever_ends_the_runner_ends_all(number, tmp_path, text):
    """Also SIGKILL, which it can do nothing against: its supervisor sees that it has gone."""
    here, daemon = tmp_path / "here", tmp_path / "daemon"
    body = DAEMON.format(file=str(daemon)) + f"open({str(here)!r}, 'w').close(); time.sleep(9999)"
    run, file = started(tmp_path, text, body)
    waits_until(here.exists)
    supervisor = int(run_parent(numbers(file)[0]))
    run.send_signal(number)
    run.communicate(timeout=HANG)
    assert run.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert all(is_gone(pid) for pid in [*numbers(file), int(daemon.read_text()), supervisor])


def run_parent(pid):
    """The parent of a process."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_program_that_turns_on_its_supervisor(number, tmp_path, text, monkeypatch):
    """It is named, and what can be found without one is ended: by parents, and by the mark in the environment."""
    monkeypatch.setattr("lm_meter.supervised._END_SECONDS", 1.0)
    start, file = family(tmp_path)
    time_runs_out(monkeypatch, tmp_path)
    body = f"os.kill(os.getppid(), {int(number)}); {here(tmp_path)}; time.sleep(9999)"
    entry = ForeignEntry(program(tmp_path, body, start), vocabulary(tmp_path), 2.0)
    named = {
        signal.SIGKILL: "position 3: the process that lm-meter starts it from was ended; expected it to be left alone",
        signal.SIGSTOP: "position 3: 0 bytes of its distribution",
    }
    with pytest.raises(EntryError, match=named[number]):
        evaluate_entry(entry, text=text)
    assert all(is_gone(pid) for pid in numbers(file))


def test_zombies_of_daemons_are_not_gathered(tmp_path, text):
    """Whoever inherits processes must wait for them: a program may start one for each token."""
    count = tmp_path / "count"
    many = "subprocess.run(['sh', '-c', 'sleep 0 & sleep 0 &'], check=True)\n" * 20
    body = f"""{many}
def children():
    parents = []
    for name in os.listdir("/proc"):
        if not name.isdigit(): continue
        try: parents.append(open(f"/proc/{{name}}/stat").read().rpartition(")")[2].split()[1])
        except OSError: pass
    return parents.count(str(os.getppid()))
tries = 0
while children() > 1 and tries < 36_000:
    tries += 1; time.sleep(0.1)
open({str(count)!r}, "w").write(str(children()))"""
    evaluate_entry(ForeignEntry(program(tmp_path, body), vocabulary(tmp_path)), text=text)
    assert count.read_text() == "1"


def test_a_process_without_an_environment_is_waited_for_and_left_alone(monkeypatch):
    """It might just begin a program, so that its mark does not show yet."""
    from lm_meter import process_family

    asked = []  # by a clock that goes on by a quarter of a second each time
    clock = SimpleNamespace(monotonic=lambda: asked.append(1) or 0.25 * len(asked), sleep=lambda seconds: None)
    monkeypatch.setattr(process_family, "time", clock)

    other = subprocess.Popen(["sleep", "600"], env={})
    try:
        process_family.kill_marked(b"LM_METER_ENTRY=no such mark", process_family.start_of(other.pid))
        assert 0.25 * (len(asked) - 1) == process_family._BEGIN_SECONDS + 0.25
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_outside_the_main_thread_too(tmp_path, text):
    import threading

    found = []
    entry = ForeignEntry(program(tmp_path), vocabulary(tmp_path))
    thread = threading.Thread(target=lambda: found.append(evaluate_entry(entry, text=text)))
    thread.start()
    thread.join()
    assert found[0].perplexity > 1
    assert os.getpgid(0) == os.getpgid(os.getpid())
