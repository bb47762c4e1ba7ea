"""Files that are none, never end, or declare more than they have: refused in one line, without waiting or reading."""

import ast
import json
import os
import re
import resource
import struct
import threading
from pathlib import Path

import pytest
from recorded import recorded
from tiny import tiny_checkpoint

import lm_meter
from lm_meter import CheckpointError, ConfigError, LmMeterError, TextError
from lm_meter.conversion.convert import convert
from lm_meter.conversion.safetensors_file import read_safetensors
from lm_meter.conversion.torch_file import is_torch_file
from lm_meter.csv_records import read_csv_records
from lm_meter.entry import read_entry
from lm_meter.entry_vocabulary import read_vocabulary
from lm_meter.npz import Npz
from lm_meter.npz_records import read_npz_records
from lm_meter.records import write_records
from lm_meter.regular_file import open_regular, read_regular
from lm_meter.result import load_result
from lm_meter.result_records import file_sha256
from lm_meter.saved_state import read_state
from lm_meter.text import read_text

MEGABYTES = 1 << 20


@pytest.fixture(autouse=True)
def little_memory():
    """A reader that reads all of something large, or of something endless, fails at once."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 1000 * MEGABYTES, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def huge(path, begin=b"", size=1 << 40):
    """A file of a terabyte that takes none of the disk."""
    with open(path, "wb") as file:
        file.write(begin)
        file.truncate(size)
    return path


def parquet_records(path):
    pytest.importorskip("pyarrow")
    from lm_meter.parquet_records import read_parquet_records

    return read_parquet_records(path)


def as_tokenizer(path):
    """As the file that --tokenizer names for a state dict."""
    from lm_meter.conversion import word_language_model

    return word_language_model._vocabulary(path)


READERS = {
    "checkpoint": (Npz, CheckpointError),
    "vocabulary": (read_vocabulary, TextError),
    "SentencePiece vocabulary": (lambda path: read_vocabulary(path.rename(path.with_suffix(".model"))), TextError),
    "words": (as_tokenizer, OSError),
    "state": (read_state, LmMeterError),
    "npz records": (read_npz_records, ConfigError),
    "csv records": (read_csv_records, ConfigError),
    "parquet records": (parquet_records, ConfigError),
    "hash of records": (file_sha256, ConfigError),
    "torch": (is_torch_file, OSError),
}


def said(caught):
    return getattr(caught.value, "strerror", None) or str(caught.value)


@pytest.mark.parametrize("name", READERS)
def test_a_named_pipe_is_not_waited_for(name, tmp_path):
    read, error = READERS[name]
    os.mkfifo(tmp_path / "m")
    with pytest.raises(error) as caught:
        read(tmp_path / "m")
    assert "it is a named pipe; a regular file can be read" in said(caught)
    assert len(said(caught).splitlines()) == 1


@pytest.mark.parametrize("name", READERS)
def test_a_device_that_never_ends_is_not_read(name, tmp_path):
    read, error = READERS[name]
    (tmp_path / "m").symlink_to("/dev/zero")
    with pytest.raises(error) as caught:
        read(tmp_path / "m")
    assert "it is a device; a regular file can be read" in said(caught)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vocabulary", "it has more than 67108864 bytes"),
        ("SentencePiece vocabulary", "it has more than 67108864 bytes"),
        ("words", "it has more than 67108864 bytes"),
        ("csv records", "a line of more than 65536 characters"),
    ],
)
def test_a_terabyte_is_not_read(name, message, tmp_path):
    read, error = READERS[name]
    with pytest.raises((error, LmMeterError)) as caught:
        read(huge(tmp_path / "m", b"position,"))
    assert message in said(caught) or "the first line is not" in said(caught)


@pytest.mark.parametrize(("reader", "error"), [(Npz, CheckpointError), (read_npz_records, ConfigError)])
def test_a_directory_of_more_than_any_archive_needs(reader, error, tmp_path):
    """What ends an archive says where its directory begins, and its size."""
    directory = 1 << 25
    path = huge(tmp_path / "m.npz", size=directory)
    with path.open("ab") as file:
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, directory, 0, 0))
    with pytest.raises(error, match=rf"its directory has {directory} bytes; at most 16777216 are read"):
        reader(path)
    assert not is_torch_file(path)


def test_documents_and_texts_may_come_through_a_pipe(tmp_path):
    """As a shell passes on what a program prints; a device that never ends is refused."""
    done = lm_meter.evaluate(
        tiny_checkpoint(tmp_path / "m.npz"), text=_written(tmp_path / "t", "the cat sat\n"),
        options=lm_meter.RunOptions(threads=1),
    )  # fmt: skip
    document = json.dumps(done.document)
    entry = 'checkpoint = "m.npz"\ncorpus = "sample"\n[claims]\nperplexity = 3\n'
    os.mkfifo(tmp_path / "pipe")
    for read, content in ((load_result, document), (read_entry, entry), (read_text, "the cat sat\n")):
        writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(content,))
        writer.start()
        read(tmp_path / "pipe")
        writer.join()
        with pytest.raises(
            LmMeterError, match=r"/dev/zero: cannot be read .it is a device; a regular file can be read"
        ):
            read(Path("/dev/zero"))


def _written(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def test_a_file_that_grows_or_does_not_say_its_size(tmp_path):
    """Files of the system have size 0 until they are read."""
    with open_regular("/proc/self/status") as file:
        assert os.fstat(file.fileno()).st_size == 0
    with pytest.raises(OSError, match="it has more than 10 bytes"):
        read_regular("/proc/self/status", 10)
    assert read_regular(_written(tmp_path / "f", "0123456789"), 10) == b"0123456789"
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        read_regular(tmp_path, 10)
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        read_regular(tmp_path / "none", 10)


# Conversions


@pytest.fixture
def folder(tmp_path):
    """A folder of the Hugging Face kind."""
    safetensors = pytest.importorskip("safetensors.numpy")
    pytest.importorskip("tokenizers")
    from huggingface_folders import LLAMA, llama_tensors, tokenizer_json

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    (tmp_path / "model" / "model.safetensors").write_bytes(safetensors.save(llama_tensors()))
    (tmp_path / "model" / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    return tmp_path / "model"


@pytest.mark.parametrize("kind", ["huggingface", None])  # None: by its content
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pipe_in_a_folder_of_a_model(name, kind, folder, tmp_path):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    message = rf"{re.escape(name)}: cannot be read \(it is a named pipe; a regular file can be read\)"
    with pytest.raises(CheckpointError, match=message):
        convert(folder, tmp_path / "m.npz", kind)


def test_a_tokenizer_that_never_ends(folder, tmp_path):
    for path, reason in (
        (Path("/dev/zero"), "it is a device; "),
        (huge(tmp_path / "t"), "it has more than 134217728 by"),
    ):
        with pytest.raises(CheckpointError, match=rf"{path}: cannot be read \({reason}"):
            convert(folder, tmp_path / "m.npz", tokenizer=path)


@pytest.mark.parametrize("header", [1 << 63, 1 << 30, 40])
def test_a_header_of_safetensors_that_is_larger_than_the_file(header, tmp_path):
    pytest.importorskip("safetensors")
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", header) + b"{}")
    message = (
        rf"is no safetensors file that can be read \(its header has {header} bytes, the file 10; expected at most "
        r"16777216, and all in the file\)"
    )
    with pytest.raises(CheckpointError, match=message):
        read_safetensors(tmp_path / "m.safetensors")


def test_experts_that_no_file_has_are_not_counted_up(folder, tmp_path):
    """Names of 16 million experts took gigabytes before the first one was looked for."""
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mixtral", "num_local_experts": 1 << 24, "num_experts_per_tok": 1}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"has no tensor model.layers.0.block_sparse_moe.gate.weight"):
        convert(folder, tmp_path / "m.npz")


def test_weights_for_which_there_is_no_memory(folder, tmp_path):
    """A file of a terabyte, and a header that says so."""
    weights = folder / "model.safetensors"
    header = json.dumps({"x": {"dtype": "F32", "shape": [1 << 38], "data_offsets": [0, 1 << 40]}}).encode()
    huge(weights, struct.pack("<Q", len(header)) + header, (1 << 40) + 8 + len(header))
    with pytest.raises(
        CheckpointError, match="there is no memory for its weights; convert it where there is as much as it has bytes"
    ):
        convert(folder, tmp_path / "m.npz")


def test_a_panic_of_a_library_is_no_traceback(tmp_path, monkeypatch):
    """Rust's is no Exception."""
    safetensors = pytest.importorskip("safetensors")

    class PanicException(BaseException):
        pass

    def panics(_):
        raise PanicException("index out of bounds")

    monkeypatch.setattr(safetensors, "deserialize", panics)
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    with pytest.raises(CheckpointError, match=r"m.safetensors: is no safetensors file .* \(index out of bounds\)$"):
        read_safetensors(tmp_path / "m.safetensors")


