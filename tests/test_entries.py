"""The entries that ship with the package: their arithmetic, their runs, and what the README shows of them."""

import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hang import HANG

from lm_meter import cli
from lm_meter.arguments import ENTRY_NAMES
from lm_meter.commands import opened_checkpoint
from lm_meter.defaults import checkpoint_path, default_checkpoint, entry_path, sample_text

ROOT = Path(__file__).resolve().parents[1]
FOLDER = default_checkpoint().parent
ARITHMETIC = r"[\d_ .+*/()-]*\d[\d_ .+*/()-]*"


def _claims(name):
    """All claims of an entry by name, those of regions and tensors too."""
    claims = tomllib.loads(entry_path(name).read_text(encoding="utf-8"))["claims"]
    parts = {part: claims.pop(part) for part in ("regions", "tensors")}
    return {f"claims.{key}": value for key, value in claims.items()} | {
        f"{part}.{key}": value for part, values in parts.items() for key, value in values.items()
    }


def _validate(capsys, *arguments):
    """Exit status and table of a validation; the first line, the place of the entry, is left out."""
    status = cli.main(["validate", *map(str, arguments), "--quiet"])
    return status, capsys.readouterr().out.splitlines()[1:]


def _shown(command):
    """What the README shows below a command: runs of lines, between which something is left out."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(
        rf"^    lm-meter {re.escape(command)}\n.*?^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    )
    return [part.strip("\n").split("\n") for part in block.split("...\n")]


def _contains(printed, part):
    return any(printed[at : at + len(part)] == part for at in range(len(printed)))


def test_names_are_those_of_the_files():
    assert {f"{name}.toml" for name in ENTRY_NAMES} == {path.name for path in FOLDER.glob("*.toml")}
    assert entry_path("transformer-small") == FOLDER / "transformer-small.toml"
    # Anything else is a file of the user's.
    for name in ("entry.toml", "transformer-small.toml", "./transformer-small", "../checkpoints/transformer-small"):
        assert entry_path(name) == Path(name)


@pytest.mark.parametrize("name", ENTRY_NAMES)
def test_numbers_are_what_the_arithmetic_beside_them_gives(name):
    """A line ``# sum = number: words`` is right; a claim, but for the perplexity, ends in the sum that gives it."""
    text, claims = entry_path(name).read_text(encoding="utf-8"), _claims(name)
    steps = re.findall(rf"^# ({ARITHMETIC}) = (-?[\d_]+)(?::|$)", text, re.MULTILINE)
    assert len(steps) > 5
    for expression, value in steps:
        assert eval(expression) == int(value), expression
    proofs, table = {}, ""
    for line in text.splitlines():
        if header := re.fullmatch(r"\[(?:claims\.)?(\w+)\]", line):
            table = header[1]
        elif proof := re.fullmatch(rf'"?([\w.]+?)"? = \{{ .* \}}  # ({ARITHMETIC})(?:, .*)?', line):
            proofs[f"{table}.{proof[1]}"] = proof[2]
    assert set(proofs) == set(claims) - {"claims.perplexity"}
    for claim, expression in proofs.items():
        value = eval(expression)
        assert claims[claim]["value"] == pytest.approx(value, rel=claims[claim]["tolerance"], abs=0), claim


def test_the_regions_of_the_transformer_are_its_operations():
    claims = _claims("transformer-small")
    regions = {name: claim["value"] for name, claim in claims.items() if name.startswith("regions.")}
    once = sum(value for name, value in regions.items() if not name.startswith("regions.layers.0."))
    twice = sum(value for name, value in regions.items() if name.startswith("regions.layers.0."))  # layers 0 and 1
    assert once + 2 * twice == pytest.approx(claims["claims.operations"]["value"], rel=1e-9)


