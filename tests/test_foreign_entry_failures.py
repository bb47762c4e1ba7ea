"""Foreign entries that misbehave: each is stopped at its position with one line that says what it did."""

import re
from pathlib import Path

import pytest
from entry_programs import TEXT, here, program, raw_program, time_runs_out, vocabulary
from hang import HANG
from tiny import WORDS

from lm_meter import ConfigError, EntryError, ForeignEntry, TextError, evaluate_entry
from lm_meter.entry_vocabulary import read_vocabulary
from lm_meter.text import text_from_bytes

V = len(WORDS)
BYTES = 8 * V
SECONDS = 2.0  # time limit where it is to be exceeded, by a clock of the tests


def run(folder, command, timeout=float(HANG), text=TEXT):
    entry = ForeignEntry(command, vocabulary(folder), timeout)
    return evaluate_entry(entry, text=text_from_bytes(text.encode(), "text"))


def refused(folder, command, timeout=float(HANG), text=TEXT):
    with pytest.raises(EntryError) as caught:
        run(folder, command, timeout, text)
    message = str(caught.value)
    assert "\n" not in message
    return message


GARBAGE = 'send.write(b"loading the model, please wait\\n" * 100); send.flush()'
MISDEEDS = {
    "garbage": (GARBAGE, "expected probabilities, finite|sum to", "what came begins 'loading the model, plea"),
    "debugging": ("print('token', line.decode().strip(), flush=True)", "", "what came begins 'token"),
    "not a number": ("values[4] = float('nan')", r"has nan for token 4 \('sat'\); expected probabilities, finite", ""),
    "infinite": ("values[4] = float('inf')", r"it has inf for token 4 \('sat'\)", ""),
    "below zero": ("values[0] -= 0.5; values[1] += 0.5", r"it has -0\.4\d+ for token 0 \('<eos>'\)", ""),
    "too much": ("values = [1.01 * v for v in values]", r"its probabilities sum to 1\.01; expected 1 within 0\.0", ""),
    "too little": ("values = [0.9998 * v for v in values]", r"its probabilities sum to 0\.9998; expected 1", ""),
    "overflow": ("values = [1e308] * size", "its probabilities sum to more than any float; expected 1", ""),
    "exit": ("sys.exit(3)", f"ended with exit status 3 after 0 bytes of its distribution of {BYTES} bytes", ""),
    "good exit": ("sys.exit(0)", "the program ended with exit status 0 after 0 bytes", ""),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", r"was ended by signal 9 \(Killed\) after 0 bytes", ""),
    "half, then exit": (
        "send.write(struct.pack('<3d', *values[:3])); send.flush(); os._exit(0)",
        f"ended with exit status 0 after 24 bytes of its distribution of {BYTES} bytes",
        "",
    ),
    # 1/6144 in all eight values, of which the bytes are UUUUUU%?
    "printed floats": ("values = [1 / 6144] * size", "its probabilities sum to 0.00", ""),
    "closed output": ("os.close(1); time.sleep(60)", "the program closed its output after 0 bytes", ""),
    "endless": (
        "while True: send.write(bytes(1 << 20))",
        r"its probabilities sum to 0; expected 1 within 0\.0001",
        "",
    ),
    "impossible": (
        "values = [float(word == 0) for word in range(size)]",
        r"it gave probability 0 to token 5 \('on'\), which came: the perplexity is infinite; expected some "
        "probability for every token",
        "",
    ),
}


@pytest.mark.parametrize("name", MISDEEDS)
def test_misdeed_is_named_with_its_position(name, tmp_path):
    body, expected, shown = MISDEEDS[name]
    message = refused(tmp_path, program(tmp_path, body))
    assert message.startswith("entry: position 3: ")
    assert re.search(expected, message), message
    assert shown in message
    assert (": messages belong on standard error" in message) == bool(shown)


