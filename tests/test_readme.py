"""The README tells the truth: its programs run, its commands exist, and its fields are those of a result.

The two commands of "Install and run" make virtual environments; `.ci/run` runs them as they are written.
"""

import json
import math
import re
import shlex
import sys
from pathlib import Path

import pytest
from llama2c_files import llama2c_model, llama2c_tokenizer

import lm_meter
from lm_meter import cli
from lm_meter.arguments import parser
from lm_meter.conventions import CONVENTIONS, PRICES
from lm_meter.defaults import default_checkpoint, entry_path, sample_text
from lm_meter.profiles import PROFILES
from lm_meter.report import result_table
from lm_meter.shared_arguments import PROFILE_NAMES
from lm_meter.storage import priced_parameters, tensors_of, total_bits
from lm_meter.tokenizers import load_tokenizer

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from readme_commands import readme_commands  # noqa: E402


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text("the cat sat on the mat .\nthe dog sat .\n", encoding="utf-8")
    return tmp_path


def _programs():
    return re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_install_section_has_the_two_commands():
    install, check = readme_commands(README)
    assert "pip install ." in install
    assert install.endswith("lm-meter eval")
    assert check.endswith("pytest")


def test_programs_run_in_the_order_of_the_page_each_by_itself(folder, capsys):
    """Each has its own imports; what the first one writes, the second one reads."""
    for program in _programs():
        exec(compile(program, "README.md", "exec"), {})
    # The last program computes the perplexity per piece of the text that the first one evaluated.
    first, second = capsys.readouterr().out.split("\n")[:2]
    word = float(first.split()[0])
    piece = float(second.split()[0])
    assert word == pytest.approx(piece)  # one piece a word in this model


def test_inline_command_and_every_command_of_the_table_run(folder, capsys):
    exec(compile(_programs()[0], "README.md", "exec"), {})
    (inline,) = re.findall(r"^or `lm-meter (.*?)`\.$", README, re.MULTILINE)
    assert cli.main(shlex.split(inline)) == 0
    values = {
        "SRC": "model.bin",
        "ENTRY.toml": "entry.toml",
        "CKPT.npz": "model.npz",
        "RESULT.json": "result.json",
        "T": "imagenet",
        "N": "1e6",
        "P": "micronet-2019-final",
    }
    Path("known.txt").write_text("the cat sat on mat .\n", encoding="utf-8")  # all of them are the model's words
    entry = 'checkpoint = "model.npz"\ntext = "known.txt"\n'
    parameters = priced_parameters(tensors_of(lm_meter.Checkpoint("model.npz")), PROFILES["micronet-2019-06"])
    entry += f"[claims]\nparameters = {float(parameters)!r}\n"
    Path("entry.toml").write_text(entry, encoding="utf-8")
    Path("model.bin").write_bytes(llama2c_model())
    Path("tok.bin").write_bytes(llama2c_tokenizer())
    rows = re.findall(r"^\| `lm-meter (.*?)` \|", README, re.MULTILINE)
    (group,) = (action for action in parser()._actions if action.choices)
    assert sorted(row.split()[0] for row in rows) == sorted(group.choices)
    narrowing = re.findall(r"^    lm-meter (quantize .*)$", README, re.MULTILINE)
    assert len(narrowing) == 2
    for row in [*rows, *narrowing]:
        arguments = [values.get(word, word) for word in shlex.split(row)]
        if arguments == ["eval"]:
            arguments += shlex.split(inline)[1:]
        if arguments[0] == "bench":
            arguments += ["--repeats", "1"]
        assert cli.main(arguments) == 0, row
    capsys.readouterr()


def test_documented_fields_are_those_of_a_result(folder, capsys):
    exec(compile(_programs()[0], "README.md", "exec"), {})
    capsys.readouterr()
    cli.main(["eval", "--checkpoint", "model.npz", "--text", "book.txt", "--oov", "unk", "--format", "json", "--quiet"])
    document = json.loads(capsys.readouterr().out)
    section = README.split("## The result document")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", section, re.MULTILINE)
    documented = {name for first, _ in rows for name in re.findall(r"`(\w+)`", first)}
    assert documented == set(document)
    for first, content in rows:
        name = re.findall(r"`(\w+)`", first)[0]
        inner = (document[name] or [None])[0] if isinstance(document[name], list) else document[name]
        if isinstance(inner, dict) and name != "environment":
            mentioned = set(re.findall(r"`(\w+)`", content))
            assert set(inner) <= mentioned, name


def test_conventions_of_reports_are_those_of_this_page():
    section = README.split("\n## What is counted\n")[1].split("\n## ")[0]
    words = " ".join(section.split())
    for sentence in CONVENTIONS:
        assert sentence in words
    assert set(PRICES) == set(PROFILES)
    for name in ("micronet-2019-06", "micronet-2019-final"):
        assert f"| `{name}` | {PRICES[name][0]} | {PRICES[name][1]} |" in section


