"""Files of records: three formats of the same rows, read back bit for bit, and every other file refused in one line."""

import csv
import dataclasses
import hashlib
import importlib
import struct
import zipfile

import numpy as np
import pytest
from recorded import Spoken

from lm_meter import npz_records
from lm_meter.errors import ConfigError
from lm_meter.npz_records import _NARROWED
from lm_meter.record_table import CHUNK, COLUMNS, WORD_COLUMNS, Records, label, word_chunks
from lm_meter.records import check_records_name, read_records, read_words, words_path, write_records

SUFFIXES = (".npz", ".csv", ".parquet")
PIECES = ("a", '"quoted"', "with, comma", "\n", "\r", "é—", " ", "␀", "", "=SUM(1)")


class _SubWord(Records):
    """Records that know the words of their text."""

    def word_texts(self):
        return Spoken(f"w{number},\n" for number in range(int(self.word[-1]) + 1))


def _records(word_start, kind=Records, seed=0):
    """Random rows whose word tokens begin where it is said."""
    rng, n = np.random.default_rng(seed), len(word_start)
    word_start = np.array(word_start, bool)
    word = np.maximum(np.cumsum(word_start) - 1, 0)
    token = rng.integers(0, len(PIECES), n) * 3
    known = np.unique(token)
    return kind(
        position=np.arange(n),
        line=word // 4,
        article=(word // 9 - 1).astype(np.int32),
        word=word,
        token=token,
        log_prob=-rng.exponential(5.0, n) * 10.0 ** rng.integers(-12, 3, n),
        rank=rng.integers(1, 1 << 40, n),
        operations=rng.integers(0, 1 << 60, n),
        word_start=word_start,
        token_id=known,
        token_text=np.array(PIECES)[known // 3],
        text_sha256="ab" * 32,
        checkpoint_sha256="cd" * 32,
    )


def _same(found, expected, hashes=True):
    for field in dataclasses.fields(Records):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            assert one.dtype.kind == other.dtype.kind, field.name
            assert one.tolist() == other.tolist(), field.name
            assert field.name not in COLUMNS or one.dtype == COLUMNS[field.name]
        else:
            assert one == (other if hashes else None)


@pytest.fixture(params=SUFFIXES)
def suffix(request):
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    return request.param


@pytest.mark.parametrize("rows", [1, 50, 2 * CHUNK + 7])
def test_records_come_back_bit_for_bit(suffix, rows, tmp_path):
    reference, path = _records([True] * rows), tmp_path / f"r{suffix}"
    sha256, words_sha256 = write_records(reference, path)
    _same(read_records(path), reference, hashes=suffix != ".csv")
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert words_sha256 is None
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert read_words(path) is None


def test_the_same_records_give_the_same_bytes(suffix, tmp_path):
    assert write_records(_records([1, 0, 1], _SubWord), tmp_path / f"a{suffix}") == write_records(
        _records([1, 0, 1], _SubWord), tmp_path / f"b{suffix}"
    )


def test_words_are_sums_of_their_pieces():
    records = _records([0, 1, 0, 0, 1, 1, 0])  # the first piece begins no word: it belongs to the first one
    words = records.by_word()
    assert words.word.tolist() == [0, 1, 2]
    assert words.pieces.tolist() == [4, 1, 2]
    rows = ([0, 1, 2, 3], [4], [5, 6])
    assert words.operations.tolist() == [sum(records.operations[row].tolist()) for row in rows]
    assert np.allclose(words.log_prob, [records.log_prob[row].sum() for row in rows], rtol=1e-14)
    assert words.line.tolist() == [0, 0, 0]


@pytest.mark.parametrize("longest", [3, CHUNK + 5])
def test_words_of_a_sub_word_model_come_back(suffix, longest, tmp_path):
    """One of the words has more pieces than are written at a time."""
    rng = np.random.default_rng(1)
    starts = np.concatenate([rng.random(CHUNK) < 0.5, [True], np.zeros(longest, bool), rng.random(CHUNK) < 0.5])
    reference, path = _records(starts, _SubWord), tmp_path / f"r{suffix}"
    sha256, words_sha256 = write_records(reference, path)
    found, sums = read_words(path), reference.by_word()
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    beside = words_path(path)
    assert words_sha256 == (beside and hashlib.sha256(beside.read_bytes()).hexdigest())
    assert all(np.array_equal(getattr(found, name), getattr(sums, name)) for name in WORD_COLUMNS)
    assert found.text == tuple(f"w{number},\n" for number in sums.word.tolist())
    _same(read_records(path), reference, hashes=suffix != ".csv")


def test_a_word_that_no_piece_is_of_stands_with_the_next_one():
    """Of two words that begin in one piece the second one has it."""
    reference = dataclasses.replace(_records([1, 1, 0], _SubWord), word=np.array([0, 2, 2]))
    (words,) = word_chunks(reference)
    assert (words.word.tolist(), words.text) == ([0, 2], ("w0,\n", "w1,\n w2,\n"))


def test_npz_opens_without_pickles(tmp_path):
    reference = _records([1, 0, 1, 1], _SubWord)
    write_records(reference, tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz", allow_pickle=False) as found:
        assert {*COLUMNS, "token_id", "token_text", "format", "text_sha256", "checkpoint_sha256"} <= set(found)
        assert str(found["format"]) == "lm-meter/records/1"
        assert found["log_prob"].tobytes() == reference.log_prob.tobytes()
        assert str(found["text_sha256"]) == "ab" * 32
        assert found["word.pieces"].tolist() == [2, 1, 1]
        assert found["word.text"].tobytes().decode() == "w0,\nw1,\nw2,\n"
        assert found["word.text_ends"].tolist() == [4, 8, 12]


def test_csv_is_read_by_others(tmp_path):
    reference = _records([1, 0, 1, 1] * 5, _SubWord)
    write_records(reference, tmp_path / "r.csv")
    with open(tmp_path / "r.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, "piece"]
    assert [float(row["log_prob"]) for row in rows] == reference.log_prob.tolist()
    assert [row["word_start"] for row in rows] == [str(start) for start in reference.word_start.tolist()]
    assert [row["piece"] for row in rows] == [PIECES[token // 3] for token in reference.token.tolist()]
    with open(tmp_path / "r.words.csv", newline="", encoding="utf-8") as file:
        words = list(csv.DictReader(file))
    assert list(words[0]) == [*WORD_COLUMNS, "text"]
    assert [row["text"] for row in words] == [f"w{number},\n" for number in range(15)]


def test_parquet_is_read_by_others(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    reference = _records([1, 0, 1, 1], _SubWord)
    write_records(reference, tmp_path / "r.parquet")
    found = parquet.read_table(tmp_path / "r.parquet")
    assert found.column_names == [*COLUMNS, "piece"]
    assert found.column("operations").to_pylist() == reference.operations.tolist()
    assert parquet.read_table(tmp_path / "r.words.parquet").column("text").to_pylist() == ["w0,\n", "w1,\n", "w2,\n"]


def test_a_label_is_short_and_has_no_zero():
    assert label("a\0b" + "x" * 500) == "a␀b" + "x" * 197


def test_a_failed_write_leaves_the_file_before(suffix, tmp_path):
    class Broken(_SubWord):
        def column(self, name, first, last):
            if name == "word_start":
                raise KeyboardInterrupt
            return super().column(name, first, last)

    path = tmp_path / f"r{suffix}"
    write_records(_records([1, 0]), path)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_records(_records([1, 1], Broken), path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".lm-meter.*"))


def test_another_suffix_is_refused():
    with pytest.raises(ConfigError, match=r"is no name for records; expected one that ends in .npz, .csv or .parquet"):
        check_records_name("records.json")
    assert words_path(check_records_name("a.b.npz")) is None
    assert str(words_path(check_records_name("a.b.csv"))) == "a.b.words.csv"


def test_without_pyarrow_parquet_says_how_to_get_it(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(
        ConfigError, match=r"records in Parquet need the package pyarrow, which is not installed"
    ) as error:
        check_records_name("r.parquet")
    assert "pip install pyarrow, or" in str(error.value)


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(ConfigError, match="records cannot be written"):
        write_records(_records([1]), tmp_path / "absent" / "r.csv")


def test_a_file_that_is_not_there_is_said(suffix, tmp_path):
    message = "cannot be read as Parquet" if suffix == ".parquet" else "cannot be read"
    with pytest.raises(ConfigError, match=message):
        read_records(tmp_path / f"absent{suffix}")


def test_words_of_another_run_are_refused(suffix, tmp_path):
    if suffix == ".npz":
        pytest.skip("has both in one file")
    write_records(_records([1, 0, 1], _SubWord), tmp_path / f"r{suffix}")
    write_records(_records([1, 0, 1], _SubWord, seed=1), tmp_path / f"other{suffix}")
    (tmp_path / f"other.words{suffix}").replace(tmp_path / f"r.words{suffix}")
    with pytest.raises(ConfigError, match="its words are not those of the records"):
        read_words(tmp_path / f"r{suffix}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": np.array([2, 3, 4])}, "positions do not count from 0 or 1"),
        ({"position": np.array([0, 2, 3])}, "positions do not count from 0 or 1"),
        ({"line": np.array([1, 0, 2])}, "column line does not ascend from the beginning of a text"),
        ({"article": np.array([-2, 0, 0], np.int32)}, "column article does not ascend"),
        ({"word": np.array([-1, 0, 0])}, "column word does not ascend"),
        ({"log_prob": np.array([0.0, np.nan, -1.0])}, "a log-probability is not finite"),
        ({"token": np.array([-3, 0, 0])}, "column token has a number below 0"),
        ({"rank": np.array([1, 0, 1])}, "column rank has a number below 1"),
        ({"operations": np.array([1, -1, 1])}, "column operations has a number below 0"),
        ({"token_text": np.array(["a"] * 9)}, "token_id and token_text are not a text for each token"),
        ({"token_id": np.array([4]), "token_text": np.array(["x"])}, "a token has no text"),
        ({"rank": np.array([1, 1])}, r"column rank is int64 \[2\]; expected int64, a number for each row"),
    ],
)
def test_rows_that_no_pass_has_are_refused(changes, message, tmp_path):
    wrong = dataclasses.replace(_records([1, 1, 1]), **changes)
    write_records(wrong, tmp_path / "r.npz")
    if "rank" in changes and changes["rank"].size == 2:
        _replace(tmp_path / "r.npz", "rank", _npy(changes["rank"]))
    with pytest.raises(ConfigError, match=message):
        read_records(tmp_path / "r.npz")


def _npy(array):
    """An array as a member."""
    import io

    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=True)
    return out.getvalue()


def _replace(path, name, raw, compression=zipfile.ZIP_STORED):
    """Write an archive again with another member; None: without it."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members.pop(f"{name}.npy", None)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        if raw is not None:
            archive.writestr(f"{name}.npy", raw)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("rank", None, "array rank is missing"),
        ("surprise", _npy(np.zeros(3)), "has a surplus member 'surprise'"),
        ("rank", _npy(np.zeros(3)), r"array rank cannot be read \(type float64\)"),
        ("article", _npy(np.zeros(3)), r"array article cannot be read \(type float64\)"),
        ("rank", _npy(np.array([1, 2, 3], object)), r"array rank cannot be read \(type object\)"),
        ("rank", _npy(np.zeros((3, 1), np.int64)), r"array rank cannot be read \(shape \(3, 1\)\)"),
        ("rank", _npy(np.zeros(3, np.int64))[:-8], r"cannot be read \(16 bytes for shape \(3,\)\)"),
        ("rank", b"\x93NUMPY\x02\x00", r"cannot be read \(another version of .npy\)"),
        ("rank", b"", r"array rank cannot be read"),
        ("token_text", _npy(np.array([b"x"])), r"array token_text cannot be read \(type \|S1\)"),
        (
            "format",
            _npy(np.array("lm-meter/records/9")),
            "format is 'lm-meter/records/9'; expected 'lm-meter/records/1', written by eval --records",
        ),
    ],
)
def test_damaged_members_are_refused(name, raw, message, tmp_path):
    write_records(_records([1, 1, 1]), tmp_path / "r.npz")
    _replace(tmp_path / "r.npz", name, raw)
    with pytest.raises(ConfigError, match=message):
        read_records(tmp_path / "r.npz")


def test_text_that_is_no_unicode_is_refused(tmp_path):
    write_records(_records([1, 1, 1]), tmp_path / "r.npz")
    head = _npy(np.array(["x"]))[:-4]
    for number in (0x110000, 0xD800, 0xDFFF):
        _replace(tmp_path / "r.npz", "token_text", head + struct.pack("<I", number))
        with pytest.raises(ConfigError, match=r"array token_text cannot be read \(no Unicode\)"):
            read_records(tmp_path / "r.npz")


def test_a_compressed_archive_is_refused(tmp_path):
    write_records(_records([1, 1, 1]), tmp_path / "r.npz")
    _replace(tmp_path / "r.npz", "none", None, zipfile.ZIP_DEFLATED)
    with pytest.raises(
        ConfigError, match=r"is compressed; expected stored data, as lm-meter eval --records writes them"
    ):
        read_records(tmp_path / "r.npz")


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("word.text_ends", np.array([2, 1, 9]), "does not cut word.text into words"),
        ("word.text", np.full(12, 255, np.uint8), "is not UTF-8"),
        ("word.pieces", np.array([1, 1, 1]), "its words are not those of the records"),
    ],
)
def test_damaged_words_are_refused(name, array, message, tmp_path):
    write_records(_records([1, 0, 1, 1], _SubWord), tmp_path / "r.npz")
    _replace(tmp_path / "r.npz", name, _npy(array))
    with pytest.raises(ConfigError, match=message):
        read_words(tmp_path / "r.npz")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("position", "place", "the first line is not position,line,"),
        ("\n0,0,", "\n0,0,0,", r"a row has 11 fields; expected 10"),
        ("\n0,0,", "\n 0,0,", r"column position is not int64 \(found ' '\)"),
        ("\n0,0,", "\n0_0,0,", r"column position is not int64 \(found '_'\)"),
        ("\n0,0,", f"\n{1 << 63},0,", r"column position is not int64"),
        ("\n0,0,", "\n-,0,", r"column position is not int64"),
        ("True", "true", r"column word_start is not bool \(found 'true'\)"),
        ("-", "nan", r"column log_prob is not float64 \(found"),
        ('"', "", r"is not comma-separated UTF-8|a row has"),
    ],
)
def test_damaged_csv_is_refused(old, new, message, tmp_path):
    path = tmp_path / "r.csv"
    write_records(_records([1, 1, 1] * 6), path)
    content = path.read_bytes().decode()
    at = content.rindex(old) if old in '-"' else content.index(old)
    path.write_bytes((content[:at] + new + content[at + len(old) :]).encode())
    with pytest.raises(ConfigError, match=message):
        read_records(path)


def test_a_token_of_two_pieces_is_refused(tmp_path):
    path = tmp_path / "r.csv"
    write_records(dataclasses.replace(_records([1] * 20), token=np.zeros(20, np.int64)), path)
    content = path.read_text(encoding="utf-8")
    path.write_text(content.replace('"a"', '"b"', 1), encoding="utf-8")
    with pytest.raises(ConfigError, match="token 0 is two pieces, 'b' and 'a'"):
        read_records(path)


def test_no_rows_are_refused(tmp_path):
    write_records(_records([1]), tmp_path / "r.csv")
    header = (tmp_path / "r.csv").read_text(encoding="utf-8").splitlines()[0]
    (tmp_path / "r.csv").write_text(f"{header}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="there are no rows; write the records again with eval --records"):
        read_records(tmp_path / "r.csv")


def test_parquet_of_other_columns_is_refused(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"x": [1, 2]}), tmp_path / "r.parquet")
    with pytest.raises(ConfigError, match=r"has no records in Parquet \(columns x\)"):
        read_records(tmp_path / "r.parquet")
    write_records(_records([1, 1]), tmp_path / "r.parquet")
    table = parquet.read_table(tmp_path / "r.parquet")
    missing = table.set_column(0, table.field(0), arrow.array([0, None]))
    parquet.write_table(missing, tmp_path / "r.parquet")
    with pytest.raises(ConfigError, match=r"has no records in Parquet \(a number is missing\)"):
        read_records(tmp_path / "r.parquet")
    many = arrow.table({name: np.zeros(1 << 20, dtype) for name, dtype in COLUMNS.items()})
    parquet.write_table(many.append_column("piece", arrow.array([""] * (1 << 20))), tmp_path / "r.parquet")
    with pytest.raises(ConfigError, match=r"1048576 rows in \d+ bytes"):
        read_records(tmp_path / "r.parquet")


def test_damaged_files_are_refused_or_read(suffix, tmp_path):
    """Cut at random lengths, and with random bytes: one line, or rows that could be a pass's."""
    write_records(_records([1, 0, 1, 1] * 9, _SubWord), tmp_path / f"r{suffix}")
    whole, rng, path = (tmp_path / f"r{suffix}").read_bytes(), np.random.default_rng(0), tmp_path / f"d{suffix}"
    refused, lines = 0, []
    for trial in range(300):
        raw = bytearray(whole)
        if trial % 2:
            raw = raw[: rng.integers(0, len(raw))]
        else:
            for _ in range(rng.integers(1, 4)):
                raw[rng.integers(0, len(raw))] = rng.integers(0, 256)
        path.write_bytes(raw)
        try:
            read_records(path)
        except ConfigError as error:
            refused += 1
            lines.append(str(error))
    assert refused > 100
    assert not any("\n" in line for line in lines)


def _types(path):
    with np.load(path) as members:
        return {name: members[name].dtype.name for name in members.files if name.removeprefix("word.") in _NARROWED}


def test_an_npz_has_four_bytes_for_numbers_that_fit_and_is_read_as_eight(tmp_path):
    source = dataclasses.replace(_records([1, 0, 1] * 20, _SubWord), rank=np.arange(1, 61))
    path = tmp_path / "r.npz"
    write_records(source, path)
    names = ["position", "line", "word", "token", "rank", "word.word", "word.line", "word.pieces"]
    assert _types(path) == dict.fromkeys(names, "int32")
    read, words = read_records(path), read_words(path)
    assert all(getattr(read, name).dtype == dtype for name, dtype in COLUMNS.items())
    assert all(getattr(words, name).dtype == dtype for name, dtype in WORD_COLUMNS.items())
    assert all(np.array_equal(getattr(read, name), getattr(source, name)) for name in COLUMNS)


@pytest.mark.parametrize(("most", "name"), [((1 << 31) - 1, "int32"), (1 << 31, "int64")])
def test_a_column_whose_numbers_do_not_fit_has_eight_bytes(most, name, tmp_path):
    source = dataclasses.replace(_records([1] * 5), rank=np.array([1, 2, most, 1, 1]))
    write_records(source, tmp_path / "r.npz")
    assert _types(tmp_path / "r.npz")["rank"] == name
    assert read_records(tmp_path / "r.npz").rank.tolist() == [1, 2, most, 1, 1]


def test_records_of_before_have_eight_bytes_everywhere(tmp_path, monkeypatch):
    source = dataclasses.replace(_records([1, 0, 1] * 20, _SubWord), rank=np.arange(1, 61))
    write_records(source, tmp_path / "new.npz")
    monkeypatch.setattr(npz_records, "_NARROWED", set())
    write_records(source, tmp_path / "old.npz")
    monkeypatch.undo()
    assert set(_types(tmp_path / "old.npz").values()) == {"int64"}
    old, new = read_records(tmp_path / "old.npz"), read_records(tmp_path / "new.npz")
    assert all(np.array_equal(getattr(old, name), getattr(new, name)) for name in COLUMNS)
    assert read_words(tmp_path / "old.npz").text == read_words(tmp_path / "new.npz").text
