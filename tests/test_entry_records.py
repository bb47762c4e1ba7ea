"""Records of foreign entries: what a program predicted, row for row, and no figure that nobody has metered."""

import json
import warnings

import numpy as np
import pytest
from entry_programs import TEXT, program, vocabulary, weights_after
from tiny import WORDS, sentencepiece_model, tiny_checkpoint

from lm_meter import ConfigError, EntryError, ForeignEntry, RunOptions, cli, evaluate, evaluate_entry
from lm_meter.pass_files import PassFiles
from lm_meter.records import read_records, read_words
from lm_meter.result_records import fitting_records

LINES = "the cat sat on the mat .\na dog ran , the cat ran .\n" * 12


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "book.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


def run(folder, text, name="records.npz", **more):
    entry = ForeignEntry(program(folder), more.pop("vocabulary", None) or vocabulary(folder))
    return evaluate_entry(entry, text=text, files=PassFiles(records=folder / name), **more)


@pytest.mark.parametrize("name", ["records.npz", "records.csv", "records.parquet"])
def test_rows_are_those_of_an_independent_computation(name, tmp_path, text):
    pytest.importorskip("pyarrow")
    result = run(tmp_path, text, name)
    records = read_records(tmp_path / name)

    words = [word for line in TEXT.splitlines() for word in [*line.split(), "<eos>"]]
    tokens = [WORDS.index(word) for word in words]
    before, ranks, logs = WORDS.index("<eos>"), [], []
    for token in tokens:
        weights = weights_after(before)
        ranks.append(1 + sum(weight > weights[token] for weight in weights))
        logs.append(np.log(weights[token] / sum(weights)))
        before = token
    assert records.position.tolist() == list(range(17))
    assert records.token.tolist() == tokens
    assert records.rank.tolist() == result.ranks.tolist() == ranks
    assert records.line.tolist() == [0] * 8 + [1] * 9
    assert records.word.tolist() == list(range(17))
    assert records.word_start.all()
    assert set(records.operations.tolist()) == {0}
    assert records.token_text.tolist() == [WORDS[token] for token in sorted(set(tokens))]
    assert records.checkpoint_sha256 is None
    np.testing.assert_allclose(records.log_prob, logs, rtol=1e-14)
    assert np.array_equal(records.log_prob, result.log_probs)
    assert fitting_records(result.document, tmp_path / name).size == 17


def test_log_probabilities_and_skipped_first_tokens(tmp_path, text):
    result = run(tmp_path, text, options=RunOptions(first_token="skip", limit=9))
    records = read_records(tmp_path / "records.npz")
    assert records.position.tolist() == list(range(1, 9))
    assert records.word.tolist() == list(range(1, 9))
    assert result["text"]["scored"] == 8


def test_pieces_have_a_row_for_each_word_too(tmp_path):
    (tmp_path / "pieces.model").write_bytes(sentencepiece_model())
    (tmp_path / "pieces.txt").write_text("the catsat dogran matmat .\n")
    result = run(tmp_path, tmp_path / "pieces.txt", "pieces.csv", vocabulary=tmp_path / "pieces.model")
    words = read_words(tmp_path / "pieces.csv")
    assert words.text == ("the", "catsat", "dogran", "matmat", ".", "\n")
    assert -words.log_prob.sum() == pytest.approx(result["nll_nats"])
    assert not words.operations.any()


def test_records_of_an_interrupted_run_are_of_what_was_done(tmp_path, text):
    import os

    entry = ForeignEntry(program(tmp_path, f"os.kill({os.getpid()}, 2); time.sleep(60)"), vocabulary(tmp_path))
    result = evaluate_entry(entry, text=text, files=PassFiles(records=tmp_path / "r.npz"))
    assert result["partial"]
    assert fitting_records(result.document, tmp_path / "r.npz").size == 3


def test_a_run_that_fails_writes_none(tmp_path, text):
    entry = ForeignEntry(program(tmp_path, "values[0] = 2.0"), vocabulary(tmp_path))
    with pytest.raises(EntryError, match="position 3"):
        evaluate_entry(entry, text=text, files=PassFiles(records=tmp_path / "r.npz"))
    assert not (tmp_path / "r.npz").exists()