# Not every system shows what a process waits for.
WAITS = (
    "the program waits for more input, which it is sent when its answer has come: written, and flushed"
    if Path("/proc/self/wchan").exists()
    else "the program is at work or asleep; --entry-timeout gives it more time"
)
IDLE = {
    "stopped": ("HERE; os.kill(os.getpid(), signal.SIGSTOP)", "0 bytes", "the program is stopped"),
    "asleep": (
        "HERE; time.sleep(9999)",
        "0 bytes",
        "the program is at work or asleep; --entry-timeout gives it more time",
    ),
    "at work": ("HERE\nwhile True: pass", "0 bytes", "the program is at work or asleep; --entry-timeout"),
    "half, then asleep": (
        "send.write(bytes(24)); send.flush(); HERE; time.sleep(9999)",
        "24 bytes",
        "at work or asleep",
    ),
    "reads ahead": (
        "HERE; next(receive)",
        "0 bytes",
        WAITS,
    ),
    "not flushed": (
        "send.write(bytes(24)); HERE; next(receive)",
        "0 bytes",
        WAITS,
    ),
}


@pytest.mark.parametrize("name", IDLE)
def test_idleness_is_named_with_its_position(name, tmp_path, monkeypatch):
    body, count, expected = IDLE[name]
    time_runs_out(monkeypatch, tmp_path, at_work=name == "at work")
    message = refused(tmp_path, program(tmp_path, body.replace("HERE", here(tmp_path))), SECONDS)
    assert message.startswith(
        f"entry: position 3: {count} of its distribution of {BYTES} bytes came within {SECONDS:g} s; "
    )
    assert expected in message


def test_two_distributions_at_once_are_refused_before_the_next_token(tmp_path):
    command = program(tmp_path, "give(values + values); values = []")
    assert refused(tmp_path, command) == (
        "entry: position 4: bytes came before the token in front of it was sent; expected one distribution for each "
        "token, after it has been sent, and nothing else on standard output"
    )


def test_input_that_is_closed_or_not_read(tmp_path, monkeypatch):
    closing = program(tmp_path, "give(values); os.close(0); time.sleep(9999)")
    assert "position 4: the program closed its input after 0 bytes" in refused(tmp_path, closing)
    # Its answer to the last token was made before; then it does not look at the next one.
    unread = program(tmp_path, f"give(values); {here(tmp_path)}; time.sleep(9999)")
    time_runs_out(monkeypatch, tmp_path)
    assert refused(tmp_path, unread, SECONDS).endswith("s; the program has not read what it was sent")


def test_a_program_that_ends_while_what_it_started_holds_its_output(tmp_path):
    body = "subprocess.Popen(['sleep', '60']); os._exit(4)"
    assert "position 3: the program ended with exit status 4 after 0 bytes" in refused(
        tmp_path, program(tmp_path, body)
    )


def test_distributions_of_logarithms(tmp_path):
    logarithms = "answer['values'] = 'log-probabilities'\nimport math"
    body = "values = [-math.inf] + [math.log(1 / (size - 1))] * (size - 1)"
    message = refused(tmp_path, program(tmp_path, body, logarithms, at=0))
    assert message == (
        "entry: position 0: it has -inf for token 0 ('<eos>'); expected log-probabilities, finite numbers"
    )
    body = "values = [math.log(1.01 / size)] * size"
    message = refused(tmp_path, program(tmp_path, body, logarithms, at=0))
    assert message == "entry: position 0: its log-probabilities sum to 1.01; expected 1 within 0.0001"


def test_more_after_the_last_distribution(tmp_path):
    command = program(tmp_path, end="print('perplexity: 12', flush=True)")
    assert refused(tmp_path, command) == (
        "entry: end of the text: more bytes came after the last distribution; what came begins 'perplexity: 12\\n': "
        "messages belong on standard error"
    )


HELLO = "sys.stdin.buffer.readline()\n"


def replying(answer):
    """Source of a program that answers the handshake so, and nothing else."""
    return f"{HELLO}sys.stdout.buffer.write({answer!r}); sys.stdout.flush(); time.sleep(60)"


