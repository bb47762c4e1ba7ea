"""The reader that sets the limit really reads every byte, in any split among threads."""

import functools
import operator

import numpy as np
import pytest
from tiny import TEXT, tiny_checkpoint

from lm_meter import RunOptions, bandwidth, evaluate
from lm_meter.bandwidth import stream_bytes_per_second
from lm_meter.benchmark import bench_table
from lm_meter.kernels.stream import STRIDE, read_share
from lm_meter.report import result_table
from lm_meter.threads import ThreadTeam


def _words(strides):
    return np.random.default_rng(0).integers(-(2**62), 2**62, strides * STRIDE // 8)


def test_reader_combines_every_word():
    for strides in (1, 5, 37):  # fewer than the runs of a thread, and no multiple of them
        data = _words(strides)
        expected = functools.reduce(operator.xor, data.tolist())
        for threads in (1, 2, 3):
            parts = [read_share(data.view(np.uint8), thread, threads) for thread in range(threads)]
            assert functools.reduce(operator.xor, parts) == expected


def test_a_changed_byte_anywhere_changes_the_word():
    data = _words(3).view(np.uint8)
    before = read_share(data, 0, 1)
    for at in range(0, data.size, 61):
        data[at] ^= 1
        assert read_share(data, 0, 1) != before
        data[at] ^= 1


def test_a_disturbed_reading_is_not_the_limit(monkeypatch):
    """The rate is that of the fastest reading: what else runs beside it only makes a reader slower."""
    data, team, now = _words(1000).view(np.uint8), ThreadTeam(1), [0.0]
    seconds = iter([0.5, 0.04, 0.5, 0.5, 0.5, 0.02, 0.5])

    def run(work, readers):
        now[0] += next(seconds)

    monkeypatch.setattr(team, "run", run)
    monkeypatch.setattr(bandwidth.time, "perf_counter", lambda: now[0])
    assert stream_bytes_per_second(data, team) == pytest.approx(data.size / 0.02)


def test_weights_read_faster_than_a_plain_reader_have_no_percentage(tmp_path):
    """143 % of a limit is no share of it."""
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    result = evaluate(tiny_checkpoint(tmp_path / "model.npz"), text=tmp_path / "text", options=RunOptions(threads=1))
    speed = result.document["speed"]
    speed |= {"stream_bytes_per_second": 1e9, "bandwidth_fraction": 1.43}
    table = result_table(result)
    assert (
        "memory bandwidth  more than a plain reader's 1.0 GB/s, which was disturbed, or the weights lay in a cache\n"
        in table
    )
    assert "143" not in table.partition("\nspeed\n")[2]
    result.document["online"] |= {"softmax_bins": "needed"}
    assert " lay in a cache, or not all bins were read\n" in result_table(result)
    assert "weights read      at most " in result_table(result)
    speed |= {"bandwidth_fraction": 1.0}
    assert "memory bandwidth  100.0 % of 1.0 GB/s\n" in result_table(result)
    assert " MB, 1 thread\n" in table


@pytest.mark.parametrize(("share", "shown"), [(1.43, "above 100 %"), (0.5, "50.0 %")])
def test_a_share_of_the_limit_above_one_is_no_percentage(share, shown):
    block = {
        "block": 1, "milliseconds_per_token": 1.0, "tokens_per_second": 1e3, "weight_bytes_per_token": 8.0,
        "limit_milliseconds": share, "share_of_limit": share, "metering": {"cost": 0.0, "low": None, "high": None},
        "regions": [],
    }  # fmt: skip
    found = {
        "environment": {"cpu": "one", "threads": 1}, "memory": {"bytes": 8, "read_bytes_per_second": 1e9},
        "checkpoint": {"path": "model.npz"}, "context": None,
        "blocks": [{**block, "regions": [{"region": "logits", "milliseconds": 1.0}]}],
    }  # fmt: skip
    table = bench_table(found)
    (row,) = (line for line in table.splitlines() if line.startswith("  share of the limit"))
    assert row.endswith(f"  {shown}")
    assert ("the plain reader was disturbed, or the weights lay in a cache" in table) == (share > 1)
    assert "one, 1 thread\n" in table


def test_rate_is_positive_and_zero_where_there_is_nothing_to_read():
    team = ThreadTeam(2)
    assert stream_bytes_per_second(_words(1000).view(np.uint8), team) > 0
    assert stream_bytes_per_second(np.zeros(10, np.uint8), team) == 0
