"""``eval --records``: every column against the text, the tokenizer and the metered run."""

import json

import numpy as np
import pytest
from test_target_rank import WORDS as MANY_WORDS
from test_transformer import NARROWED
from tiny import TEXT, WORDS, narrowed, tiny_checkpoint
from tiny_transformer import transformer_parts

import lm_meter
from lm_meter import cli, evaluation, online, pass_records
from lm_meter.errors import ConfigError, MeterError, RecordsWarning, StateError
from lm_meter.evaluation import run_prepared
from lm_meter.pass_files import PassFiles
from lm_meter.preparation import prepare
from lm_meter.profiles import PROFILES
from lm_meter.records import read_records, read_words
from lm_meter.result import load_result, price_result
from lm_meter.run_options import RunOptions
from lm_meter.text import read_text
from lm_meter.tokenizers import load_tokenizer

# Lines 0 to 7; articles begin in 2 and 6.
ARTICLES = "the cat\n\n = the cat = \n\na dog\n\n = a dog = \n\n"

LONG_WORDS = f"the doggone catch\n\n{TEXT} thermodynamics of a mattress\n"


@pytest.fixture
def run(tmp_path):
    """A pass over a text with records, of a model of some kind: the result, and what is read back."""

    def evaluate(content, name="r.npz", options=None, **model):
        (tmp_path / "text").write_text(content, encoding="utf-8")
        if not (tmp_path / "m.npz").exists():
            tiny_checkpoint(tmp_path / "m.npz", **model)
        path = tmp_path / name
        files = PassFiles(records=path)
        result = lm_meter.evaluate(tmp_path / "m.npz", text=tmp_path / "text", options=options, files=files)
        return result, read_records(path)

    return evaluate


def test_columns_by_hand(run):
    result, records = run(ARTICLES)
    words = [
        ["the", "cat", "<eos>"],
        ["<eos>"],
        ["=", "the", "cat", "=", "<eos>"],
        ["<eos>"],
        ["a", "dog", "<eos>"],
        ["<eos>"],
        ["=", "a", "dog", "=", "<eos>"],
        ["<eos>"],
    ]
    flat = [word for line in words for word in line]
    lines = [number for number, line in enumerate(words) for _ in line]
    assert records.position.tolist() == records.word.tolist() == list(range(len(flat)))
    assert records.line.tolist() == lines
    assert records.article.tolist() == [0 if line < 6 else 1 for line in lines]
    assert [WORDS[token] for token in records.token] == flat
    assert dict(zip(records.token_id, records.token_text, strict=True)) == {WORDS.index(w): w for w in flat}
    assert records.word_start.all()
    assert records.log_prob.tobytes() == result.log_probs.tobytes()
    assert records.rank.tolist() == result.ranks.tolist()
    assert records.operations.sum() == sum(row["count"] for row in result["histogram"])
    assert len(set(records.operations.tolist())) == 1
    assert records.text_sha256 == result["text"]["sha256"]
    assert records.checkpoint_sha256 == result["checkpoint"]["sha256"]


def test_the_first_row_is_the_second_piece_where_the_first_is_skipped(run):
    whole = run(ARTICLES)[1]
    records = run(ARTICLES, options=RunOptions(first_token="skip"))[1]
    assert records.position.tolist() == list(range(1, whole.size))
    for name in ("line", "article", "word", "token", "word_start"):
        assert getattr(records, name).tolist() == getattr(whole, name)[1:].tolist()


def test_a_limit_inside_a_line(run):
    records = run(ARTICLES, options=RunOptions(limit=6))[1]
    assert [WORDS[token] for token in records.token] == ["the", "cat", "<eos>", "<eos>", "=", "the"]
    assert records.line.tolist() == [0, 0, 0, 1, 2, 2]