GOOD = '"protocol": "lm-meter/entry/1", "values": "probabilities", "dtype": "float32"'
HANDSHAKES = {
    "exit": ("sys.exit(2)", "the program ended with exit status 2 after 0 bytes of its answer"),
    "text": (
        replying(b"Loading...\n"),
        "its answer 'Loading...' is not JSON (Expecting value: line 1 column 1 (char 0)); expected one line, an object",
    ),
    "list": (replying(b"[1]\n"), "its answer is '[1]'; expected a JSON object with protocol, values and dtype"),
    "version": (
        replying(b'{"protocol": "lm-meter/entry/2"}\n'),
        "its protocol is 'lm-meter/entry/2'; this runner speaks 'lm-meter/entry/1'",
    ),
    "field": (
        replying(b'{%s, "vocab": 3}\n' % GOOD.encode()),
        "its answer has 'vocab'; expected protocol, name, values, dtype and claims",
    ),
    "values": (
        replying(b'{"protocol": "lm-meter/entry/1", "values": "logits"}\n'),
        "its values is 'logits'; expected log-probabilities or probabilities",
    ),
    "dtype": (
        replying(b'{"protocol": "lm-meter/entry/1", "values": "probabilities", "dtype": ["f"]}\n'),
        "its dtype is ['f']; expected float32 or float64",
    ),
    "name": (
        replying(b'{%s, "name": "a\\nb"}\n' % GOOD.encode()),
        "its name is 'a\\nb'; expected up to 200 printable characters",
    ),
    "claims": (
        replying(b'{%s, "claims": {"operations": 5}}\n' % GOOD.encode()),
        "claims.profile is None; expected the price list of the claims, one of micronet-2019-06,",
    ),
    "claims of a list": (
        replying(b'{%s, "claims": {"profile": ["flops"]}}\n' % GOOD.encode()),
        "claims.profile is ['flops']; expected the price list of the claims",
    ),
    "claim": (
        replying(b'{%s, "claims": {"profile": "flops", "operations": -5}}\n' % GOOD.encode()),
        "claims.operations is -5; expected a number of 0 or more",
    ),
    "claimed": (
        replying(b'{%s, "claims": {"profile": "flops", "flops": 5}}\n' % GOOD.encode()),
        "claims has 'flops'; expected profile, parameters and operations",
    ),
    "answers ahead": (
        replying(b"{%s}\n1234" % GOOD.encode()),
        "4 bytes came behind its answer, before a token was sent; expected one distribution for each token",
    ),
    "endless": (
        "sys.stdin.close()\nwhile True: sys.stdout.write('x' * 1000)",
        f"no line end within 65536 bytes, which begin '{40 * 'x'}'; expected a line of JSON",
    ),
}


@pytest.mark.parametrize("name", HANDSHAKES)
def test_handshake_that_is_wrong(name, tmp_path):
    source, expected = HANDSHAKES[name]
    message = refused(tmp_path, raw_program(tmp_path, source))
    assert message.startswith("entry: handshake: ")
    assert expected in message


def test_handshake_that_is_not_answered(tmp_path, monkeypatch):
    time_runs_out(monkeypatch, tmp_path)
    message = refused(tmp_path, raw_program(tmp_path, f"{HELLO}{here(tmp_path)}; time.sleep(9999)"), SECONDS)
    assert message.startswith("entry: handshake: 0 bytes of its answer came within 2 s; the program is at work")


def test_commands_that_are_none(tmp_path):
    text = text_from_bytes(b"a\n", "text")
    with pytest.raises(
        ConfigError, match=r"--entry: '/no/such' cannot be started \(No such file or directory\); expected a"
    ):
        evaluate_entry("/no/such --file", text=text_from_bytes(b"a\n", "text"))
    (tmp_path / "data").write_text("x")
    with pytest.raises(
        ConfigError, match=r"cannot be started \(Permission denied\); expected a program and its arguments"
    ):
        evaluate_entry(str(tmp_path / "data"), text=text)
    with pytest.raises(ConfigError, match=r"names no program; expected a program and its arguments"):
        ForeignEntry("  ")
    with pytest.raises(ConfigError, match=r"No closing quotation; expected a command, quoted as for a shell"):
        ForeignEntry("'a")
    for seconds in (0, -1.0, float("inf"), float("nan"), True, "1"):
        with pytest.raises(ConfigError, match=r"entry timeout is .*; expected a number of seconds above 0"):
            ForeignEntry("a", timeout=seconds)


def test_a_vocabulary_that_begins_with_a_byte_order_mark(tmp_path):
    path = vocabulary(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    with pytest.raises(TextError) as caught:
        read_vocabulary(path)
    assert str(caught.value) == (
        f"{path}: the vocabulary begins with a byte-order mark (U+FEFF), which would be part of its first word; remove "
        "it, as tail -c +4 does"
    )