def test_records_that_cannot_be_written_leave_the_result(tmp_path, text):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = run(tmp_path, text, "absent/r.npz")
    assert result["records"] is None
    assert result["text"]["scored"] == 17
    assert "records cannot be written (No such file or directory); choose another place" in str(caught[0].message)


def test_operations_in_the_records_of_an_entry_are_refused(tmp_path, text):
    result = run(tmp_path, text, "r.csv")
    content = (tmp_path / "r.csv").read_text().replace(",0,True,", ",5,True,", 1)
    (tmp_path / "changed.csv").write_text(content)
    document = {**result.document, "records": None}
    with pytest.raises(ConfigError, match="the sum of operations is 5, in the result 0; expected the records that"):
        fitting_records(document, tmp_path / "changed.csv")


@pytest.fixture
def both(tmp_path, capsys):
    """Results of an entry and of a checkpoint over the same text and words, and of one over pieces."""
    (tmp_path / "lines.txt").write_text(LINES)
    tiny_checkpoint(tmp_path / "words.npz")
    tiny_checkpoint(tmp_path / "pieces.npz", kind="sentencepiece", projection=8)
    here = str(tmp_path)
    common = ["--text", f"{here}/lines.txt", "--quiet", "--output"]
    for name, model in (
        ("entry", ["--entry", program(tmp_path), "--vocabulary", str(vocabulary(tmp_path))]),
        ("words", ["--checkpoint", f"{here}/words.npz"]),
        ("pieces", ["--checkpoint", f"{here}/pieces.npz"]),
    ):
        arguments = ["eval", *model, *common, f"{here}/{name}.json", "--records", f"{here}/{name}.rows.npz"]
        assert cli.main(arguments) == 0
    capsys.readouterr()
    return tmp_path


def test_compare_per_token_and_per_word(both, capsys):
    names = [str(both / f"{name}.json") for name in ("entry", "words", "pieces")]
    assert cli.main(["compare", *names[:2], "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["perplexity"]["interval"]["blocks"] == 24
    assert found["loss"]["by_word"]
    assert found["operations"] is None
    assert cli.main(["compare", names[0], names[2]]) == 2
    assert "compare them with --per-word" in capsys.readouterr().err
    assert cli.main(["compare", names[2], names[0], "--per-word"]) == 0
    assert "paired bootstrap-t, 24 lines" in capsys.readouterr().out


def test_report_draws_losses_and_no_operations(both, capsys):
    results = [str(both / f"{name}.json") for name in ("entry", "words")]
    assert cli.main(["report", results[0], "--markdown", str(both / "entry.md")]) == 0
    assert cli.main(["report", *results, "--html", str(both / "two.html")]) == 0
    page = (both / "entry.md").read_text()
    assert "Loss against position" in page
    assert "Operations against position" not in page


def test_the_same_checkpoint_as_an_entry_has_the_same_rows(tmp_path, text):
    """But for the operations."""
    from lm_meter import Model

    checkpoint = tiny_checkpoint(tmp_path / "model.npz")
    evaluate(checkpoint, text=text, files=PassFiles(records=tmp_path / "reference.npz"))
    model, rows = Model(checkpoint, threads=1), []
    for token in read_records(tmp_path / "reference.npz").token.tolist():
        rows.append(model.log_probs().tolist())
        model.advance(token)
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    body = "answer['values'] = 'log-probabilities'\n"
    body += f"rows = iter(json.load(open({str(tmp_path / 'rows.json')!r})))\nplain = None"
    command = program(tmp_path, "plain = give\ndef give(_): plain(next(rows))\n", body, at=0)
    result = evaluate_entry(
        ForeignEntry(command, vocabulary(tmp_path)), text=text, files=PassFiles(records=tmp_path / "entry.npz")
    )
    ours, theirs = (read_records(tmp_path / f"{name}.npz") for name in ("reference", "entry"))
    for name in ("position", "line", "article", "word", "token", "rank", "word_start", "token_text"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    # What our float32 softmax sums to above 1 is divided out of a program's distributions.
    surplus = np.log(np.maximum(np.exp(rows).sum(axis=1), 1))
    assert 0 < surplus.max() < 1e-6
    np.testing.assert_allclose(theirs.log_prob, ours.log_prob - surplus, rtol=0, atol=1e-14)
    assert np.array_equal(theirs.log_prob, result.log_probs)
