"""The benchmark for users: figures that follow from each other, regions that add up, clocks that change nothing."""

import json

import numpy as np
import pytest
from tiny import tiny_checkpoint
from tiny_transformer import transformer_parts

from lm_meter import Checkpoint, ConfigError, cli, write_checkpoint
from lm_meter.benchmark import BenchOptions, bench, bench_table
from lm_meter.kernels.clock import MARK, WAITING
from lm_meter.threads import ThreadTeam

OPTIONS = BenchOptions(block=4, threads=2, repeats=6, seconds=0.002)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "model.npz"
    return Checkpoint(tiny_checkpoint(path, projection=8))


@pytest.fixture(scope="module")
def found(checkpoint):
    return bench(checkpoint, OPTIONS)


def test_figures_follow_from_each_other(found, checkpoint):
    rate = found["memory"]["read_bytes_per_second"]
    assert rate > 0
    assert [b["block"] for b in found["blocks"]] == [1, 4]
    for b in found["blocks"]:
        assert b["milliseconds_per_token"] == np.median(b["samples"]) > 0
        assert b["tokens_per_second"] == pytest.approx(1e3 / b["milliseconds_per_token"])
        assert b["limit_milliseconds"] == pytest.approx(1e3 * b["weight_bytes_per_token"] / rate)
        assert b["share_of_limit"] == pytest.approx(b["limit_milliseconds"] / b["milliseconds_per_token"])
        assert b["metering"]["low"] <= b["metering"]["cost"] <= b["metering"]["high"]
    # float32: LSTM 48 x 20 and 48 biases; projection 8 x 12, softmax 15 x 8 and their biases, shared by a block.
    step, readout = 4 * (48 * 20 + 48), 4 * (8 * 12 + 8 + 15 * 8 + 15)
    assert [b["weight_bytes_per_token"] for b in found["blocks"]] == [step + readout, step + readout / 4]


def test_times_of_the_regions_add_up_to_the_time_of_a_token(found):
    names = ["embedding", "lstm.0", "lstm.0.cell", "projection", "logits", "softmax", "waiting for other threads"]
    for b in found["blocks"]:
        assert [region["region"] for region in b["regions"]] == names
        assert sum(r["milliseconds"] for r in b["regions"]) == pytest.approx(b["milliseconds_per_token"])
        assert all(r["milliseconds"] > 0 for r in b["regions"])


def test_clocks_change_no_bit_and_measure_all_of_a_run(checkpoint):
    runtime = checkpoint.architecture.load(checkpoint, ThreadTeam(2))
    tokens, clocks = np.arange(300) % 15, runtime.new_clocks()
    reference = runtime.run(tokens, tokens, 1, runtime.new_tallies())
    runtime.reset()
    assert np.array_equal(runtime.run(tokens, tokens, 1, runtime.new_tallies(), clocks), reference)
    before = clocks.copy()
    runtime.run(tokens, tokens, 1, runtime.new_tallies(), clocks)
    spent = (clocks - before)[:, :WAITING].sum(axis=1) + (clocks - before)[:, WAITING]
    # Laps follow one another without a gap: their sum is what lies between the first and the last reading.
    assert np.all(spent > 0)
    assert np.all(spent <= clocks[:, MARK] - before[:, MARK])


def test_the_table_fits_a_terminal_and_has_every_region(found):
    table = bench_table(found)
    assert max(map(len, table.splitlines()[3:])) <= 80
    for text in ("share of the limit", "cost of metering", "lstm.0.cell", "waiting for other threads"):
        assert text in table


def test_the_command_prints_the_document(checkpoint, capsys):
    command = ["bench", str(checkpoint.path), "--block", "2", "--threads", "1", "--repeats", "1", "--format", "json"]
    assert cli.main(command) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "lm-meter/bench/1"
    assert document["checkpoint"]["sha256"] == checkpoint.sha256()
    assert document["environment"]["threads"] == 1
    assert document["blocks"][1]["metering"]["low"] is None
    assert bench_table(document).count("fewer than 6 pairs") == 2


def test_the_context_of_a_transformer_is_named(tmp_path):
    write_checkpoint(tmp_path / "model.npz", *transformer_parts("llama"))
    options = BenchOptions(block=2, threads=1, repeats=1, seconds=0.001, policy="recompute", context=5)
    found = bench(Checkpoint(tmp_path / "model.npz"), options)
    assert found["context"] == {"policy": "recompute", "tokens": 5}
    assert "recompute, up to 5 tokens: it grows while it is timed" in bench_table(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": 1}, "block is 1; expected 2 to 4096, to be compared with block 1"),
        ({"block": 5000}, "block is 5000; expected 2 to 4096"),
        ({"repeats": 0}, "repeats is 0; expected 1 to 1000"),
        ({"threads": 0}, "threads is 0; expected 1 to 256"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ConfigError) as caught:
        BenchOptions(**options)
    assert str(caught.value).startswith(message)