def test_a_terabyte_that_begins_as_llama2c_or_is_a_variable(tmp_path):
    from llama2c_files import llama2c_model
    from test_tensorflow import dump, variables

    from lm_meter.conversion.llama2c import read_llama2c
    from lm_meter.conversion.tensorflow import read_tensorflow

    path = huge(tmp_path / "m.bin", llama2c_model()[:28])
    with pytest.raises(CheckpointError, match=r"m.bin: has 1099511627776 bytes; its header \(.*\) needs \d+"):
        read_llama2c(path, None)
    dump(tmp_path / "dump", variables())
    entry = json.loads((tmp_path / "dump" / "manifest.json").read_text())["embedding"]
    huge(tmp_path / "dump" / entry["filename"])
    with pytest.raises(CheckpointError, match=r"has 1099511627776 bytes; manifest.json gives it float32 numbers"):
        read_tensorflow(tmp_path / "dump", None)


# Records in Parquet


def written_records(tmp_path, change, **options):
    """Records of a few rows, with changed columns, written in another way."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    _, _, records = recorded(tmp_path, "r", _written(tmp_path / "t", "the cat sat\n" * 9))
    write_records(records, tmp_path / "r.parquet")
    table = parquet.read_table(tmp_path / "r.parquet")
    pieces = arrow.array(change(table.column("piece").to_pylist()))
    table = table.set_column(table.schema.get_field_index("piece"), "piece", pieces)
    parquet.write_table(table, tmp_path / "r.parquet", **options)
    return tmp_path / "r.parquet"


def test_records_that_are_packed_as_a_small_file_of_a_large_table_is(tmp_path):
    path = written_records(tmp_path, list, compression="zstd")
    with pytest.raises(ConfigError, match=r"a column is packed as ZSTD; expected one of SNAPPY, UNCOMPRESSED"):
        parquet_records(path)
    assert parquet_records(written_records(tmp_path, list)).size == 36


def test_a_long_text_in_many_rows(tmp_path):
    """Written once, it would be read as many times as there are rows."""
    path = written_records(tmp_path, lambda pieces: ["x" * MEGABYTES] * len(pieces))
    with pytest.raises(ConfigError, match=rf"has no records in Parquet \(a text of {MEGABYTES} characters\)"):
        parquet_records(path)


# What reads files that are not from elsewhere: of the system, of the user's cache, of a program that is run anyway.
OWN = {
    "child_supervisor",
    "corpora",
    "entry_program",
    "environment",
    "process_family",
    "process_state",
    "regular_file",
    "worker",
}


def opens_to_read(node):
    """Whether a call opens a file to read it, or reads it whole."""
    name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
    values = [value.value for value in ast.walk(node) if isinstance(value, ast.Constant)]
    return name == "read_bytes" or (name == "open" and "rb" in values) or (name == "read_text" and not node.args)


def test_every_reader_opens_its_files_in_one_place():
    """A new one that does not would wait for a pipe, or read a device without end."""
    found = set()
    for path in sorted(Path(lm_meter.__file__).parent.rglob("*.py")):
        calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
        if any(map(opens_to_read, calls)):
            found.add(path.stem)
    assert found == OWN
