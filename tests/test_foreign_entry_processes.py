"""The program of a foreign entry as a process: what it is told, and that nothing of it is left however it ends."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from entry_programs import TEXT, is_gone, program, vocabulary

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
    "a sleep": ("time.sleep(600)", "came within 2 s"),
    "a stop": ("os.kill(os.getpid(), signal.SIGSTOP)", "is stopped"),
    "its exit": ("os._exit(1)", "exit status 1"),
}


@pytest.mark.parametrize("name", ENDS)
def test_nothing_is_left_after(name, tmp_path, text):
    body, message = ENDS[name]
    start, file = family(tmp_path)
    entry = ForeignEntry(program(tmp_path, body, answer=start), vocabulary(tmp_path), 2.0)
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


def waits_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_runner_ends_all_and_leaves_a_partial_result(number, tmp_path, text):
    here = tmp_path / "here"
    run, file = started(tmp_path, text, f"open({str(here)!r}, 'w').close(); time.sleep(600)")
    waits_until(here.exists)
    run.send_signal(number)
    out, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (130, "")
    document = json.loads(out)
    assert document["partial"]
    assert document["text"]["scored"] == 3
    assert document["entry"]["ending"].startswith("was killed")
    assert all(is_gone(pid) for pid in numbers(file))


def test_a_signal_before_the_first_prediction_leaves_no_result(tmp_path, text):
    here = tmp_path / "here"
    start, file = family(tmp_path)
    waiting = start + f"open({str(here)!r}, 'w').close(); time.sleep(600)"
    command = [sys.executable, "-m", "lm_meter", "eval", "--entry", program(tmp_path, answer=waiting), "--quiet"]
    run = subprocess.Popen([*command, "--text", str(text)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    waits_until(here.exists)
    run.send_signal(signal.SIGINT)
    out, errors = run.communicate(timeout=60)
    assert (run.returncode, out, errors) == (130, "", "lm-meter: interrupted, no result\n")
    assert all(is_gone(pid) for pid in numbers(file))


def test_a_program_that_does_not_end_by_itself_is_ended(tmp_path, text):
    entry = ForeignEntry(program(tmp_path, end="time.sleep(600)"), vocabulary(tmp_path), 1.0)
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
    monkeypatch.setenv("KEPT", "yes")
    monkeypatch.chdir(tmp_path)
    seen = """
with open("seen.json", "w") as file:
    names = sorted(os.listdir("/proc/self/fd"), key=int)
    links = [os.readlink(f"/proc/self/fd/{n}") for n in names if os.path.exists(f"/proc/self/fd/{n}")]
    json.dump({"arguments": sys.argv, "environment": dict(os.environ), "open": links, "hello": hello}, file)
"""
    with open(text):  # held open by the runner
        evaluate_entry(ForeignEntry(program(tmp_path, answer=seen), vocabulary(tmp_path)), text=text)
    raw = (tmp_path / "seen.json").read_text(encoding="utf-8")
    found = json.loads(raw)
    assert "secret" not in raw
    assert "book.txt" not in raw
    assert found["environment"]["KEPT"] == "yes"
    assert not {"BOOK", "NEAR", "LM_METER_DATA"} & set(found["environment"])
    # Its input, output and error, and the file that it writes.
    assert len(found["open"]) == 4


@pytest.mark.parametrize("form", ["{}", "--text={}", "--book {}", "sub/../secret/book.txt"])
def test_a_command_that_names_the_text_is_refused(form, tmp_path, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    entry = ForeignEntry(f"{program(tmp_path)} {form.format(text)}", vocabulary(tmp_path))
    with pytest.raises(ConfigError, match="the program is sent it token by token and must not read it"):
        evaluate_entry(entry, text=text)


def test_the_next_token_is_sent_after_the_distribution_only(tmp_path, text):
    """The program looks whether its input is empty, long after it got a token and before it answers."""
    body = "import select\ntime.sleep(0.3)\nif select.select([0], [], [], 0)[0]: sys.exit('sent early')"
    result = evaluate_entry(ForeignEntry(program(tmp_path, body), vocabulary(tmp_path)), text=text)
    assert result["text"]["scored"] == 17


def test_standard_error_of_the_program_is_passed_through(tmp_path, text, capfd):
    body = "print('a note', file=sys.stderr)"
    evaluate_entry(ForeignEntry(program(tmp_path, body), vocabulary(tmp_path)), text=text)
    assert capfd.readouterr() == ("", "a note\n")


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
    """The first one ends the run; the second comes between the killing of the group and that of the rest."""
    from lm_meter import child_process

    start, file = family(tmp_path)
    kill_marked, presses = child_process.kill_marked, []

    def pressed_once(mark, since):
        if not presses:
            presses.append(signal.SIGINT)
            raise KeyboardInterrupt
        kill_marked(mark, since)

    monkeypatch.setattr(child_process, "kill_marked", pressed_once)
    body = f"os.kill({os.getpid()}, signal.SIGINT); time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        evaluate_entry(ForeignEntry(program(tmp_path, body, start), vocabulary(tmp_path)), text=text)
    assert all(is_gone(number) for number in numbers(file))


# A process that is started in a session of its own by one that ends at once: no parent leads to it.
DAEMON = """
source = "import os, subprocess, sys; file = open(sys.argv[1], 'w'); "
source += "file.write(str(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)); file.close()"
subprocess.run([sys.executable, "-I", "-S", "-c", source, {file!r}], check=True)
"""


@pytest.mark.parametrize("end", ["pass", "os._exit(0)", "values[0] = 2.0"])
def test_daemons_are_found_by_their_mark(end, tmp_path, text):
    file = tmp_path / "daemon"
    entry = ForeignEntry(program(tmp_path, end, DAEMON.format(file=str(file))), vocabulary(tmp_path))
    try:
        evaluate_entry(entry, text=text)
    except EntryError:
        assert end != "pass"
    assert is_gone(int(file.read_text()))


def test_a_process_without_an_environment_is_waited_for_and_left_alone():
    """It might just begin a program, so that its mark does not show yet."""
    from lm_meter.process_family import kill_marked, start_of

    other = subprocess.Popen(["sleep", "600"], env={})
    try:
        started = time.monotonic()
        kill_marked(b"LM_METER_ENTRY=no such mark", start_of(other.pid))
        assert 0.9 < time.monotonic() - started < 30
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