@pytest.mark.parametrize("kind", ["sentencepiece", "characters"])
@pytest.mark.parametrize("name", ["r.npz", "r.csv", "r.parquet"])
def test_words_of_a_sub_word_model(kind, name, run, tmp_path):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    result, records = run(LONG_WORDS, name, kind=kind)
    text = read_text(tmp_path / "text")
    encoded = load_tokenizer(lm_meter.Checkpoint(tmp_path / "m.npz")).encode(text, "error")
    spoken = [word for words, _ in text.lines() for word in (*words, "\n")]
    assert records.token.tolist() == encoded.tokens.tolist()
    assert records.word_start.tolist() == (encoded.words > 0).tolist()

    words = read_words(tmp_path / name)
    assert words.word.tolist() == list(range(len(spoken)))
    assert list(words.text) == spoken
    starts = [*np.flatnonzero(encoded.words), encoded.tokens.size]
    starts[0] = 0  # a blank in front of the first word is its own
    for number in range(len(spoken)):
        rows = slice(starts[number], starts[number + 1])
        assert words.pieces[number] == rows.stop - rows.start
        assert set(records.word[rows].tolist()) == {number}
        assert set(records.line[rows].tolist()) == {words.line[number]}
        assert words.operations[number] == records.operations[rows].sum()
        assert words.log_prob[number] == pytest.approx(result.log_probs[rows].sum(), rel=1e-12)
    assert words.line.tolist() == [n for n, (line, _) in enumerate(text.lines()) for _ in (*line, "\n")]


def test_formats_have_the_same_rows(run):
    pytest.importorskip("pyarrow")
    found = [run(LONG_WORDS, f"r.{suffix}", kind="sentencepiece")[1] for suffix in ("npz", "csv", "parquet")]
    for name in (*lm_meter.record_table.COLUMNS, "token_id", "token_text"):
        assert all(getattr(one, name).tolist() == getattr(found[0], name).tolist() for one in found[1:])


def test_neither_block_nor_threads_change_a_byte(run, tmp_path):
    whole = run(TEXT * 5)[0]["records"]["sha256"]
    for block, threads in ((1, 1), (7, 2)):
        options = RunOptions(block=block, threads=threads)
        assert run(TEXT * 5, f"{block}.npz", options)[0]["records"]["sha256"] == whole


def test_the_result_names_the_file(run, tmp_path):
    result, _ = run(TEXT)
    assert result["records"]["file"] == str(tmp_path / "r.npz")
    result.save(tmp_path / "result.json")
    assert load_result(tmp_path / "result.json")["records"] == result["records"]
    assert price_result(result, PROFILES["flops"]).ranks.tolist() == result.ranks.tolist()
    plain = lm_meter.evaluate(tmp_path / "m.npz", text=tmp_path / "text")
    assert (plain["records"], plain.ranks) == (None, None)
    assert plain.log_probs.tobytes() == result.log_probs.tobytes()
    assert plain["histogram"] == result["histogram"]
    assert plain["chain"] == result["chain"]
    older = json.loads(result.to_json())
    del older["records"]
    (tmp_path / "older.json").write_text(json.dumps(older), encoding="utf-8")
    assert load_result(tmp_path / "older.json")["records"] is None


def test_rows_of_a_part_are_those_of_its_predictions(run, tmp_path):
    whole = run(LONG_WORDS, kind="sentencepiece")[1]
    prepared = prepare(tmp_path / "m.npz", tmp_path / "text", RunOptions()).first(9)
    result = run_prepared(prepared, PROFILES["flops"], PassFiles(records=tmp_path / "part.npz"))
    part = read_records(tmp_path / "part.npz")
    assert result["partial"]
    assert part.size == 9
    for name in lm_meter.record_table.COLUMNS:
        assert getattr(part, name).tolist() == getattr(whole, name)[:9].tolist()


def test_a_resumed_pass_has_the_same_records(run, tmp_path):
    whole = run(TEXT)[0]["records"]["sha256"]
    path, text = tmp_path / "m.npz", tmp_path / "text"

    def go(name, prepared, state):
        files = PassFiles(state=tmp_path / state, records=name and tmp_path / name)
        return run_prepared(prepared, PROFILES["flops"], files)

    prepared = prepare(path, text, RunOptions())
    go("part.npz", prepared.first(11), "state")
    resumed = go("resumed.npz", prepared, "state")
    assert resumed["run"]["sittings"] == 2
    assert resumed["records"]["sha256"] == whole
    go(None, prepared.first(11), "other")
    with pytest.raises(StateError, match="it has no ranks: the run that saved it wrote no records"):
        go("other.npz", prepared, "other")


