"""``verify`` and records: every column of a part, word tokens, their second file, and options that do not fit."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from recorded import WORDS, Spoken, write_text
from tiny import tiny_checkpoint

import lm_meter
from lm_meter import cli
from lm_meter.errors import ConfigError
from lm_meter.pass_files import PassFiles
from lm_meter.profiles import PROFILES
from lm_meter.record_table import COLUMNS, Records
from lm_meter.records import read_records, read_words, write_records
from lm_meter.reporting.facts import read_facts
from lm_meter.result_records import fitting_records

SIZE = 1300  # links of 1,024 and 276, at least


class _WithWords(Records):
    spoken = ()

    def word_texts(self):
        return Spoken(self.spoken)


def _made(folder, suffix, kind):
    """A result with records; the text has more predictions than a link."""
    tiny_checkpoint(folder / "m.npz", kind=kind)
    text = write_text(folder / "text", 400 if kind == "word" else 90, articles=3)
    files = PassFiles(records=folder / f"r{suffix}", state=folder / "state")
    result = lm_meter.evaluate(folder / "m.npz", text=text, files=files)
    result.save(folder / "r.json")
    assert result["text"]["scored"] > SIZE
    return result


@pytest.fixture
def verify(capsys):
    def run(folder, *options):
        status = cli.main(["verify", str(folder / "r.json"), "--quiet", "--format", "json", *map(str, options)])
        found = json.loads(capsys.readouterr().out)
        return status, [(each["what"], each["message"], each["position"]) for each in found["findings"]], found

    return run


def _change(folder, change):
    document = json.loads((folder / "r.json").read_text())
    change(document)
    (folder / "r.json").write_text(json.dumps(document))


def _rewrite(folder, suffix, records, words=()):
    """Write other records in place of those that were there, with hashes that fit."""
    if words:
        records = _WithWords(**{field.name: getattr(records, field.name) for field in fields(Records)})
        object.__setattr__(records, "spoken", words)
    hashes = write_records(records, folder / f"r{suffix}")
    _change(folder, lambda document: document["records"].update(hashes._asdict()))


def _words_of(folder, suffix):
    return list(read_words(folder / f"r{suffix}").text)


# Rows


@pytest.mark.parametrize("start", [(), ("--state", "state")])
@pytest.mark.parametrize("column", COLUMNS)
def test_each_column_of_a_part_has_its_own_message(column, start, tmp_path, verify):
    result = _made(tmp_path, ".npz", "word")
    start = (start[0], tmp_path / start[1]) if start else ()
    part = ("--positions", "1100:1101", *start)
    assert verify(tmp_path, *part)[:2] == (0, [])
    honest = read_records(tmp_path / "r.npz")
    values = getattr(honest, column).copy()
    if column == "position":
        return  # a file whose positions do not count from 0 or 1 is no file of records
    if column in ("line", "article", "word"):  # ascending: all from there on
        values[1200:] += 1
    elif column == "word_start":
        values[1200] = False
    elif column == "token":
        values[1200] = honest.token_id[honest.token_id != values[1200]][0]
    else:
        values[1200] += values.dtype.type(-1e-9 if column == "log_prob" else 1)
    _rewrite(tmp_path, ".npz", replace(honest, **{column: values}))
    status, found, _ = verify(tmp_path, *part)
    assert status == 1
    more = f"; {values.size - 1201:,} more differ behind it" if column in ("line", "article", "word") else ""
    message = (
        f"position 1200: {column} is {values[1200].item()!r} in the records, {getattr(honest, column)[1200].item()!r} "
        f"run again{more}"
    )
    assert ("log_prob" if column == "log_prob" else "records", message, 1200) in found
    others = [each for each in found if each[1] != message]
    assert [what for what, *_ in others] == (["words"] if column == "word" and others else [])
    assert result["chain"]["links"]


def test_a_rank_outside_the_part_is_not_looked_at_but_a_count_is(tmp_path, verify):
    _made(tmp_path, ".npz", "word")
    honest = read_records(tmp_path / "r.npz")
    rank, operations = honest.rank.copy(), honest.operations.copy()
    rank[3] += 1
    operations[3] += 5
    operations[4] -= 5
    _rewrite(tmp_path, ".npz", replace(honest, rank=rank))
    assert verify(tmp_path, "--positions", "1100:1101")[0] == 0
    assert verify(tmp_path)[0] == 1
    _rewrite(tmp_path, ".npz", replace(honest, operations=operations))
    _, found, _ = verify(tmp_path, "--positions", "1100:1101")
    message = f"position 3: operations is {operations[3]} in the records, {honest.operations[3]} run again"
    assert found == [("records", f"{message}; 1 more differ behind it", 3)]


def test_a_log_probability_outside_the_part_does_not_fit_the_chain(tmp_path, verify):
    _made(tmp_path, ".npz", "word")
    honest = read_records(tmp_path / "r.npz")
    log_prob = honest.log_prob.copy()
    log_prob[70] -= 1.0
    _rewrite(tmp_path, ".npz", replace(honest, log_prob=log_prob))
    status, found, _ = verify(tmp_path, "--positions", "1100:1101")
    message = "chain.links.1 is not the run's: log-probabilities at positions 0 to 1023 are other ones"
    assert (status, found) == (1, [("chain", f"in the records: {message}", 0)])


# Word tokens


@pytest.fixture(params=[".npz", ".csv", ".parquet"])
def sub_word(request, tmp_path):
    """A folder with a result of a sub-word model, and the suffix of its records."""
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    _made(tmp_path, request.param, "characters")
    return tmp_path, request.param


PARTS = [(), ("--positions", "0:1")]


@pytest.mark.parametrize("part", PARTS)
def test_an_altered_word_is_named(part, sub_word, verify):
    folder, suffix = sub_word
    assert verify(folder, *part)[:2] == (0, [])
    honest, words = read_records(folder / f"r{suffix}"), _words_of(folder, suffix)
    forged = [*words]
    assert words[7] in (*WORDS, "\n", "=")
    forged[7] = "altered"
    _rewrite(folder, suffix, honest, forged)
    status, found, _ = verify(folder, *part)
    assert (status, found) == (1, [("words", f"word 7, {words[7]!r}: text is 'altered' in the records", None)])


def test_altered_sums_of_a_word_are_named(tmp_path, verify):
    _made(tmp_path, ".csv", "characters")
    path = tmp_path / "r.words.csv"
    honest = read_words(tmp_path / "r.csv")
    lines = path.read_text(encoding="utf-8").split("\n")
    at = lines.index(next(line for line in lines if line.startswith("9,")))
    for column, name in ((3, "pieces"), (5, "operations"), (1, "line"), (4, "log_prob")):
        row = lines[at].split(",")
        before, row[column] = row[column], "77" if column != 4 else "-0.5"
        path.write_text("\n".join([*lines[:at], ",".join(row), *lines[at + 1 :]]), encoding="utf-8")
        for part in PARTS:
            status, found, _ = verify(tmp_path, *part)
            assert status == 1
            hashes, word = found
            assert hashes[0] == word[0] == "words"
            assert hashes[1].startswith("r.words.csv has SHA-256 ")
            assert ", records.words_sha256 in the result is " in hashes[1]
            assert (
                word[1] == f"word 9, {honest.text[9]!r}: {name} is {row[column]} in the records, {before} by its pieces"
            )
    path.write_text("\n".join([*lines[:at], *lines[at + 1 :]]), encoding="utf-8")
    _, found, _ = verify(tmp_path, "--positions", "0:1")
    assert found[1][1] == f"the records have {honest.word.size - 1:,} word tokens, the text {honest.word.size:,}"


def test_records_of_the_run_again_that_cannot_be_written_are_no_agreement(tmp_path, capsys, monkeypatch):
    _made(tmp_path, ".npz", "word")
    honest = read_records(tmp_path / "r.npz")
    _rewrite(tmp_path, ".npz", replace(honest, rank=honest.rank + 1))

    def full(source, path):
        raise ConfigError(f"{path}: records cannot be written (No space left on device); choose another place")

    monkeypatch.setattr("lm_meter.records.write_records", full)
    status = cli.main(["verify", str(tmp_path / "r.json"), "--quiet"])
    found = capsys.readouterr()
    assert (status, found.out) == (2, "")
    assert (
        "the records of the run made again could not be kept in the folder for temporary files, so that the result's "
        "were not compared; set TMPDIR to a folder on a disk with room"
    ) in found.err


def test_a_second_file_that_is_not_there_is_said(tmp_path, verify):
    _made(tmp_path, ".csv", "characters")
    (tmp_path / "r.words.csv").unlink()
    status, found, done = verify(tmp_path, "--positions", "0:1")
    assert (status, found, done["missing_records"]) == (0, [], str(tmp_path / "r.words.csv"))
    facts = read_facts(str(tmp_path / "r.json"), PROFILES["flops"])
    assert facts.why_no_curves == "the file of word tokens, r.words.csv, is not beside the result"


def test_the_hash_of_the_second_file_is_checked_wherever_that_of_the_first_is(tmp_path, verify):
    _made(tmp_path, ".csv", "characters")
    document = lm_meter.load_result(tmp_path / "r.json").document
    assert fitting_records(document, tmp_path / "r.csv").size == document["text"]["scored"]

    def refused(value):
        _change(tmp_path, lambda d: d["records"].update(words_sha256=value))
        with pytest.raises(ConfigError) as caught:
            fitting_records(lm_meter.load_result(tmp_path / "r.json").document, tmp_path / "r.csv")
        return str(caught.value)

    message = refused("0" * 64)
    assert message.startswith(
        f"{tmp_path / 'r.words.csv'}: its SHA-256 is not that of records.words_sha256 in the result; expected"
    )
    facts = read_facts(str(tmp_path / "r.json"), PROFILES["flops"])
    expected = "the file r.words.csv is not the one that the result names: its SHA-256 is another"
    assert facts.why_no_curves == expected
    null = "records.words_sha256 in the result is null, but word tokens are in a second file"
    assert refused(None).startswith(f"{tmp_path / 'r.csv'}: {null}; expected")
    assert verify(tmp_path, "--positions", "0:1")[1] == [("words", null, None)]
    _change(tmp_path, lambda d: d["records"].pop("words_sha256"))  # of an older version
    assert fitting_records(lm_meter.load_result(tmp_path / "r.json").document, tmp_path / "r.csv").size
    assert verify(tmp_path, "--positions", "0:1")[0] == 0
    assert "records.words_sha256 is 7; write it again with eval --output" in refused(7)


def test_a_hash_of_no_second_file(tmp_path, verify):
    result = _made(tmp_path, ".npz", "characters")
    assert result["records"]["words_sha256"] is None
    _change(tmp_path, lambda d: d["records"].update(words_sha256="0" * 64))
    message = "records.words_sha256 in the result is a hash, but no word tokens are in a second file"
    assert verify(tmp_path, "--positions", "0:1")[1] == [("words", message, None)]


# Options


def test_an_option_that_gives_something_else_is_named_before_what_follows(tmp_path, verify):
    _made(tmp_path, ".npz", "word")
    _change(tmp_path, lambda d: d["run"]["options"].update(continuous_cache="7,0.5,0.2"))
    for part in PARTS:
        status, found, _ = verify(tmp_path, *part)
        assert status == 1
        assert found[0] == (
            "option",
            "online.continuous_cache is None in the result, but {'size': 7, 'theta': 0.5, 'lambda': 0.2} by its "
            "run.options.continuous_cache '7,0.5,0.2'",
            None,
        )
        assert found[1][0] == "count" if part else "chain"


def test_bits_that_were_said_to_differ_and_another_seed(tmp_path, verify):
    _made(tmp_path, ".npz", "word")
    _change(tmp_path, lambda d: (d["online"].update(bits_equal=False), d["run"].update(seed=3)))
    for part, made in zip(PARTS, ("run again", "made again"), strict=True):
        assert verify(tmp_path, *part)[1] == [
            ("figure", f"run.seed is 3 in the result, 20190601 {made}", None),
            ("figure", f"online.bits_equal is False in the result, True {made}", None),
        ]


def test_losses_of_a_part_are_those_of_the_records(tmp_path, verify):
    result = _made(tmp_path, ".npz", "word")
    nats, text = result["nll_nats"] * 0.99, result["text"]

    def cheaper(document):
        document["nll_nats"] = nats
        document["perplexity"] = {
            "word": float(np.exp(nats / text["word_tokens"])),
            "piece": float(np.exp(nats / text["scored"])),
            "bits_per_byte": float(nats / np.log(2) / text["bytes"]),
        }

    _change(tmp_path, cheaper)
    status, found, _ = verify(tmp_path, "--positions", "0:1")
    assert status == 1
    assert found[0][1] == f"nll_nats is {nats!r} in the result, {result['nll_nats']!r} made again"
