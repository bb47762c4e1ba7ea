"""Verifying results: what is as it was is identical, and whatever was altered is found and named."""

import copy
import hashlib
import json
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import TEXT, WORDS, tiny_checkpoint
from tiny_transformer import transformer_parts

import lm_meter
from lm_meter import cli, record_findings
from lm_meter.corpora import WIKITEXT_103
from lm_meter.errors import CheckpointError, ConfigError, TextError
from lm_meter.hash_chain import HashChain
from lm_meter.pass_files import PassFiles
from lm_meter.record_findings import stored_records
from lm_meter.records import read_records, write_records
from lm_meter.repetition import checkpoint_of, corpus_of, options_of, text_of
from lm_meter.slice_run import Slice
from lm_meter.verification import compare_links, slice_of

TEXTS = TEXT * 130  # 2,990 word tokens: three links


def _result(folder, kind="lstm", **options):
    if kind == "lstm":
        tiny_checkpoint(folder / "model.npz")
    else:
        lm_meter.write_checkpoint(folder / "model.npz", *transformer_parts(kind, WORDS))
    (folder / "text").write_text(TEXTS, encoding="utf-8")
    run = lm_meter.RunOptions(**options)
    result = lm_meter.evaluate(folder / "model.npz", text=folder / "text", options=run)
    result.save(folder / "r.json")
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a checkpoint, a text and a result."""
    folder = tmp_path_factory.mktemp("verify")
    return SimpleNamespace(folder=folder, result=_result(folder))


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it to be spoilt."""
    return shutil.copytree(made.folder, tmp_path / "copy")


@pytest.fixture
def verify(capsys):
    """Status and document of a verification."""

    def run(folder, *options):
        status = cli.main(["verify", str(folder / "r.json"), "--quiet", "--format", "json", *map(str, options)])
        return status, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refused(capsys):
    """The message of a verification that is refused."""

    def run(folder, *options):
        assert cli.main(["verify", str(folder / "r.json"), *map(str, options)]) == 2
        return capsys.readouterr().err.removeprefix("lm-meter: error: ").strip()

    return run


def _alter(folder, path, value):
    document = json.loads((folder / "r.json").read_text())
    *places, last = path.split(".")
    place = document
    for key in places:
        place = place[int(key) if isinstance(place, list) else key]
    place[int(last) if isinstance(place, list) else last] = value
    (folder / "r.json").write_text(json.dumps(document))


@pytest.mark.parametrize("options", [(), ("--block", 1), ("--block", 7, "--threads", 1), ("--threads", 3)])
def test_a_result_is_identical_with_any_block_and_threads(options, made, verify):
    status, found = verify(made.folder, *options)
    assert (status, found["identical"], found["whole"], found["findings"]) == (0, True, True, [])


@pytest.mark.parametrize("kind", ["llama", "micronet"])
@pytest.mark.parametrize("options", [{"policy": "recompute", "context": 5}, {"policy": "segment:2", "context": 6}])
def test_results_of_transformers(kind, options, tmp_path, verify):
    _result(tmp_path, kind, **options, first_token="skip", continuous_cache="7,0.5,0.2")
    assert verify(tmp_path)[0] == 0
    status, found = verify(tmp_path, "--fraction", 0.3, "--seed", 2)
    assert (status, found["last"] - found["first"] < found["scored"]) == (0, True)


def test_a_result_of_the_first_words(tmp_path, verify):
    _result(tmp_path, limit=1500)
    assert verify(tmp_path)[0] == 0


def test_a_row_of_no_operations_that_was_added_is_found(folder, verify):
    document = json.loads((folder / "r.json").read_text())
    document["histogram"].append({**document["histogram"][0], "bits_a": 3, "count": 0})
    (folder / "r.json").write_text(json.dumps(document))
    status, found = verify(folder)
    assert (status, [finding["what"] for finding in found["findings"]]) == (1, ["count"])
    assert " of 3 and " in found["findings"][0]["message"]


