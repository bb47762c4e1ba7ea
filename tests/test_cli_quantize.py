"""The quantize command: what it prints, what it refuses in one line, and that nothing half-written stays."""

import json
import os

import pytest
from tiny import tiny_checkpoint

from lm_meter import Checkpoint, cli
from lm_meter.checkpoint_arguments import WEIGHT_NAMES


@pytest.fixture
def source(tmp_path):
    return tiny_checkpoint(tmp_path / "source.npz", embedding=16, hidden=(16,))


@pytest.fixture
def run(source, tmp_path, capsys):
    """Quantises the source to out.npz and gives status, standard output and standard error."""

    def command(*arguments, out="out.npz"):
        status = cli.main(["quantize", str(source), f"{tmp_path}/{out}", *arguments])
        return status, *capsys.readouterr()

    return command


@pytest.fixture
def refused(run, tmp_path):
    """A run that must end with status 2 and one line, with nothing written."""

    def command(*arguments, out="out.npz"):
        before = sorted(tmp_path.rglob("*"))
        status, printed, error = run("--quiet", *arguments, out=out)
        assert (status, printed) == (2, "")
        assert error.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before
        return error.removeprefix("lm-meter: error: ").rstrip()

    return command


def test_it_names_each_tensor_and_prints_what_it_became(run, tmp_path):
    status, table, notes = run("--weights", "int8", "--tensor", "lstm.*=int4,group=8")
    assert status == 0
    assert notes.split() == ["embedding", "lstm.0.weight", "lstm.0.bias", "softmax.weight", "softmax.bias"]
    assert "int4 group=8" in table
    assert max(map(len, table.splitlines())) <= 80
    assert Checkpoint(tmp_path / "out.npz").formats["lstm.0.weight"].group == 8


def test_the_document_has_the_documented_fields(run, tmp_path, source):
    _, text, notes = run("--weights", "codebook4", "--prune", "0.5", "--block", "1x4", "--format", "json", "--quiet")
    document = json.loads(text)
    assert notes == ""
    fields = "name before after bytes_before bytes_after largest_error mean_error"
    assert sorted(document["changes"][0]) == sorted(fields.split())
    assert document["changes"][0]["after"] == "codebook4 block=1x4"
    assert document["bytes_before"] == source.stat().st_size
    assert document["bytes_after"] == (tmp_path / "out.npz").stat().st_size
    assert {"bits_before", "bits_after", "parameters_before", "parameters_after"} <= set(document)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "keep", "--activations", "8"], "weights keep: has activations; expected no option"),
        (["--weights", "float16", "--activations", "8"], "8-bit activations meet integer weights only"),
        (["--weights", "int8", "--group", "8,offsets"], "weights int8: group is '8,offsets'; expected a whole number"),
        (["--weights", "int8", "--prune", "1.5"], "prune is 1.5; expected a fraction from 0 to below 1"),
        (["--weights", "int8", "--prune", "0.5", "--block", "0x4"], "block is '0x4'; expected ROWSxCOLUMNS"),
        (["--weights", "int8", "--tensor", "cell=int4"], "pattern 'cell' matches no tensor; there are embedding"),
        (["--weights", "int8", "--tensor", "embedding=int3"], "weights 'int3': expected float32, float16"),
        (["--weights", "float16", "--group", "8"], "float16 has no scales; expected neither group nor offsets"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message, refused):
    assert message in refused(*arguments)


def test_an_unknown_width_is_refused_with_those_there_are(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["quantize", "a.npz", "b.npz", "--weights", "int5"])
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.count("\n") == 1
    assert all(name in error for name in WEIGHT_NAMES)


def test_places_that_cannot_be_written(refused, source, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is an input of this run; choose another name" in refused("--weights", "int8", out="source.npz")
    assert "is a device or pipe; expected the name of a file" in refused("--weights", "int8", out="pipe")
    assert "there is no folder" in refused("--weights", "int8", out="nowhere/out.npz")
    assert "is a folder; expected the name of a file" in refused("--weights", "int8", out="new/")


def test_a_file_that_is_replaced_keeps_its_permissions(run, tmp_path):
    (tmp_path / "out.npz").write_bytes(b"old")
    (tmp_path / "out.npz").chmod(0o600)
    assert run("--weights", "int8")[0] == 0
    assert (tmp_path / "out.npz").stat().st_mode & 0o777 == 0o600
