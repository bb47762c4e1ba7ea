"""The continuous cache: its equations from the outputs that it is given, texts longer than it, and its settings."""

import json

import numpy as np
import pytest
from tiny import tiny_parts

import lm_meter
from lm_meter import cli
from lm_meter.threads import ThreadTeam

WORDS = ("<eos>", "<unk>", *(f"w{i}" for i in range(38)))
CACHE = {"size": 7, "theta": 1.5, "lambda": 0.3}


def _opened(path, **options):
    lm_meter.write_checkpoint(path, *tiny_parts(words=WORDS, hidden=(19,), **options))
    return lm_meter.Checkpoint(path)


def _run(opened, tokens, threads, block):
    runtime = opened.architecture.load(opened, ThreadTeam(threads))
    runtime.reserve(block)
    return runtime.run(np.array([0, *tokens[:-1]]), tokens, block, runtime.new_tallies())


def test_a_text_longer_than_the_cache_by_its_equations(tmp_path):
    """Nine hundred tokens through room for some three hundred: pairs are dropped again and again."""
    tokens = np.random.default_rng(1).integers(0, len(WORDS), 900)
    plain, opened = _opened(tmp_path / "plain.npz"), _opened(tmp_path / "cache.npz", continuous_cache=CACHE)
    runtime = plain.architecture.load(plain, ThreadTeam(1))
    by_model, outputs = [], []
    for before, token in zip([0, *tokens[:-1]], tokens, strict=True):
        by_model.append(runtime.run(np.array([before]), np.array([token]), 1, runtime.new_tallies())[0])
        outputs.append(runtime.frozen(0).output[:19].astype(np.float64))

    reference = []
    for t, token in enumerate(tokens):
        past = range(max(0, t - CACHE["size"]), t)
        if not past:
            reference.append(by_model[t])
            continue
        weights = np.exp([CACHE["theta"] * outputs[t] @ outputs[i] for i in past])
        cached = weights[[tokens[i] == token for i in past]].sum() / weights.sum()
        reference.append(np.log((1 - CACHE["lambda"]) * np.exp(by_model[t]) + CACHE["lambda"] * cached))

    actual = _run(opened, tokens, 1, 1)
    # A score of up to 30 is a float32 sum of 19 terms; its rounding, some 2**-19 each, is relative in its exponential.
    np.testing.assert_allclose(actual, reference, rtol=0, atol=19 * 2.0**-19)
    for threads, block in ((2, 1), (1, 64), (3, 7)):
        assert _run(opened, tokens, threads, block).tobytes() == actual.tobytes()


def _evaluated(path, tmp_path, *flags):
    (tmp_path / "text").write_text("w1 w2 w1 w2 w1 w2\n", encoding="utf-8")
    command = ["eval", "--checkpoint", str(path), "--text", str(tmp_path / "text"), "--format", "json", *flags]
    return cli.main([*command, "--quiet"])


def test_the_command_line_chooses_the_checkpoints_cache_another_or_none(tmp_path, capsys):
    path = tmp_path / "model.npz"
    _opened(path, continuous_cache=CACHE)
    found = {}
    for name, flags in (
        ("own", ()),
        ("other", ("--continuous-cache", "3,0.5,0.25")),
        ("off", ("--continuous-cache", "off")),
    ):
        assert _evaluated(path, tmp_path, *flags) == 0
        document = json.loads(capsys.readouterr().out)
        found[name] = document["online"]["continuous_cache"], document["nll_nats"]
    assert found["own"][0] == CACHE
    assert found["other"][0] == {"size": 3, "theta": 0.5, "lambda": 0.25}
    assert found["off"][0] is None
    assert len({nats for _, nats in found.values()}) == 3


def test_a_model_without_a_cache_can_be_given_one(tmp_path, capsys):
    path = tmp_path / "model.npz"
    _opened(path)
    assert _evaluated(path, tmp_path, "--continuous-cache", "5,1.5,0.3") == 0
    document = json.loads(capsys.readouterr().out)
    regions = {region["name"]: region for region in document["regions"]}
    assert regions["continuous_cache"]["moves"] == ["the output, and the token that follows it, to the cache: a move"]
    # Seven predictions, which see 0 to 5 and again 5 pairs; of each pair 19 products, and 19 more for theta but once.
    seen = [0, 1, 2, 3, 4, 5, 5]
    [multiplies] = [
        row["count"]
        for row in document["histogram"]
        if (row["region"], row["kind"], row["bits_a"]) == ("continuous_cache", "multiply", 32)
    ]
    assert multiplies == 19 * sum(seen) + 19 * 6


@pytest.mark.parametrize("text", ["2000", "2000,0.3", "x,0.3,0.1", "5,a,0.1", "5,0.3,0.1,2", "-1,0.3,0.1", ""])
def test_settings_that_cannot_be_read(text):
    with pytest.raises(lm_meter.ConfigError) as caught:
        lm_meter.RunOptions(continuous_cache=text)
    assert str(caught.value) == (
        f"continuous cache is {text!r}; expected SIZE,THETA,LAMBDA, as in 2000,0.3,0.1, or off"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1048577,0.3,0.1", "continuous cache: size is 1048577; expected 0 to 1048576 outputs"),
        ("5,0,0.1", "continuous cache: theta is 0; expected a number from 1e-30 to 1e+06"),
        ("5,1e-46,0.1", "continuous cache: theta is 1e-46; expected a number from 1e-30 to 1e+06"),
        ("5,1e39,0.1", "continuous cache: theta is 1e+39; expected a number from 1e-30 to 1e+06"),
        ("5,nan,0.1", "continuous cache: theta is nan; expected a number from 1e-30 to 1e+06"),
        ("5,0.3,1", "continuous cache: lambda is 1; expected a number above 0 and below 1"),
        ("5,0.3,0", "continuous cache: lambda is 0; expected a number above 0 and below 1"),
    ],
)
def test_settings_out_of_range(text, message):
    with pytest.raises(lm_meter.ConfigError) as caught:
        lm_meter.RunOptions(continuous_cache=text)
    assert str(caught.value) == message


def test_settings_of_a_checkpoint_out_of_range(tmp_path):
    config, arrays = tiny_parts(words=WORDS, continuous_cache=CACHE)
    config["continuous_cache"] = {**CACHE, "lambda": 1}
    with pytest.raises(lm_meter.CheckpointError) as caught:
        lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    assert str(caught.value) == (
        f"{tmp_path / 'model.npz'}: continuous cache: lambda is 1; expected a number above 0 and below 1"
    )