def test_commands_of_the_section_on_reports_run(folder, capsys):
    exec(compile(_programs()[0], "README.md", "exec"), {})
    run = ["eval", "--checkpoint", "model.npz", "--text", "book.txt", "--oov", "unk", "--quiet", "--output"]
    for name in ("result.json", "first.json", "second.json"):
        assert cli.main([*run, name]) == 0
    commands = re.findall(r"^    lm-meter (report .*)$", README, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert cli.main(shlex.split(command)) == 0
    assert Path("calculation.md").read_text(encoding="utf-8").startswith("# Report of result.json\n")
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_page_says_which_tokenizers_of_gguf_files_are_read():
    """Those with byte-level pairs alone: most Llama files have a SentencePiece model."""
    words = " ".join(README.split())
    assert (
        "Of GGUF files those are read whose tokenizer is a byte-level one (`tokenizer.ggml.model` is `gpt2`); "
        "those with a SentencePiece model (`llama`) are refused." in words
    )


def test_price_lists_are_all_documented():
    for name in PROFILE_NAMES:
        assert f"`{name}`" in README


def test_printed_result_is_what_the_command_prints():
    result = lm_meter.evaluate(text=sample_text())
    expected = result_table(result).splitlines()
    printed = re.search(r"^```text\n(.*?)^```$", README, re.MULTILINE | re.DOTALL).group(1).splitlines()
    # All but the place of the checkpoint and what depends on the machine.
    assert printed[1 : printed.index("speed")] == expected[1 : expected.index("speed")]


def test_shipped_checkpoint_is_the_one_described():
    page = (Path(__file__).parents[1] / "checkpoints" / "README.md").read_text(encoding="utf-8")
    checkpoint = default_checkpoint()
    assert f"`{lm_meter.Checkpoint(checkpoint).sha256()}`" in page
    assert f"{checkpoint.stat().st_size:,} bytes" in page
    assert checkpoint.stat().st_size <= 8_000_000


def _check_score(page, shipped, tensors):
    """Storage, the tokenizer's tables and operations of a page add up, but for the rounding of each."""
    pattern = r"test set \| ([0-9.]+) \+ ([0-9.]+) \(the tokenizer\) \+ ([0-9.]+) = ([0-9.]+) \|$"
    found = re.search(pattern, page, re.MULTILINE).groups()
    bits = load_tokenizer(shipped).tables().bits
    assert f"{float(priced_parameters(tensors, PROFILES['micronet-2019-06'])) / 159e6:.5f}" == found[0]
    assert f"{bits / 16 / 159e6:.5f}" == found[1]
    assert sum(map(float, found[:3])) == pytest.approx(float(found[3]), abs=2e-5)


def test_second_checkpoint_is_what_its_command_makes_of_the_first(tmp_path):
    folder = default_checkpoint().parent
    page = (folder / "README.md").read_text(encoding="utf-8").split("\n## The second shipped checkpoint\n")[1]
    shipped = lm_meter.Checkpoint(folder / "lstm-small-int8.npz")
    assert f"`{shipped.sha256()}`" in page
    tensors = tensors_of(shipped)
    size = shipped.path.stat().st_size
    assert f"{size:,} bytes; {total_bits(tensors):,} bits for inference" in page

    (command,) = re.findall(r"^    lm-meter (quantize lstm-small\.npz .*?)\n\n", page, re.MULTILINE | re.DOTALL)
    arguments = shlex.split(command.replace("\\\n", " "))
    arguments[1:3] = [str(default_checkpoint()), str(tmp_path / "made.npz")]
    assert cli.main([*arguments, "--quiet"]) == 0
    assert (tmp_path / "made.npz").read_bytes() == shipped.path.read_bytes()

    _check_score(page, shipped, tensors)


def test_third_checkpoint_is_the_one_described():
    folder = default_checkpoint().parent
    page = (folder / "README.md").read_text(encoding="utf-8").split("\n## The third shipped checkpoint\n")[1]
    shipped = lm_meter.Checkpoint(folder / "transformer-small.npz")
    assert f"SHA-256 of the third | `{shipped.sha256()}`" in page
    tensors = tensors_of(shipped)
    numbers = sum(tensor.count for tensor in tensors)
    size = shipped.path.stat().st_size
    assert f"{size:,} bytes; {numbers:,} numbers, {total_bits(tensors):,} bits for inference" in page
    _check_score(page, shipped, tensors)
    # Which checkpoint it was quantised from stands in the file.
    (first,) = re.findall(r"SHA-256 of `first.npz`: `(\w+)`", page)
    assert first in shipped.config["origin"]
    # What PyTorch found for the sample is what the entry claims.
    (nats, claimed) = re.findall(r"^\| sample text \| 5,163 \| ([0-9,.]+) and ([0-9.]+) ", page, re.MULTILINE)[0]
    assert f"value = {claimed}, " in entry_path("transformer-small").read_text(encoding="utf-8")
    assert f"{math.exp(float(nats.replace(',', '')) / 4162):.4f}" == f"{float(claimed):.4f}"