def test_without_a_folder_for_temporary_files(tmp_path, refused, monkeypatch):
    _result(tmp_path)

    def none(*_, **__):
        raise FileNotFoundError(2, "No usable temporary directory")

    monkeypatch.setattr("tempfile.TemporaryDirectory", none)
    assert refused(tmp_path).startswith(
        "no folder for temporary files can be made (No usable temporary directory); set"
    )


def test_bits_of_floats_are_compared():
    one, other = np.array([0.0, 1.0, -0.0]), np.array([-0.0, 1.0, -0.0])
    assert record_findings._differ(one, other).tolist() == [0]
    assert record_findings._differ(np.arange(3), np.array([0, 2, 2])).tolist() == [1]


def test_an_altered_link_is_told_from_altered_log_probabilities(made, folder, verify):
    _alter(folder, "chain.links.2", "0" * 64)
    status, found = verify(folder)
    assert status == 1
    assert [finding["message"] for finding in found["findings"]] == [
        "chain.links.2 is not the hash of positions 1024 to 2047, but later links are as the run gives them: it was "
        "altered alone"
    ]

    log_probs = made.result.log_probs.copy()
    log_probs[1500] = np.nextafter(log_probs[1500], 0)
    links = HashChain.behind(made.result["chain"]["links"][0])
    links.add(log_probs)
    _alter(folder, "chain.links", links.links())
    status, found = verify(folder)
    assert (status, found["findings"][0]["position"]) == (1, 1024)
    assert (
        found["findings"][0]["message"]
        == "chain.links.2 is not the run's: log-probabilities at positions 1024 to 2047 are other ones"
    )


def test_an_altered_count_is_named(made, folder, verify):
    row = made.result["histogram"][3]
    _alter(folder, "histogram.3.count", row["count"] - 1)
    status, found = verify(folder)
    assert status == 1
    counts = [finding["message"] for finding in found["findings"] if finding["what"] == "count"]
    assert counts == [
        f"{row['region']}, {row['kind']} of {row['bits_a']} and {row['bits_b']} bits: {row['count'] - 1:,} operations "
        f"in the result, {row['count']:,} run again"
    ]


def test_an_altered_count_is_found_beside_a_part(made, folder, verify):
    total = sum(row["count"] for row in made.result["histogram"])
    status, found = verify(folder, "--fraction", "0.1")
    assert (status, found["counts"]) == (0, "summed by the cost laws")
    _alter(folder, "histogram.3.count", made.result["histogram"][3]["count"] - 1)
    status, found = verify(folder, "--fraction", "0.1")
    assert status == 1
    first, *others = [finding["message"] for finding in found["findings"]]
    assert first == f"all counts sum to {total - 1:,} in the result, to {total:,} by the cost laws"
    row = made.result["histogram"][3]
    assert others[0] == (
        f"{row['region']}, {row['kind']} of {row['bits_a']} and {row['bits_b']} bits: {row['count'] - 1:,} operations "
        f"in the result, {row['count']:,} by its law"
    )
    assert others[1].startswith("operations_per_token.total is ")  # what the counts give under the price list
    assert others[1].endswith(" made again")


def test_counts_that_no_law_knows_are_said_not_to_be_compared(made, verify, capsys, monkeypatch):
    def unknown(*arguments):
        raise ConfigError("experts differ")

    monkeypatch.setattr("lm_meter.verification.token_operations", unknown)
    assert verify(made.folder, "--positions", "0:1")[1]["counts"] == "not compared"
    assert cli.main(["verify", str(made.folder / "r.json"), "--quiet", "--positions", "0:1"]) == 0
    assert "; counts were not compared: the experts of the model differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("operations_per_token.total", 1.0),
        ("text.replaced_by_unk", 3),
        ("uncertainty.word_high", 12.0),
        ("checkpoint.architecture", "gru"),
        ("activations", None),
        ("uncertainty.blocks", 7),
        ("calculation.regions.1.formula", "y = x"),
        ("calculation.regions.1.sizes.0.meaning", "free"),
    ],
)
def test_an_altered_figure_is_named(path, value, folder, verify):
    _alter(folder, path, value)
    status, found = verify(folder)
    assert status == 1
    assert any(
        finding["message"].startswith(f"{path} is {value!r} in the result, ")
        and finding["message"].endswith(" run again")
        for finding in found["findings"]
    )


