"""Entries: what they claim is held against a run; what is wrong with one is said in one line."""

import json

import numpy as np
import pytest
from tiny import TEXT, tiny_checkpoint
from tiny_transformer import transformer_parts

from lm_meter import (
    Checkpoint,
    ConfigError,
    RunOptions,
    cli,
    evaluate,
    shared_arguments,
    validation,
    verdicts,
    write_checkpoint,
)
from lm_meter.defaults import sample_path
from lm_meter.entry import CLAIMS, TEMPLATE, Claim, read_entry
from lm_meter.validation import validate
from lm_meter.verdicts import judge

FILES = 'checkpoint = "model.npz"\ntext = "text"\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    tiny_checkpoint(tmp_path / "model.npz")
    return tmp_path


def _entry(folder, content):
    (folder / "entry.toml").write_text(content, encoding="utf-8")
    return folder / "entry.toml"


def _measured(folder, **options):
    return evaluate(folder / "model.npz", text=folder / "text", options=RunOptions(**options))


def test_claims_that_hold_and_one_that_does_not(folder, capsys):
    reference = _measured(folder)
    region = reference["operations_per_token"]["by_region"]["lstm.0"]
    with np.load(folder / "model.npz") as arrays:
        sizes = {name: arrays[name].size for name in ("embedding", "softmax.weight")}
    claims = f"""
[claims]
perplexity = {{ value = {reference.perplexity!r}, tolerance = 1e-9 }}
parameters = {reference["storage"]["parameters"]!r}
operations = {reference["operations_per_token"]["total"] * 1.009!r}
matrix_vector = {reference["operations_per_token"]["matrix_vector"]!r}
score = {reference["score"]["total"]!r}
[claims.regions]
"lstm.0" = {region!r}
softmax = 1
[claims.tensors]
embedding = {{ value = {sizes["embedding"]}, tolerance = 0 }}
"softmax.weight" = 1
"""
    path = _entry(folder, FILES + claims)
    assert cli.main(["validate", str(path), "--quiet", "--output", str(folder / "v.json")]) == 1
    printed = capsys.readouterr().out
    assert printed.count("PASS") == 7
    assert printed.rstrip().endswith("FAIL")
    shown = f"{reference.perplexity:,.5f}"
    assert f"35 or less, measured {shown}: not asked, not the whole test set as is" in printed
    document = json.loads((folder / "v.json").read_text(encoding="utf-8"))
    assert [row["passes"] for row in document["claims"]] == [True] * 5
    # The largest difference comes first.
    assert [(row["name"], row["passes"]) for row in document["regions"]] == [("softmax", False), ("lstm.0", True)]
    assert [(row["name"], row["measured"], row["passes"]) for row in document["tensors"]] == [
        ("softmax.weight", sizes["softmax.weight"], False),
        ("embedding", sizes["embedding"], True),
    ]
    assert document["result"]["nll_nats"] == reference["nll_nats"]

    claims = claims.replace("softmax = 1", "").replace('"softmax.weight" = 1', "")
    assert cli.main(["validate", str(_entry(folder, FILES + claims)), "--quiet"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("PASS")


@pytest.mark.parametrize(
    ("meets", "status", "words"), [(True, 0, "met\nPASS\n"), (False, 1, "NOT MET\nFAIL\n"), (None, 0, " as is\nPASS\n")]
)
def test_an_entry_that_does_not_meet_the_gate_fails(meets, status, words, folder, capsys, monkeypatch):
    """Although all claims hold. Only the whole test set asks it, which a test does not run over."""

    def evaluated(*args, **options):
        result = evaluate(*args, **options)
        result.document["score"]["meets_gate"] = meets
        return result

    monkeypatch.setattr(validation, "evaluate", evaluated)
    claims = f"[claims]\nperplexity = {_measured(folder).perplexity!r}\n"
    path = _entry(folder, FILES + claims)
    assert cli.main(["validate", str(path), "--quiet", "--output", str(folder / "v.json")]) == status
    assert capsys.readouterr().out.endswith(words)
    document = json.loads((folder / "v.json").read_text(encoding="utf-8"))
    assert (document["passes"], document["gate"]["meets"]) == (status == 0, meets)


def test_the_run_is_the_one_that_the_entry_names(folder):
    write_checkpoint(folder / "model.npz", *transformer_parts("llama"))
    entry = (
        'profile = "flops"\n[run]\npolicy = "recompute"\ncontext = 4\nfirst_token = "skip"\n[claims]\nparameters = 1\n'
    )
    found = validate(read_entry(_entry(folder, FILES + entry)))
    reference = _measured(folder, policy="recompute", context=4, first_token="skip")
    assert found["result"]["nll_nats"] == reference["nll_nats"]
    assert (found["result"]["online"]["policy"], found["result"]["online"]["context"]) == ("recompute", 4)
    assert found["result"]["operations_per_token"]["profile"] == "flops"


def test_another_checkpoint_stands_in_for_the_one_that_is_named(folder, capsys):
    claims = 'text = "text"\n[claims]\nparameters = { value = PARAMETERS, tolerance = 0 }\n'
    claims = claims.replace("PARAMETERS", repr(_measured(folder)["storage"]["parameters"]))
    path, other = _entry(folder, claims), str(folder / "model.npz")
    assert cli.main(["validate", str(path), "--checkpoint", other, "--quiet"]) == 0
    path = _entry(folder, 'checkpoint = "none.npz"\n' + claims)
    assert cli.main(["validate", str(path), "--checkpoint", other, "--quiet", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out.split("PASS\n")[-1])["result"]["checkpoint"]["path"] == other
    assert cli.main(["validate", str(path), "--quiet"]) == 2
    assert "none.npz" in capsys.readouterr().err
    assert cli.main(["validate", str(path), "--checkpoint", other, "--output", other]) == 2
    assert "is an input of this run" in capsys.readouterr().err


def test_the_sample_text_is_a_corpus_of_entries(folder):
    entry = read_entry(_entry(folder, 'checkpoint = "model.npz"\ncorpus = "sample"\n[claims]\nscore = 1\n'))
    assert (entry.text, entry.corpus) == (sample_path(), None)


def test_differences_that_are_rounded_to_zero_have_no_sign(folder, capsys):
    value = _measured(folder)["operations_per_token"]["total"]
    path = _entry(folder, FILES + f"[claims]\noperations = {value + 1e-7!r}\nscore = 0.01\n")
    cli.main(["validate", str(path), "--quiet"])
    printed = capsys.readouterr().out
    (row,) = (line.split() for line in printed.splitlines() if line.startswith("  operations"))
    assert row[3:] == ["0", "1", "%", "PASS"]


def test_tolerances_are_fractions_of_the_claim():
    assert judge(Claim("x", 200.0, 0.01), 202.0).passes
    assert judge(Claim("x", 200.0, 0.01), 198.0).passes
    assert not judge(Claim("x", 200.0, 0.01), 202.1).passes
    assert not judge(Claim("x", 200.0, 0.01), None).passes


def test_whoever_runs_an_entry_has_the_last_word_on_its_tolerances(folder, capsys):
    """A tolerance of 1e300 passes anything; 1 % is the most without another word, however exact the claim."""
    operations = _measured(folder)["operations_per_token"]["total"]

    def run(value, tolerance, *options):
        claims = f"[claims]\noperations = {{ value = {value!r}, tolerance = {tolerance!r} }}\n"
        status = cli.main(["validate", str(_entry(folder, FILES + claims)), "--quiet", *options])
        out = capsys.readouterr().out
        (row,) = (line for line in out.splitlines() if line.startswith("  operations"))
        return status, row.rpartition("%")[2].strip(), out

    assert run(1.0, 1e300)[:2] == (1, "TOO WIDE")
    assert run(operations, 0.02)[:2] == (1, "TOO WIDE")
    assert run(operations, 0.01)[:2] == (0, "PASS")
    assert run(operations, 0.02, "--max-tolerance", "0.02")[:2] == (0, "PASS")
    assert run(operations, 0.01, "--max-tolerance", "0")[:2] == (1, "TOO WIDE")
    assert "none of more than 1 % passes (--max-tolerance)\n" in run(operations, 0.01)[2]
    for wrong in ("-1", "nan", "inf"):
        assert cli.main(["validate", str(folder / "entry.toml"), "--quiet", f"--max-tolerance={wrong}"]) == 2
        error = f"max tolerance is {float(wrong)!r}; expected a fraction of a claim, such as 0.01\n"
        assert error in capsys.readouterr().err


def test_the_widest_tolerance_of_help_is_that_of_the_library():
    assert shared_arguments.MAX_TOLERANCE == verdicts.MAX_TOLERANCE


def test_a_validation_says_what_has_to_be_known_of_its_result(folder, capsys):
    """Before the verdicts: an entry may choose that unknown words are replaced. Then it passes nothing."""
    (folder / "text").write_text(TEXT + " zebra\n", encoding="utf-8")
    parameters = _measured(folder, oov="unk")["storage"]["parameters"]
    path = _entry(folder, FILES + f'[run]\noov = "unk"\n[claims]\nparameters = {parameters!r}\n')
    assert cli.main(["validate", str(path), "--quiet"]) == 1
    printed = capsys.readouterr().out
    assert "\n1 word replaced: of 25 word tokens 1 are not in the vocabulary" in printed
    assert printed.endswith("\nno claim passes, as words were replaced\nFAIL\n")


# files that an entry names


def _outside(folder, way, file):
    """A name that leads to a file beside the entry's folder."""
    if way == "link":
        (folder / "link").symlink_to(folder.parent / file)
    if way == "folder":
        (folder / "into").symlink_to(folder.parent, target_is_directory=True)
    return {"absolute": str(folder.parent / file), "up": f"../{file}", "link": "link", "folder": f"into/{file}"}[way]


@pytest.mark.parametrize("key", ["checkpoint", "text"])
@pytest.mark.parametrize("way", ["absolute", "up", "link", "folder"])
def test_files_outside_an_entrys_folder_are_refused_unless_allowed(way, key, folder, capsys):
    inner = folder / "entry"
    inner.mkdir()
    for name in ("model.npz", "text"):
        (inner / name).write_bytes((folder / name).read_bytes())
    names = {"checkpoint": "model.npz", "text": "text"}
    names[key] = _outside(inner, way, names[key])
    parameters = _measured(folder)["storage"]["parameters"]
    content = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    path = _entry(inner, content + f"[claims]\nparameters = {parameters!r}\n")
    assert cli.main(["validate", str(path), "--quiet"]) == 2
    assert capsys.readouterr().err == (
        f"lm-meter: error: {path}: {key} is {names[key]!r:.60}, which leads out of the entry's folder; expected a file "
        "in it, or --allow-outside of whoever runs it\n"
    )
    assert cli.main(["validate", str(path), "--quiet", "--allow-outside"]) == 0
    if key == "checkpoint":  # whoever runs it names another one, which may lie anywhere
        assert cli.main(["validate", str(path), "--quiet", "--checkpoint", str(folder / "model.npz")]) == 0


def test_files_below_an_entrys_folder_are_in_it(folder):
    (folder / "below").mkdir()
    (folder / "model.npz").rename(folder / "below" / "real.npz")
    (folder / "model.npz").symlink_to(folder / "below" / "real.npz")
    entry = read_entry(_entry(folder, FILES.replace('"text"', '"below/../text"') + "[claims]\nscore = 1\n"))
    assert not entry.text_is_outside


@pytest.mark.parametrize("content", [b"the cat\nroot:x:0:0 sat\n", b"the cat\n\xffroot sat\n"])
def test_no_error_shows_what_stands_in_a_text_outside_an_entrys_folder(content, folder, capsys):
    (folder / "secret").write_bytes(content)
    inner = folder / "entry"
    inner.mkdir()
    (inner / "model.npz").write_bytes((folder / "model.npz").read_bytes())
    path = _entry(inner, 'checkpoint = "model.npz"\ntext = "../secret"\n[claims]\nscore = 1\n')
    assert cli.main(["validate", str(path), "--quiet", "--allow-outside"]) == 2
    place = inner / "../secret"
    assert capsys.readouterr().err == (
        f"lm-meter: error: {place}: line 2: cannot be scored; what stands there is not shown, as the file lies outside "
        f"the folder of {path}\n"
    )
    # Inside the folder it is the author's own, and shown.
    (inner / "secret").write_bytes(content)
    path = _entry(inner, 'checkpoint = "model.npz"\ntext = "secret"\n[claims]\nscore = 1\n')
    assert cli.main(["validate", str(path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "word 'root:x:0:0' is not in" in error or "is not UTF-8 (0xff)" in error


def test_the_template_is_an_entry(folder, capsys):
    assert cli.main(["validate", "--template"]) == 0
    assert capsys.readouterr().out == TEMPLATE
    entry = read_entry(_entry(folder, TEMPLATE))
    assert entry.corpus == ("wikitext-103", "test")
    assert [claim.name for claim in entry.claims] == list(CLAIMS)
    assert entry.claims[0].tolerance == 0.001


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("checkpoint = ", "; expected a file as --template prints it"),
        (FILES + 'colour = "red"\n[claims]\nscore = 1', "has an unknown key colour; expected checkpoint, text, corpus"),
        (FILES + "[claims]\nperplexty = 3", "has an unknown key claims.perplexty; expected perplexity, parameters"),
        (FILES + "[run]\nwindow = 3\n[claims]\nscore = 1", "has an unknown key run.window; expected block, threads"),
        (FILES, "has no claims; expected at least one of perplexity, parameters, operations, matrix_vector, score in"),
        (FILES + "claims = 3", "claims is 3; expected a table"),
        (FILES + '[claims]\nscore = "low"', "claims.score: value is 'low'; expected a number, or { value = NUMBER"),
        (FILES + "[claims]\nscore = nan", "claims.score: value is nan; expected a number"),
        (FILES + "[claims]\nscore = { value = 1, tolerance = -1 }", "claims.score: tolerance is -1; expected a number"),
        (FILES + "[claims]\nscore = { limit = 1 }", "has an unknown key claims.score.limit; expected value, tolerance"),
        ('text = "text"\n[claims]\nscore = 1', "no checkpoint; expected the name of a file, or --checkpoint"),
        ('checkpoint = "model.npz"\n[claims]\nscore = 1', "has neither of text and corpus; expected one of them"),
        (FILES + 'corpus = "wikitext-103"\n[claims]\nscore = 1', "has both of text and corpus; expected one of them"),
        ('checkpoint = 3\ntext = "t"\n[claims]\nscore = 1', "checkpoint is 3; expected a string"),
        ('checkpoint = "a\\u0000b"\ntext = "t"\n[claims]\nscore = 1', "checkpoint is 'a\\x00b'; expected a string"),
        (FILES + f"[claims]\nscore = {'9' * 400}", "claims.score: value is 9999"),
        (FILES + f"[claims]\nscore = {'9' * 5000}", "is not TOML (Exceeds the limit"),
        (FILES + "[claims]\nscore = " + "[" * 5000, "is not TOML (it is nested too deeply)"),
        (FILES + "[run]\nblock = 0\n[claims]\nscore = 1", "run: block is 0; expected 1 to 4096"),
        (FILES + "[run]\npolicy = 3\n[claims]\nscore = 1", "run: policy is 3; expected a string"),
        (
            FILES + 'split = "valid"\n[claims]\nscore = 1',
            "split is 'valid', a part of a corpus; expected no text beside it",
        ),
        (FILES + '[claims.regions]\n"lstm.7" = 1', "claims.regions has 'lstm.7', which is no region of the model"),
        (FILES + '[claims.tensors]\n"lstm.7" = 1', "claims.tensors has 'lstm.7', which is no tensor of the model"),
        (FILES + "[claims]\ntensors = 1", "tensors is 1; expected a table"),
        (
            'checkpoint = "model.npz"\ncorpus = "sample"\nsplit = "test"\n[claims]\nscore = 1',
            "split is 'test', but the sample text is whole; expected no split",
        ),
    ],
)
def test_entries_that_make_no_sense(content, message, folder, capsys):
    path = _entry(folder, content)
    assert cli.main(["validate", str(path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"lm-meter: error: {path}: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("table", "name", "expected"),
    [("regions", "continuous_cache", "embedding, lstm.0, "), ("tensors", "lstm.0", "embedding, lstm.0.weight, ")],
)
def test_names_are_checked_before_the_run(table, name, expected, folder, monkeypatch):
    def run(*_, **__):
        raise AssertionError

    monkeypatch.setattr(validation, "evaluate", run)
    with pytest.raises(ConfigError) as caught:
        validate(read_entry(_entry(folder, FILES + f'[claims.{table}]\n"{name}" = 1')))
    assert f"claims.{table} has '{name}', which is no {table[:-1]} of the model; expected one of " in str(caught.value)
    assert expected in str(caught.value)


def test_a_continuous_cache_of_the_run_is_a_region(folder):
    run = '[run]\ncontinuous_cache = "3,0.3,0.1"\n[claims.regions]\ncontinuous_cache = 1\n'
    ((verdict,), result) = (validate(read_entry(_entry(folder, FILES + run)))[key] for key in ("regions", "result"))
    assert verdict["measured"] == result["operations_per_token"]["by_region"]["continuous_cache"] > 1


@pytest.mark.parametrize("kind", ["lstm", "continuous", "transformer-xl", "mixtral"])
def test_regions_that_are_known_are_those_of_the_run(kind, folder):
    if kind != "lstm":
        write_checkpoint(folder / "model.npz", *transformer_parts(kind))
    reference = [region["name"] for region in _measured(folder)["regions"]]
    opened = Checkpoint(folder / "model.npz")
    assert [region.name for region in opened.architecture.regions(opened)] == reference


def test_without_an_entry(tmp_path, capsys):
    assert cli.main(["validate"]) == 2
    assert "validate: names no entry; expected ENTRY.toml, or --template for an example" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read \(No such file or directory\)"):
        read_entry(tmp_path / "none.toml")


def test_an_interrupted_run_validates_nothing(folder, monkeypatch):
    from lm_meter import validation

    class Interrupted:
        def __getitem__(self, key):
            return key == "partial"

    monkeypatch.setattr(validation, "evaluate", lambda *_, **__: Interrupted())
    with pytest.raises(KeyboardInterrupt):
        validate(read_entry(_entry(folder, FILES + "[claims]\nscore = 1")))
