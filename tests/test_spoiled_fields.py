"""Every field of every document that is read, spoiled in turn: each command prints, or refuses in a line; none crashes.

Documents that are refused when they are loaded are so by one schema, for every command. What passes it goes through
every command that reads such a document: seeded samples, as the whole of it takes minutes (``SAMPLE``, None: all).
"""

import json
import random
import warnings

import numpy as np
import pytest
from entry_programs import program, vocabulary
from spoiled_fields import SPOILS, places, spoiled
from tiny import TEXT, tiny_checkpoint

import lm_meter
from lm_meter import ConfigError, ForeignEntry, LmMeterError, RunOptions, cli, evaluation, load_result
from lm_meter.entry import read_entry
from lm_meter.pass_files import PassFiles
from lm_meter.saved_state import SavedState, read_state, save_state
from lm_meter.validation import validate

SAMPLE = 25
ONE_THREAD = RunOptions(threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, a text, a result with records of each kind and a state, and a foreign entry's result."""
    folder = tmp_path_factory.mktemp("spoiled")
    (folder / "book.txt").write_text(TEXT * 8, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "stream_bytes_per_second", lambda *_: 1e9)
        model = tiny_checkpoint(folder / "model.npz")
        for suffix in ("npz", "csv", "parquet"):
            files = PassFiles(state=folder / f"state.{suffix}", records=folder / f"records.{suffix}")
            options = RunOptions(threads=1, continuous_cache="3,0.3,0.1")
            result = lm_meter.evaluate(model, text=folder / "book.txt", options=options, files=files)
            result.save(folder / f"{suffix}.json")
            result.document["records"] = None  # with whose hash the records need not agree
            result.save(folder / f"{suffix}.bare.json")
        entry = ForeignEntry(program(folder), vocabulary(folder))
        lm_meter.evaluate_entry(entry, text=folder / "book.txt").save(folder / "foreign.json")
    claims = 'text = "book.txt"\ncheckpoint = "model.npz"\n[claims]\nparameters = 300\nregions = { "lstm.0" = 41 }\n'
    (folder / "validated.toml").write_text(claims, encoding="utf-8")
    (folder / "validation.json").write_text(json.dumps(validate(read_entry(folder / "validated.toml"))))
    return folder


@pytest.fixture
def refused(capsys):
    """Runs a command that may print, find differences, or refuse in one line; True where it refused."""

    def run(*command):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            status = cli.main([*map(str, command)])
        printed = capsys.readouterr()
        assert status in (0, 1, 2), command
        if status == 2:
            *warned, error = printed.err.splitlines()
            assert error.startswith("lm-meter: error: ")
            assert all(line.startswith("lm-meter: warning: ") for line in warned)
        return status == 2

    return run


def spoils(document):
    """Each value at each place."""
    return [(path, value) for path in places(document) for value in SPOILS if path[:1] != ("result",) or len(path) == 1]


def loadable(document, folder):
    """Spoiled documents that pass the schema."""
    path = folder / "spoiled.json"
    for place, value in spoils(document):
        made = spoiled(document, place, value)
        path.write_text(json.dumps(made))
        try:
            load_result(path)
        except LmMeterError:
            continue
        yield place, made


@pytest.mark.parametrize("name", ["npz", "foreign", "validation"])
def test_results(name, folder, refused, tmp_path):
    document = json.loads((folder / f"{name}.json").read_text())
    found = list(loadable(document, folder))
    assert found  # names, for example, may be any
    for _, made in random.Random(1).sample(found, min(SAMPLE or len(found), len(found))):
        path = folder / "spoiled.json"
        path.write_text(json.dumps(made))
        refused("rescore", path, "--profile", "flops")
        refused("rank", path, folder / "csv.json")
        refused("report", path, "--markdown", tmp_path / "r.md", "--html", tmp_path / "r.html")
        refused("compare", path, folder / "csv.json")
        if name == "foreign":
            refused("verify", path, "--quiet", "--entry", made["entry"]["command"])
        else:
            refused("verify", path, "--quiet", "--threads", "1")
            refused("verify", path, "--quiet", "--threads", "1", "--fraction", "0.5", "--seed", "1")


@pytest.mark.parametrize("fraction", [[], ["--fraction", "0.5"]])
@pytest.mark.parametrize("value", [None, {}, {"profile": ["x"]}])
def test_operations_that_are_none(value, fraction, folder, refused):
    """As was found by use."""
    document = json.loads((folder / "npz.json").read_text())
    (folder / "spoiled.json").write_text(json.dumps({**document, "operations_per_token": value}))
    assert refused("verify", folder / "spoiled.json", "--quiet", *fraction)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("operations_per_token",), None, "operations_per_token is None; write it again with eval --output"),
        (("operations_per_token",), {}, "has no operations_per_token.profile; write it again with eval --output"),
        (
            ("operations_per_token", "profile"),
            "x",
            "operations_per_token.profile is 'x'; expected one of micronet-2019-06, micronet-2019-final, flops, macs, "
            "bops; write it again with eval --output",
        ),
        (
            ("operations_per_token", "by_kind", "add"),
            "x",
            "operations_per_token.by_kind.add is 'x'; write it again with eval --output",
        ),
        (("score",), None, "score is None; write it again with eval --output"),
        (("storage", "parameters"), -1, "storage.parameters is -1; write it again with eval --output"),
        (
            ("text", "bytes_in_long_tokens"),
            None,
            "text.bytes_in_long_tokens is None, but not each of unscored_bytes, lost_characters, longest_token, "
            "bytes_in_long_tokens, word_tokens_replaced; write it again with eval --output",
        ),
    ],
)
def test_prices_have_their_fields(place, value, message, folder):
    document = json.loads((folder / "npz.json").read_text())
    path = folder / "spoiled.json"
    path.write_text(json.dumps(spoiled(document, place, value)))
    with pytest.raises(ConfigError) as caught:
        load_result(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_part_is_verified_whose_histogram_has_a_region_too_many(folder, capsys):
    """Of a continuous cache, which by its options was not run."""
    document = json.loads((folder / "npz.json").read_text())
    path = folder / "spoiled.json"
    path.write_text(json.dumps(spoiled(document, ("run", "options", "continuous_cache"), None)))
    assert cli.main(["verify", str(path), "--quiet", "--threads", "1", "--fraction", "0.5"]) == 1
    assert "continuous_cache, add of 32 and 32 bits: " in capsys.readouterr().out


def toml_of(value):
    """A value as TOML has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml_of(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    return str(value) if isinstance(value, float) and value != value else json.dumps(value)


ENTRY = {
    "checkpoint": "model.npz",
    "text": "book.txt",
    "profile": "micronet-2019-06",
    "run": {"first_token": "score", "limit": 9, "oov": "unk", "continuous_cache": "3,0.3,0.1"},
    "claims": {
        "perplexity": {"value": 35.0, "tolerance": 0.001},
        "parameters": 300,
        "operations": 318,
        "matrix_vector": 318,
        "score": 2.0,
        "regions": {"lstm.0": 41},
        "tensors": {"embedding": {"value": 7, "tolerance": 1}},
    },
}


def test_entries(folder, refused):
    found = [pair for pair in spoils(ENTRY) if pair[1] is not None]  # TOML has no null
    path, accepted = folder / "entry.toml", 0
    for place, value in found:
        entry = spoiled(ENTRY, place, value)
        path.write_text("\n".join(f"{key} = {toml_of(inner)}" for key, inner in entry.items()))
        accepted += not refused("validate", path, "--quiet")
    assert accepted > 5


def test_states(folder, refused, tmp_path):
    """With the checksum of what they have become."""
    state, path = read_state(folder / "state.npz"), tmp_path / "state"
    command = ["eval", "--checkpoint", folder / "model.npz", "--text", folder / "book.txt", "--continuous-cache"]
    command += ["3,0.3,0.1", "--quiet", "--threads", "1", "--state", path]
    draw = random.Random(1)
    for part in ("run", "progress"):
        for place, value in spoils(getattr(state, part)):
            if value != value:
                continue  # is not written
            parts = {"run": state.run, "progress": state.progress, part: spoiled(getattr(state, part), place, value)}
            save_state(SavedState(parts["run"], parts["progress"], state.arrays), path)
            (tmp_path / "state.previous").unlink(missing_ok=True)
            refused("verify", folder / "npz.json", "--quiet", "--threads", "1", "--fraction", "0.5", "--state", path)
            if draw.random() < 0.3:  # which goes on from it, or says that it cannot
                refused(*command)


def spoiled_arrays(array):
    """An array as it should not be."""
    flat = np.zeros(array.size)
    yield flat.astype("U1")
    yield flat[:0].astype(array.dtype)
    yield np.zeros((array.size, 1), array.dtype)
    yield np.zeros(max(0, array.size - 1), array.dtype)
    yield flat - 1
    yield flat + np.nan
    yield flat - np.inf
    yield flat.astype(bool)
    yield flat.astype(np.int64) - 1
    yield flat.astype(np.int64) + 2**62
    yield flat.astype(np.int64)
    yield np.zeros((), array.dtype)


def test_records_as_arrays(folder, refused, tmp_path):
    path = folder / "spoiled.npz"
    with np.load(folder / "records.npz") as file:
        whole = dict(file)
    for name, array in whole.items():
        for value in [*spoiled_arrays(array), None]:
            arrays = {key: kept for key, kept in {**whole, name: value}.items() if kept is not None}
            np.savez(path, **arrays)
            read_by_every_command(path, "npz", folder, refused, tmp_path)


def read_by_every_command(records, suffix, folder, refused, tmp_path):
    """Where one of them refuses the records for what they are, the others do: they are read in one place."""
    result = folder / f"{suffix}.bare.json"
    if refused("compare", result, folder / "csv.json", "--records", records, folder / "records.csv"):
        return
    refused("report", result, "--records", records, "--markdown", tmp_path / "r.md")
    refused("verify", result, "--quiet", "--threads", "1", "--records", records, "--fraction", "0.5")


CELLS = ("", "x", "-1", str(2**70), "1e300", "nan", "-inf", "[]", "\ufeff", '"')


@pytest.mark.parametrize("row", [0, 1, 5])
def test_records_as_csv(row, folder, refused, tmp_path):
    path = folder / "spoiled.csv"
    lines = (folder / "records.csv").read_text(encoding="utf-8").split("\n")
    cells = lines[row].split(",")
    for number in range(len(cells)):
        for value in CELLS:
            changed = ",".join([*cells[:number], value, *cells[number + 1 :]])
            path.write_text("\n".join([*lines[:row], changed, *lines[row + 1 :]]), encoding="utf-8")
            read_by_every_command(path, "csv", folder, refused, tmp_path)


def test_records_as_parquet(folder, refused, tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path, table = folder / "spoiled.parquet", parquet.read_table(folder / "records.parquet")
    for number, name in enumerate(table.column_names):
        for value in (None, {"x": 1}, [], "x", -1, 2**62, 1e300, float("nan"), True):
            column = arrow.array([value] * table.num_rows)
            parquet.write_table(table.set_column(number, name, column), path)
            read_by_every_command(path, "parquet", folder, refused, tmp_path)