def test_experts_that_differ_are_refused_before_the_run(tmp_path, monkeypatch):
    kind, formats = NARROWED["narrow experts"]
    lm_meter.write_checkpoint(tmp_path / "m.npz", *narrowed(*transformer_parts(kind, MANY_WORDS), formats))
    (tmp_path / "text").write_text("w1 w2\n", encoding="utf-8")
    monkeypatch.setattr(evaluation, "load", None)
    message = (
        "experts differ in their formats or in what is kept of them, so that the cost laws do not know the operations "
        "of each prediction; run without --records"
    )
    with pytest.raises(ConfigError, match=message):
        lm_meter.evaluate(tmp_path / "m.npz", text=tmp_path / "text", files=PassFiles(records=tmp_path / "r.npz"))


def test_operations_that_were_not_metered_stop_the_run(run, monkeypatch):
    laws = pass_records.token_operations
    monkeypatch.setattr(pass_records, "token_operations", lambda *run: laws(*run) + 1)
    with pytest.raises(MeterError, match="were metered; please report this with the checkpoint's configuration"):
        run(TEXT)


def test_a_rank_that_is_another_in_the_distribution_stops_the_run(run, monkeypatch):
    original = online.Runtime.run_ranked

    def shifted(self, *arguments):
        log_probs, ranks = original(self, *arguments)
        return log_probs, ranks + 1

    monkeypatch.setattr(online.Runtime, "run_ranked", shifted)
    with pytest.raises(MeterError, match="distribution; please report this with your CPU's name") as error:
        run(TEXT)
    assert "the target's rank is" in str(error.value)


def test_a_disk_that_fills_up_leaves_the_result(run, monkeypatch):
    def full(source, path):
        raise ConfigError(f"{path}: records cannot be written (No space left on device); choose another place")

    monkeypatch.setattr("lm_meter.records.write_records", full)
    with pytest.warns(RecordsWarning, match="No space left"), pytest.raises(ConfigError, match="cannot be read"):
        run(TEXT)


def _command(tmp_path, *flags):
    return cli.main(
        ["eval", "--checkpoint", str(tmp_path / "m.npz"), "--text", str(tmp_path / "text"), "--quiet", *flags]
    )


@pytest.fixture
def files(tmp_path):
    tiny_checkpoint(tmp_path / "m.npz")
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    return tmp_path


def test_command_writes_and_prints(files, capsys):
    assert _command(files, "--records", str(files / "r.csv"), "--output", str(files / "o.json")) == 0
    printed = capsys.readouterr().out
    assert "perplexity" in printed
    assert f"records: {files / 'r.csv'}\n  ranks in it were found beside the run and are not charged" in printed
    assert load_result(files / "o.json")["records"]["file"] == str(files / "r.csv")
    assert read_records(files / "r.csv").size == load_result(files / "o.json")["text"]["scored"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("r.json", "is no name for records; expected one that ends in .npz, .csv or .parquet"),
        ("absent/r.npz", "there is no folder"),
        ("m.npz", "is an input of this run; choose another name"),
        ("o.csv", "is also that of --records; expected two names"),
    ],
)
def test_names_are_refused_before_the_run(name, message, files, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "load", None)
    assert _command(files, "--records", str(files / name), "--output", str(files / "o.csv")) == 2
    assert message in capsys.readouterr().err


def test_the_file_of_words_is_looked_at_too(files, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "load", None)
    (files / "text").rename(files / "r.words.csv")
    (files / "text").symlink_to(files / "r.words.csv")
    assert _command(files, "--records", str(files / "r.csv")) == 2
    assert "r.words.csv: is an input of this run" in capsys.readouterr().err


def test_command_prints_the_result_where_records_fail(files, capsys, monkeypatch):
    def full(source, path):
        raise ConfigError(f"{path}: records cannot be written (No space left on device); choose another place")

    monkeypatch.setattr("lm_meter.records.write_records", full)
    assert _command(files, "--records", str(files / "r.npz")) == 2
    printed = capsys.readouterr()
    assert "perplexity" in printed.out
    assert "lm-meter: warning:" in printed.err
    assert "was not written; the result is all there is of this run" in printed.err
