"""Foreign entries for tests: programs that follow the protocol but for what a test has them do at one position."""

import shlex
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from hang import HANG
from tiny import WORDS

from lm_meter import child_process

TEXT = "the cat sat on the mat .\na dog ran , the cat ran .\n"
AT = 3  # the position at which the programs below misbehave
_PROGRAM = """\
import json, os, signal, struct, subprocess, sys, time

receive, send = sys.stdin.buffer, sys.stdout.buffer
hello = json.loads(receive.readline())
size = hello["size"]
answer = {{"protocol": "lm-meter/entry/1", "values": "probabilities", "dtype": "float64"}}
{answer}
send.write(json.dumps(answer).encode() + b"\\n")
send.flush()


def give(values):
    send.write(struct.pack(f"<{{len(values)}}{{'d' if answer['dtype'] == 'float64' else 'f'}}", *values))
    send.flush()


for position, line in enumerate(receive):
    weights = [1 + (7 * int(line) + 3 * word) % 5 for word in range(size)]
    values = [weight / sum(weights) for weight in weights]
    if position == {at}:
{body}
    give(values)
{end}
"""


def weights_after(token):
    """What the programs predict after a token, in proportion."""
    return [1 + (7 * token + 3 * word) % 5 for word in range(len(WORDS))]


def program(folder, body="pass", answer="", end="", at=AT):
    """Command of a program that runs ``body`` before it answers at position ``at``; its file is in ``folder``."""
    file = Path(folder) / "entry.py"
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    file.write_text(_PROGRAM.format(body=lines, answer=answer, end=end, at=at), encoding="utf-8")
    return shlex.join([sys.executable, "-I", "-S", str(file)])


def raw_program(folder, source):
    """Command of a program that is ``source``."""
    file = Path(folder) / "entry.py"
    file.write_text(f"import json, os, signal, sys, time\n{source}\n", encoding="utf-8")
    return shlex.join([sys.executable, "-I", "-S", str(file)])


def vocabulary(folder):
    """File with the words of the tests."""
    file = Path(folder) / "words.txt"
    file.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return file


def is_gone(pid):
    """Whether a process ends, soon or late; one that nobody has waited for yet is gone too."""
    deadline = time.monotonic() + HANG
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def here(folder):
    """Source, of one line, of a program that says it has come to where its time is to run out."""
    file = str(Path(folder) / "here")
    return f"open({file + '.part'!r}, 'w').write(str(os.getpid())); os.rename({file + '.part'!r}, {file!r})"


def time_runs_out(monkeypatch, folder, at_work=False):
    """Let no time pass for the runner before a program of ``folder`` says ``here``, and then more than any limit.

    So no verdict depends on how long a machine takes to start a program. The time runs out when the program waits, or
    where it is to be ``at_work``, at once, and once more has been looked for what it sent.
    """
    file, seen = Path(folder) / "here", []

    def monotonic():
        seen.append(file.exists() and (at_work or _waits(int(file.read_text()))))
        return 1e9 if any(seen[:-1]) else 0.0

    monkeypatch.setattr(child_process, "time", SimpleNamespace(monotonic=monotonic, sleep=time.sleep))


def _waits(pid):
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ST"