def test_an_altered_sum_that_fits_its_perplexities_is_named(made, folder, verify):
    nats, text = made.result["nll_nats"] * 0.99, made.result["text"]
    _alter(folder, "nll_nats", nats)
    _alter(folder, "perplexity.word", float(np.exp(nats / text["word_tokens"])))
    _alter(folder, "perplexity.piece", float(np.exp(nats / text["scored"])))
    _alter(folder, "perplexity.bits_per_byte", float(nats / np.log(2) / text["bytes"]))
    status, found = verify(folder)
    assert status == 1
    assert found["findings"][0]["message"].startswith(
        f"nll_nats is {nats!r} in the result, {made.result['nll_nats']!r}"
    )


def test_an_altered_hash_is_refused(folder, refused):
    _alter(folder, "text.sha256", "0" * 64)
    message = refused(folder)
    assert (
        "chain.links.0, the hash of checkpoint.sha256, text.sha256, text.tokens_sha256, text.first_token, " in message
    )
    assert "online.continuous_cache, is '" in message


def test_a_part_is_run_from_the_nearest_state(made, folder, verify):
    run = lm_meter.RunOptions()
    stopped = lm_meter.evaluate(
        folder / "model.npz",
        text=folder / "text",
        options=run,
        files=PassFiles(folder / "state", 1e-9),
        progress=lambda total: SimpleNamespace(
            begin=lambda *_: None, close=lambda: None, update=lambda done, _: done > 300 and _stop()
        ),
    )
    assert stopped["partial"]
    for first, last in ((2000, 2001), (0, 5)):
        status, found = verify(folder, "--positions", f"{first}:{last}", "--state", folder / "state")
        assert (status, found["identical"], found["whole"]) == (0, True, False)
        expected = stopped["text"]["scored"] if first else None
        assert found["from_state"] == expected
        assert (found["first"], found["last"]) == (first // 1024 * 1024, first // 1024 * 1024 + 1024)


def _stop():
    signal.raise_signal(signal.SIGINT)


def test_a_state_whose_log_probabilities_are_others_is_named(made, folder, verify):
    from lm_meter.saved_state import SavedState, read_state, save_state

    lm_meter.evaluate(folder / "model.npz", text=folder / "text", files=PassFiles(folder / "state"))
    state = read_state(folder / "state")
    log_probs = state.arrays["log_probs"][:2048].copy()
    log_probs[70] -= 1.0
    progress = state.progress | {"done": 2048}
    save_state(SavedState(state.run, progress, {**state.arrays, "log_probs": log_probs}), folder / "state")
    status, found = verify(folder, "--positions", "2048:2049", "--state", folder / "state")
    assert status == 1
    assert found["findings"][0]["what"] == "state"
    assert found["findings"][0]["message"].startswith("the state is of another run: chain.links.1 is not the run's: ")


def test_a_random_part_is_chosen_again_by_its_seed(made, verify):
    found = [verify(made.folder, "--fraction", 0.4, "--seed", seed)[1] for seed in (1, 1, 2, 3, 4, 5)]
    places = [(each["first"], each["last"]) for each in found]
    assert places[0] == places[1]
    assert len(set(places)) > 1
    assert all(last - first == 2048 or last == 2990 for first, last in places)


@pytest.mark.parametrize(
    ("fraction", "predictions", "links"), [(0.01, 245_569, 3), (1.0, 245_569, 240), (1e-9, 10, 1), (0.5, 2049, 2)]
)
def test_a_fraction_is_at_least_that_much(fraction, predictions, links):
    parts = {(s.first, s.last) for s in (slice_of(predictions, fraction, seed) for seed in range(4000))}
    assert all(first % 1024 == 0 and -(-(last - first) // 1024) == links for first, last in parts)
    assert max(last for _, last in parts) == predictions
    assert min(first for first, _ in parts) == 0


@pytest.mark.parametrize(
    ("progress", "arrays", "message"),
    [
        (
            {"done": None},
            {},
            "state: its progress is not a pass's (done is None); expected a file written by eval --state",
        ),
        ({}, {"log_probs": np.zeros(3)}, "state: its progress is not a pass's (it has 3 log-probabilities of 1024 "),
        (
            {"seconds": -1},
            {},
            "the state's progress is not a pass's (seconds is -1); expected a file written by eval --state",
        ),
    ],
)
def test_a_state_that_no_pass_wrote_is_refused(progress, arrays, message, made, folder, refused):
    from lm_meter.saved_state import SavedState, read_state, save_state

    lm_meter.evaluate(folder / "model.npz", text=folder / "text", files=PassFiles(folder / "state"))
    state = read_state(folder / "state")
    numbers = {**state.progress, "done": 1024, **progress}
    first = {**state.arrays, "log_probs": state.arrays["log_probs"][:1024], **arrays}
    save_state(SavedState(state.run, numbers, first), folder / "state")
    assert message in refused(folder, "--positions", "2048:2049", "--state", folder / "state", "--quiet")


@pytest.fixture
def recorded(folder):
    """A function that alters a value of a column in the records of a result."""
    place = folder / "r.npz"
    files = PassFiles(records=place)
    options = lm_meter.RunOptions(first_token="skip")
    lm_meter.evaluate(folder / "model.npz", text=folder / "text", options=options, files=files).save(folder / "r.json")
    honest = read_records(place)

    def alter(column, numbers, step):
        values = getattr(honest, column).copy()
        values[numbers] += values.dtype.type(step)
        write_records(replace(honest, **{column: values}), place)
        return values[numbers[0]].item(), getattr(honest, column)[numbers[0]].item()

    return alter


@pytest.mark.parametrize("part", [(), ("--positions", "1030:1040")])
def test_an_altered_log_probability_in_the_records_is_named_with_its_position(part, folder, recorded, verify):
    assert verify(folder, *part)[1]["records"] is True
    altered, honest = recorded("log_prob", [1035, 1700], -1e-9)
    status, found = verify(folder, *part)
    assert status == 1
    hashes, at = found["findings"]
    assert hashes["what"] == "records"
    assert hashes["message"].startswith("the records have SHA-256 ")
    assert (at["what"], at["position"]) == ("log_prob", 1036)
    message = f"position 1036: log_prob is {altered!r} in the records, {honest!r} run again; 1 more differ behind it"
    assert at["message"] == message


@pytest.mark.parametrize(("column", "step"), [("rank", 1), ("operations", -5)])
def test_other_altered_columns_of_records_are_named_too(column, step, folder, recorded, verify):
    altered, honest = recorded(column, [7], step)
    found = verify(folder)[1]["findings"]
    assert [finding["what"] for finding in found] == ["records", "records"]
    assert found[1]["message"] == f"position 8: {column} is {altered} in the records, {honest} run again"


@pytest.mark.parametrize(
    ("altered", "message"),
    [
        ({"text_sha256": "0" * 64}, f"text_sha256 is '{'0' * 59} in the records, '"),
        ({"checkpoint_sha256": "0" * 64}, f"checkpoint_sha256 is '{'0' * 59} in the records, '"),
        ({"token_text": 0}, "the text of token 0 is 'other' in the records, '"),
        ({"token_id": 999}, "the text of token 999 is 'other' in the records, None run again"),
    ],
)
def test_what_records_say_beside_their_columns_is_compared_though_their_hash_fits(
    altered, message, folder, recorded, verify
):
    recorded("rank", [0], 0)
    honest = read_records(folder / "r.npz")
    if "token_text" in altered:
        altered = {"token_text": np.array(["other", *honest.token_text[1:]])}
    elif "token_id" in altered:
        texts = np.append(honest.token_text, "other")
        altered = {"token_id": np.append(honest.token_id, 999), "token_text": texts}
    _alter(folder, "records.sha256", write_records(replace(honest, **altered), folder / "r.npz").sha256)
    status, found = verify(folder)
    assert status == 1
    (finding,) = found["findings"]
    assert finding["what"] == "records"
    assert finding["message"].startswith(message)


def test_records_that_are_not_there_are_said_not_to_be_compared(folder, recorded, verify, capsys):
    assert verify(folder)[1]["missing_records"] is None
    (folder / "r.npz").unlink()
    status, found = verify(folder)
    assert (status, found["records"]) == (0, False)
    assert found["missing_records"].endswith("r.npz")
    assert cli.main(["verify", str(folder / "r.json"), "--quiet"]) == 0
    assert "r.npz are not here and were not compared; name them with --records" in capsys.readouterr().out


def test_records_of_another_result(folder, recorded):
    recorded("rank", [0], 0)
    document = json.loads((folder / "r.json").read_text())
    found = stored_records(document, folder / "r.npz")
    assert found[1] == []
    honest = document["records"]["sha256"]
    document["records"]["sha256"] = "a" * 64
    (finding,) = stored_records(document, folder / "r.npz")[1]
    expected = f"the records have SHA-256 {honest[:12]}..., records.sha256 in the result is {'a' * 12}..."
    assert (finding.what, finding.message) == ("records", expected)
    document["text"]["scored"] -= 1
    with pytest.raises(
        ConfigError, match="the result 2988 predictions; expected the records that were written with it"
    ):
        stored_records(document, folder / "r.npz")


def test_links_of_a_part_are_compared_from_the_one_before_it(made):
    links, log_probs = made.result["chain"]["links"], made.result.log_probs
    assert compare_links(links, Slice(1024, 2990), log_probs[1024:], 0) == []
    (found,) = compare_links(links, Slice(1024, 2048), log_probs[1025:2049], 0)
    assert found.position == 1024


# Inputs


def test_a_checkpoint_or_text_that_moved_is_named(folder, verify, refused):
    moved = folder.parent / "elsewhere"
    moved.mkdir()
    for name in ("model.npz", "text"):
        _alter(folder, "checkpoint.path" if name == "model.npz" else "text.name", f"/nowhere/{name}")
        (folder / name).rename(moved / name)
    assert refused(folder) == "/nowhere/model.npz: the result's checkpoint is not here; name it with --checkpoint"
    at = ("--checkpoint", moved / "model.npz")
    assert refused(folder, *at) == "/nowhere/text: the result's text is not here; name it with --text"
    assert verify(folder, *at, "--text", moved / "text")[0] == 0


def test_another_checkpoint_or_text_is_refused(made, folder, refused):
    other = tiny_checkpoint(folder / "other.npz", hidden=(9,))
    assert "other.npz: is not the result's checkpoint: SHA-256 " in refused(folder, "--checkpoint", other)
    (folder / "other").write_text("the cat", encoding="utf-8")
    message = refused(folder, "--text", folder / "other")
    assert message.startswith(f"{folder / 'other'}: is not the result's text: SHA-256 ")
    assert message.endswith("...; name it with --text")
    (folder / "text").write_text("the cat", encoding="utf-8")
    with pytest.raises(TextError, match="is not the result's text"):
        text_of({**made.result.document, "text": {**made.result["text"], "name": "text"}}, folder)
    (folder / "model.npz").write_bytes(other.read_bytes())
    with pytest.raises(CheckpointError, match="is not the result's checkpoint"):
        checkpoint_of({**made.result.document, "checkpoint": {"path": "model.npz", "sha256": "0" * 64}}, folder)


def test_inputs_beside_the_result_and_those_that_ship(made, tmp_path):
    document = copy.deepcopy(made.result.document)
    document["checkpoint"]["path"], document["text"]["name"] = "model.npz", "text"
    assert checkpoint_of(document, made.folder).sha256() == document["checkpoint"]["sha256"]
    assert text_of(document, made.folder).sha256 == document["text"]["sha256"]
    shipped = lm_meter.evaluate(text=lm_meter.read_text(made.folder / "text"), options=lm_meter.RunOptions(limit=5))
    document = copy.deepcopy(shipped.document)
    document["checkpoint"]["path"] = "/another/machine/lstm-small.npz"
    assert checkpoint_of(document, tmp_path).sha256() == document["checkpoint"]["sha256"]
    from lm_meter.defaults import sample_path, sample_text

    document["text"] = {"name": "x", "sha256": hashlib.sha256(sample_path().read_bytes()).hexdigest()}
    assert text_of(document, tmp_path).content == sample_text().content


def test_public_corpora_are_known_by_their_hash():
    assert corpus_of(WIKITEXT_103.splits["valid"].sha256) == ("wikitext-103", "valid")
    assert corpus_of("0" * 64) is None


def test_a_result_of_an_older_version(made, folder, refused):
    document = json.loads((folder / "r.json").read_text())
    del document["run"], document["chain"]
    (folder / "r.json").write_text(json.dumps(document))
    assert refused(folder).startswith("the result does not say how it was run, as those of older versions; write it")
    assert options_of(made.result.document, 3, 2) == lm_meter.RunOptions(block=3, threads=2)


def test_an_option_of_a_later_version_is_refused(folder, refused):
    _alter(folder, "run.options.temperature", 2)
    assert refused(folder) == (
        "run.options.temperature of the result is no option of this version; verify it with the version that wrote it, "
        "which environment.lm_meter names"
    )


def test_more_predictions_than_the_text_has(folder, refused):
    (folder / "text").write_text(TEXT, encoding="utf-8")
    _alter(folder, "text.sha256", hashlib.sha256(TEXT.encode()).hexdigest())
    document = json.loads((folder / "r.json").read_text())
    from lm_meter.run_identity import document_identity, identity_bytes

    _alter(folder, "chain.links.0", HashChain(identity_bytes(document_identity(document))).links()[0])
    assert refused(folder, "--text", folder / "text").endswith(
        "r.json: text.scored is 2990, but the text has 23 predictions; write the result again with eval --output"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fraction", 0), "fraction is 0; expected a number above 0, at most 1"),
        (("--fraction", 1.5), "fraction is 1.5; expected a number above 0, at most 1"),
        (("--fraction", "nan"), "fraction is nan; expected a number above 0, at most 1"),
        (("--fraction", 0.5, "--seed", -1), "seed is -1; expected 0 to 2147483647"),
        (("--seed", 1), "--seed chooses the place of a part; expected --fraction beside it"),
        (("--state", "s"), "--state is where a part is run from; expected --fraction or --positions beside it"),
        (
            ("--positions", "1:1", "--state", "s"),
            "--positions is '1:1'; expected FIRST:LAST, the second not included, ",
        ),
        (("--positions", "x"), "--positions is 'x'; expected FIRST:LAST, the second not included, inside 0:2990"),
        (("--positions", "0:2991"), "--positions is '0:2991'; expected FIRST:LAST"),
        (("--positions", "0:1", "--state", "no"), "--state no: is not there; expected a file written by eval --state"),
        (("--block", 0), "block is 0; expected 1 to 4096"),
    ],
)
def test_options_that_are_refused(options, message, made, refused):
    assert refused(made.folder, *options).startswith(message)


def test_the_table(made, folder, capsys):
    assert cli.main(["verify", str(folder / "r.json"), "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "IDENTICAL: every bit of the log-probabilities, every count"
    _alter(folder, "text.bytes", 2)
    _alter(folder, "perplexity.bits_per_byte", made.result["nll_nats"] / np.log(2) / 2)
    assert cli.main(["verify", str(folder / "r.json"), "--quiet"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "DIFFERENT"
    assert any(line.startswith("  text.bytes is 2 in the result, ") for line in lines)
    assert cli.main(["verify", str(made.folder / "r.json"), "--quiet", "--fraction", "0.1", "--seed", "3"]) == 0
    assert "the place is that of --seed 3" in capsys.readouterr().out
