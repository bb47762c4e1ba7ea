"""Each script: --help without what only its work needs, a line where that is missing, and a tiny run."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hang import HANG
from tiny import TEXT, tiny_checkpoint

import lm_meter

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = {path.stem: path for path in sorted((ROOT / "scripts").glob("*.py"))}
COMMANDS = [name for name, path in SCRIPTS.items() if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]
# What no user of lm-meter need have: here nobody has it.
_EXTRAS = ("torch", "transformers", "onnx", "onnxruntime", "atheris", "llama_cpp", "matplotlib", "gguf", "tokenizers")
_WITHOUT = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Missing())
"""


def ran(name, *arguments, folder=None, without=(), status=0):
    """Output and errors of a script, from a folder, in which some packages are not installed; status None: 0 or 1."""
    environment = dict(os.environ)
    if without:
        (folder / "sitecustomize.py").write_text(_WITHOUT.format(set(without)))
        environment["PYTHONPATH"] = str(folder)
    command = [sys.executable, str(SCRIPTS[name]), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG, cwd=folder, env=environment)
    assert done.returncode in ((0, 1) if status is None else (status,)), done.stderr
    return done.stdout, done.stderr


_HELPED = """
import contextlib, io, json, runpy, sys
found = {}
for name, path in json.loads(sys.argv[1]).items():
    sys.argv, output, status = [path, "--help"], io.StringIO(), None
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            runpy.run_path(path, run_name="__main__")
    except SystemExit as ending:
        status = ending.code
    found[name] = [status, output.getvalue()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def helped(tmp_path_factory):
    """Exit status and output of each script with --help, in one process without the packages of the extras."""
    folder = tmp_path_factory.mktemp("help")
    (folder / "sitecustomize.py").write_text(_WITHOUT.format(set(_EXTRAS)))
    paths = json.dumps({name: str(SCRIPTS[name]) for name in COMMANDS})
    command = [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(ROOT / 'scripts')!r})\n{_HELPED}", paths]
    environment = dict(os.environ) | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=HANG, cwd=folder, env=environment, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_nothing_but_lm_meter(name, helped):
    status, output = helped[name]
    assert status == 0
    assert output.startswith(f"usage: {name}.py")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("torch_perplexity", ["m.npz", "text"], "needs torch; pip install '.[train]'"),
        (
            "train_lm",
            ["--train", "a", "--valid", "b", "--vocab-counts", "c", "--work", "d", "--out", "e"],
            "needs torch; pip install '.[train]'",
        ),
        ("make_golden_mixtures", [], "needs torch; pip install torch transformers"),
        ("make_golden_positions", [], "needs torch; pip install torch"),
        ("make_golden_recurrent", [], "needs torch; pip install torch"),
        ("make_golden_transformers", [], "needs torch; pip install torch transformers"),
        ("make_golden_word_language_model", [], "needs torch; pip install torch"),
        ("fuzz", [], "needs tokenizers; pip install '.[test]', or leave checkpoint out of --readers"),
        ("fuzz", ["--readers", "torch"], "needs torch; pip install '.[pytorch]', or leave torch out of --readers"),
        ("fuzz_coverage", ["--child", "text"], "needs atheris; pip install '.[fuzz]'"),
    ],
)
def test_what_is_missing_is_a_line(name, arguments, message, tmp_path):
    _, errors = ran(name, *arguments, folder=tmp_path, without=_EXTRAS, status=2)
    assert errors == f"{name}.py: {message}\n"


def test_fuzz(tmp_path):
    output, _ = ran("fuzz", "--readers", "entry", "--inputs", 20, "--jobs", 1, folder=tmp_path)
    assert "entry" in output


def test_bench_writes_what_was_measured_and_what_failed(tmp_path):
    """The baseline's words are not given, so that it cannot be made."""
    output, _ = ran(
        "bench", "--quick", "--repeats", 1, "--threads", 1, "--sections", "default", "float32",
        "--output", "bench.json", folder=tmp_path, status=1,
    )  # fmt: skip
    document = json.loads((tmp_path / "bench.json").read_text())
    measured, failed = document["sections"]
    assert measured["title"].startswith("default checkpoint")
    assert measured["measurements"]
    assert failed["title"] == "float32"
    assert failed["remarks"][0].startswith("failed: SystemExit: bench: ")
    assert document["findings"][-1] == {"what": "float32", "wanted": "measured", "found": "failed", "met": False}
    assert "failed: SystemExit" in output