def test_the_baseline_explains_the_published_figures():
    claims = {name: claim["value"] for name, claim in _claims("lstm-baseline").items()}
    products = [claims[f"regions.{name}"] for name in ("lstm.0", "projection", "logits")]
    matrices = [claims[f"tensors.{name}"] for name in ("embedding", "lstm.0.weight", "projection.weight")]
    assert sum(products) == claims["claims.matrix_vector"] == 318_200_832
    assert sum(matrices) == 159_100_416
    assert sum(claims[f"regions.{name}"] for name in ("embedding", "lstm.0.cell", "softmax")) == (
        claims["claims.operations"] - 318_200_832
    )


def test_the_transformer_passes_and_the_readme_shows_it(capsys):
    status, printed = _validate(capsys, "transformer-small")
    assert status == 0
    assert printed[-1] == "PASS"
    for part in _shown("validate transformer-small"):
        assert _contains(printed, part)


def test_a_claim_of_the_transformer_can_fail(tmp_path, capsys):
    text = entry_path("transformer-small").read_text(encoding="utf-8")
    wrong = text.replace("context = 32", "context = 31").replace('"transformer-small.npz"', '"none.npz"')
    (tmp_path / "entry.toml").write_text(wrong, encoding="utf-8")
    status, printed = _validate(capsys, tmp_path / "entry.toml", "--checkpoint", FOLDER / "transformer-small.npz")
    verdicts = {row.split()[0]: row.split()[-1] for row in printed if row.endswith(("PASS", "FAIL")) and row[0] == " "}
    assert status == 1
    # A shorter context costs less and predicts worse; what one prediction needs and what is stored stay the same.
    assert [verdicts[name] for name in ("perplexity", "operations", "layers.0.attention.key")] == ["FAIL"] * 3
    assert [verdicts[name] for name in ("parameters", "logits", "layers.2.attention.query")] == ["PASS"] * 3


def test_the_baseline_passes_at_full_size(shared_data, tmp_path, capsys):
    counts_file = shared_data / "wikitext-103" / "vocab_counts.tsv"
    options = ["--weights", "unigram", "--dtype", "float16", "--vocab-counts", counts_file, "--out"]
    out = tmp_path / "baseline.npz"
    subprocess.run([sys.executable, ROOT / "scripts" / "make_baseline.py", *options, out], check=True, timeout=HANG)
    status, printed = _validate(capsys, "lstm-baseline", "--checkpoint", out)
    out.unlink()  # 322 MB
    assert status == 0
    assert printed[-1] == "PASS"
    for part in _shown("validate lstm-baseline --checkpoint baseline.npz"):
        assert _contains(printed, part)

    lines = counts_file.read_text(encoding="utf-8").split("\n")
    counts = {word: int(count) for word, count in (line.rsplit("\t", 1) for line in lines if line)}
    words = [word for line, _ in sample_text().lines() for word in [*line, "<eos>"]][:200]
    total = sum(counts.values())
    mean = sum(math.log(total / counts.get(word, counts["<unk>"])) for word in words) / 200
    assert _claims("lstm-baseline")["claims.perplexity"]["value"] == pytest.approx(math.exp(mean), rel=1e-7)
    assert f"{mean:.6f} nats" in entry_path("lstm-baseline").read_text(encoding="utf-8")


def test_shipped_checkpoints_are_run_by_their_names(tmp_path, monkeypatch):
    """As README.md writes them; a file of one's own of that name comes first."""
    shipped = default_checkpoint().parent
    monkeypatch.chdir(tmp_path)
    for name in ("lstm-small.npz", "lstm-small-int8.npz", "transformer-small.npz"):
        assert checkpoint_path(name) == shipped / name
        assert checkpoint_path(f"models/{name}") == Path("models", name)
    assert opened_checkpoint("lstm-small-int8.npz").path == shipped / "lstm-small-int8.npz"
    assert checkpoint_path("lstm-small") == Path("lstm-small")
    assert checkpoint_path("lstm-baseline.toml") == Path("lstm-baseline.toml")
    (tmp_path / "lstm-small.npz").write_bytes(b"")
    assert checkpoint_path("lstm-small.npz") == Path("lstm-small.npz")
