"""Progress: a bar on a terminal, now and then a line elsewhere."""

import io
import math

from lm_meter import progress


def test_lines_come_every_ten_seconds_with_perplexity_rate_and_time_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    lines = progress.Lines(1000, stream)
    for seconds, done in ((5, 100), (11, 220), (12, 240), (22, 440)):
        now[0] = float(seconds)
        lines.update(done, done * math.log(50))
    lines.close()
    # 220 tokens in 11 seconds: 20 a second, 780 left: 39 seconds
    assert stream.getvalue().splitlines() == [
        "220/1000 tokens, perplexity per piece 50, 20 tokens/s, 39 s left",
        "440/1000 tokens, perplexity per piece 50, 20 tokens/s, 28 s left",
    ]


def test_bar_shows_the_running_perplexity(capsys):
    bar = progress.Bar(100)
    bar.update(40, 40 * math.log(12.5))
    bar.update(100, 100 * math.log(12.5))
    bar.close()
    shown = capsys.readouterr().err
    assert "100/100" in shown
    assert "ppl/piece 12.5" in shown


def test_perplexity_of_a_hopeless_model_is_infinite_not_an_error():
    assert progress.piece_perplexity(1e6, 10) == math.inf


def test_a_terminal_decides(monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(progress.on_stderr(10), progress.Bar)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    assert isinstance(progress.on_stderr(10), progress.Lines)