def test_bench_has_written_each_part_before_the_next_begins(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from bench_report import Section, measure

    def parts():
        yield "first", lambda: Section("first")
        assert json.loads((tmp_path / "b.json").read_text())["sections"][0]["title"] == "first"
        yield "second", lambda: 1 / 0
        assert json.loads((tmp_path / "b.json").read_text())["findings"][0]["found"] == "failed"
        yield "third", lambda: Section("third")

    assert measure(parts(), tmp_path / "b.json", {"about": 1}) == 1
    titles = [section["title"] for section in json.loads((tmp_path / "b.json").read_text())["sections"]]
    assert titles == ["first", "second", "third"]
    assert measure([], tmp_path / "b.json", {}) == 0


def test_twins_of_other_libraries_take_the_tokens_of_a_text(tmp_path, monkeypatch):
    """Whole numbers of 64 bits, whatever a tokenizer has; where they are installed, they say what lm-meter says."""
    import numpy as np

    monkeypatch.syspath_prepend(ROOT / "scripts")
    from bench_numpy import NumpyTwin
    from bench_speed import Loaded

    path = tiny_checkpoint(tmp_path / "m.npz", dtype="float32")
    loaded = Loaded(path, lm_meter.text.text_from_bytes(TEXT.encode() * 8, "text"), 1)
    inputs, targets = loaded.inputs, loaded.targets
    assert (inputs.dtype, targets.dtype) == (np.int64, np.int64)
    loaded.runtime.reset()
    expected = loaded.runtime.run(inputs, targets, 4, loaded.tallies)
    np.testing.assert_allclose(NumpyTwin(loaded.checkpoint).run(inputs, targets), expected, atol=5e-5)
    twins = []
    if find_spec("torch"):
        import torch
        from bench_torch import TorchTwin

        twins.append(TorchTwin(loaded.checkpoint, torch.float32, 1))
    if find_spec("onnx") and find_spec("onnxruntime"):
        from bench_onnx import OnnxTwin

        twins.append(OnnxTwin(loaded.checkpoint, False, 1, tmp_path))
    for twin in twins:
        twin.reset()
        np.testing.assert_allclose(twin.run(inputs, targets, 4), expected, atol=5e-5)


def test_bench_memory(tmp_path):
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    model = tiny_checkpoint(tmp_path / "m.npz")
    output, _ = ran(
        "bench_memory", "--text", "text", "--checkpoint", model, "--tokens", 20, 60, "--runs", 1, "--threads", 1,
        folder=tmp_path,
    )  # fmt: skip
    assert "m, 60 word tokens: " in output


def test_check_shipped_without_the_test_set(tmp_path, monkeypatch):
    monkeypatch.setenv("LM_METER_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    output, _ = ran("check_shipped", folder=tmp_path)
    assert output == "skipped: the test set of WikiText-103 is not on this machine\n"


def test_bench_saving(tmp_path):
    model = tiny_checkpoint(tmp_path / "m.npz")
    options = ("--checkpoint", model, "--threads", 1, "--repeats", 1)
    (tmp_path / "text").write_text(TEXT * 200, encoding="utf-8")
    output, _ = ran("bench_saving", *options, "--text", "text", folder=tmp_path, status=None)
    assert output.startswith("m: ")
    _, errors = ran("bench_saving", *options, "--text", "text", "--limit", 9, folder=tmp_path, status=1)
    assert errors == "bench_saving: the text is too short to compare calls in pairs; expected a longer one\n"


GOLDEN = [name for name in COMMANDS if name.startswith("make_golden")]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files_are_made_again(name, tmp_path):
    pytest.importorskip("torch")
    if "transformers" in SCRIPTS[name].read_text(encoding="utf-8"):
        pytest.importorskip("transformers")
    ran(name, "--out", tmp_path / "golden.npz", folder=tmp_path)
    assert (tmp_path / "golden.npz").stat().st_size > 0


def test_readme_commands():
    assert len(ran("readme_commands", ROOT / "README.md")[0].splitlines()) == 2
