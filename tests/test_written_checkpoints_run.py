"""What writes a checkpoint writes none that a run would refuse: every kind of model, quantised, is loaded again."""

import numpy as np
import pytest
from tiny import TIED_BINS, narrowed, tiny_parts
from tiny_transformer import KINDS, transformer_parts

from lm_meter import Checkpoint, CheckpointError, ConfigError, cli, write_checkpoint
from lm_meter.quantization.convert import changes_table, quantize
from lm_meter.quantization.specification import Plan, parse_pattern, parse_specification
from lm_meter.threads import ThreadTeam

WORDS = ("<eos>", "<unk>", *(f"w{n}" for n in range(398)))
ADAPTIVE_TIED = {"words": WORDS, "embedding": 8, "hidden": (12,), "projection": 8, "tied": True, "adaptive": TIED_BINS}
# Matrices that the kernels read in a second way, for which there are no integers: all those of each model below.
FLOATS = {
    "micronet": [f"layers.{layer}.attention.relative" for layer in (0, 1)],
    "adaptive": [f"layers.{layer}.attention.relative" for layer in (0, 1)],
    "per head": [f"layers.{layer}.attention.relative" for layer in (0, 1)],
    "tied bins": [f"embedding.{number}.projection" for number in (0, 1, 2)],
}


def parts_of(kind):
    return tiny_parts(**ADAPTIVE_TIED) if kind == "tied bins" else transformer_parts(kind, WORDS)


@pytest.fixture
def source(tmp_path):
    """Writes the checkpoint of a kind of model."""

    def write(kind):
        write_checkpoint(tmp_path / "source.npz", *parts_of(kind))
        return tmp_path / "source.npz"

    return write


@pytest.mark.parametrize("specification", ["int8", "float16,prune=0.5"])
@pytest.mark.parametrize("kind", [*KINDS, "tied bins"])
def test_every_kind_of_model_runs_when_it_is_quantised(kind, specification, source, tmp_path):
    done = quantize(source(kind), tmp_path / "out.npz", Plan(parse_specification(specification)))
    opened = Checkpoint(tmp_path / "out.npz")
    runtime = opened.architecture.load(opened, ThreadTeam(1))
    runtime.reserve(1)
    assert np.isfinite(runtime.run(np.arange(4), np.arange(1, 5), 1, runtime.new_tallies())).all()
    assert done.kept == FLOATS.get(kind, [])
    assert all(name in changes_table(done) for name in done.kept)
    matrices = [name for name in opened.formats if len(opened.shape(name)) == 2 and name not in done.kept]
    assert [change.name for change in done.changes] == matrices


@pytest.mark.parametrize("kind", FLOATS)
def test_what_must_be_floats_may_be_narrower_floats(kind, source, tmp_path):
    done = quantize(source(kind), tmp_path / "out.npz", Plan(parse_specification("float16")))
    assert done.kept == []
    opened = Checkpoint(tmp_path / "out.npz")
    assert {opened.formats[name].format for name in FLOATS[kind]} == {"float16"}
    opened.architecture.load(opened, ThreadTeam(1))


def test_a_pattern_for_nothing_but_them_is_refused(source, tmp_path):
    plan = Plan(None, (parse_pattern("*.relative=int4"),))
    with pytest.raises(ConfigError) as caught:
        quantize(source("micronet"), tmp_path / "out.npz", plan)
    assert str(caught.value) == (
        "pattern '*.relative' matches no matrix that can be int4; expected a plain floating-point format, or keep"
    )
    assert not (tmp_path / "out.npz").exists()


def test_the_command_makes_what_eval_takes(source, tmp_path, capsys):
    (tmp_path / "text").write_text("w1 w2 w3\n", encoding="utf-8")
    out = str(tmp_path / "out.npz")
    assert cli.main(["quantize", str(source("per head")), out, "--weights", "int8", "--quiet"]) == 0
    assert "left as they are, as the model needs floating-point numbers there" in capsys.readouterr().out
    assert cli.main(["eval", "--checkpoint", out, "--text", str(tmp_path / "text"), "--quiet"]) == 0


@pytest.mark.parametrize("kind", FLOATS)
def test_a_checkpoint_that_no_run_would_take_is_not_written(kind, tmp_path):
    for name in FLOATS[kind]:
        config, arrays = narrowed(*parts_of(kind), {name: {"format": "int8"}})
        with pytest.raises(CheckpointError) as caught:
            write_checkpoint(tmp_path / "m.npz", config, arrays)
        assert str(caught.value).startswith(f"{tmp_path / 'm.npz'}: array {name}: is int8")
        assert list(tmp_path.iterdir()) == []
