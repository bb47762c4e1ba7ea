"""Malformed files are read or refused in one short line; what ``scripts/fuzz.py`` found, each with its message.

More inputs, other readers and the limits of memory and time are the script's; here are as many as take seconds.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fuzzed_readers import READERS, mutate_result, without_measurements
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutated_files import archive_members, archive_of
from tiny import tiny_checkpoint
from tiny_transformer import transformer_parts

import lm_meter
from lm_meter import LmMeterError
from lm_meter.conversion.gguf import _take
from lm_meter.conversion.json_object import read_json_object
from lm_meter.entry import read_entry
from lm_meter.errors import CheckpointError, ConfigError, MeterError, StateError
from lm_meter.models.runtime import zeros
from lm_meter.npz import Npz
from lm_meter.result import load_result
from lm_meter.saved_state import SavedState, read_state, save_state
from lm_meter.tokenizers import HuggingFaceTokenizer

LONGEST = 1000
EXAMPLES = {"state": 300, "result": 300, "entry": 300, "text": 60, "checkpoint": 200}
ENTRY = 'checkpoint = "m.npz"\ncorpus = "sample"\n[run]\n{run}\n[claims]\nperplexity = 3\n'


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr("lm_meter.evaluation.stream_bytes_per_second", None)
    monkeypatch.setattr("lm_meter.result.describe", None)
    without_measurements()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    found = {name: READERS[name].seeds(folder) for name in ("state", "entry", "text")}
    (folder / "text").write_text("the cat sat\n" * 30, encoding="utf-8")
    lm_meter.write_checkpoint(folder / "t.npz", *transformer_parts("llama"))
    found["checkpoint"] = [tiny_checkpoint(folder / "m.npz").read_bytes(), (folder / "t.npz").read_bytes()]
    done = lm_meter.evaluate(folder / "m.npz", text=folder / "text", options=lm_meter.RunOptions(threads=1))
    found["result"] = [json.dumps(done.document).encode()]
    return found, folder


@pytest.mark.parametrize("name", EXAMPLES)
def test_malformed_files_are_read_or_refused_in_a_line(name, seeds):
    contents, folder = seeds

    @settings(
        max_examples=EXAMPLES[name], derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.randoms(use_true_random=False))
    def read(rng):
        mutate = mutate_result if name == "result" else READERS[name].mutate
        raw = mutate(rng, rng.choice(contents[name]))
        message = ""
        try:
            READERS[name].read(raw, folder)
        except LmMeterError as error:
            message = str(error).replace(str(folder), "")
        assert len(message.splitlines()) <= 1
        assert len(message) < LONGEST

    read()


@pytest.mark.parametrize("key", ['"a\\nb"', '"a\\u0085b"', '"a\\u2028b"'])
def test_a_message_is_one_line_whatever_it_names(key, tmp_path):
    (tmp_path / "e").write_text(f"{key} = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"has an unknown key a b; expected checkpoint, text"):
        read_entry(tmp_path / "e")


def test_a_message_names_the_beginning_of_what_is_long(tmp_path):
    long = "x" * 9000
    config, arrays = transformer_parts("llama")
    changed = {**config, "attention": {"groups": {"output": long}}}
    with pytest.raises(CheckpointError, match=r"attention.groups.output is 'x{59}; expected a whole number"):
        lm_meter.write_checkpoint(tmp_path / "m.npz", changed, arrays)
    with pytest.raises(
        CheckpointError,
        match=r"npz: x{60} is not known here, but may matter; known are format, version",
    ):
        lm_meter.write_checkpoint(tmp_path / "m.npz", {**config, long: 1}, arrays)
    members = archive_members(tiny_checkpoint(tmp_path / "m.npz").read_bytes())
    (tmp_path / "m.npz").write_bytes(archive_of([*members, (long, b"")]))
    with pytest.raises(CheckpointError, match=r"has a surplus member x{60}; expected config.json"):
        Npz(tmp_path / "m.npz")
    for run, message in (
        (f'limit = "{long}"', r"run: limit is 'x{59}; expected 1 or more word tokens"),
        (f'oov = "{long}"', r"run: oov is 'x{59}; expected 'error' or 'unk'"),
    ):
        (tmp_path / "e").write_text(ENTRY.format(run=run), encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            read_entry(tmp_path / "e")


@pytest.mark.parametrize(
    "line", ["limit = 0x" + "f" * 5000, "[x]\ncheckpoint = 0x" + "f" * 5000, "[claims.regions]\nlstm = 0x" + "f" * 5000]
)
def test_whole_numbers_that_python_does_not_write(line, tmp_path):
    (tmp_path / "e").write_text(line, encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"is not TOML .Exceeds the limit .4300 digits. for integer string conversion"
    ):
        read_entry(tmp_path / "e")


def test_keys_of_so_many_parts_that_the_parser_would_need_their_square(tmp_path):
    (tmp_path / "e").write_text(".".join("a" * 20000) + " = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is not TOML .a line has more than 40 points.; expected a file as"):
        read_entry(tmp_path / "e")


def test_documents_that_are_too_long_to_be_any(tmp_path):
    (tmp_path / "e").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ConfigError, match=r"is not TOML .it has more than 1048576 bytes.; expected a file as"):
        read_entry(tmp_path / "e")
    (tmp_path / "r").write_bytes(b"[" + b"{}," * (1 << 21) + b"{}]")
    with pytest.raises(ConfigError, match="has more than 6291456 bytes; expected a result written by --output"):
        load_result(tmp_path / "r")
    with pytest.raises(CheckpointError, match="has more than 6291456 bytes; expected a configuration, one JSON"):
        read_json_object(tmp_path / "r")


def test_configurations_of_other_programs_are_json_as_its_standard_has_it(tmp_path):
    for content in ('{"a": NaN}', '{"a": "\\ud800"}', '{"a": 1, "a": 2}'):
        (tmp_path / "c").write_text(content, encoding="utf-8")
        with pytest.raises(CheckpointError, match=r"c: is not JSON .*; expected a configuration, one JSON object"):
            read_json_object(tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"absent: cannot be read .No such file.*; expected a configuration"):
        read_json_object(tmp_path / "absent")


def _state_with(path, arrays=None, **parts):
    """A saved state whose header says something else; its checksum is right."""
    import hashlib

    save_state(SavedState({}, {}, {"a": np.zeros(2, np.float32)}), path)
    raw = path.read_bytes()
    at = raw.index(b"\n") + 1
    size = int.from_bytes(raw[at : at + 8], "little")
    header = json.loads(raw[at + 8 : at + 8 + size]) | parts
    header["arrays"] = arrays or header["arrays"]
    text = json.dumps(header).encode()
    whole = raw[:at] + len(text).to_bytes(8, "little") + text + raw[at + 8 + size : -32]
    path.write_bytes(whole + hashlib.sha256(whole).digest())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"arrays": [{"name": "a", "dtype": "float32", "shape": [0, 10**30]}]}, "array 'a' has the shape [0, 1000000"),
        ({"arrays": [{"name": "a", "dtype": "float32", "shape": ["2"]}]}, "array 'a' has the shape ['2']"),
        ({"arrays": [{"name": "a", "dtype": "float32", "shape": [2.0]}]}, "array 'a' has the shape [2.0]"),
        ({"arrays": [{"name": "a", "dtype": "float32", "shape": [1] * 9}]}, "header is not a state's (array 'a')"),
        ({"arrays": [{"name": "a", "dtype": "O", "shape": [1]}]}, "header is not a state's (array 'a')"),
        ({"arrays": [{"name": 1, "dtype": "float32", "shape": [2]}]}, "array 1 has no name of its own"),
        ({"arrays": [{"name": "a", "dtype": "float32", "shape": [1]}] * 2}, "array 'a' has no name of its own"),
        ({"arrays": [{"name": "a", "dtype": "float32", "shape": [9]}]}, "array 'a' is larger than the file"),
        ({"arrays": [{"name": "a", "dtype": "float32", "shape": [1]}]}, "bytes behind the last array"),
        ({"run": [["a", 1]]}, "run is [['a', 1]]"),
        ({"progress": "x"}, "progress is 'x'"),
    ],
)  # fmt: skip
def test_states_whose_header_is_none(parts, message, tmp_path):
    _state_with(tmp_path / "s", **parts)
    with pytest.raises(StateError, match=re.escape(message)):
        read_state(tmp_path / "s")


def test_a_state_whose_header_has_the_size_of_a_text(tmp_path):
    _state_with(tmp_path / "s", run={"a": "x" * (1 << 22)})
    with pytest.raises(StateError, match=r"bytes; expected at most 4194304, inside the file"):
        read_state(tmp_path / "s")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"dimensions": {"context": 1 << 24}}, "dimensions.context"),
        ({"attention": {"window": 1 << 24}}, "attention.window"),
        ({"attention": {"pattern": {"kind": "local_global", "local": 1, "global": 1 << 24}}}, "pattern.global"),
        ({"attention": {"pattern": {"kind": "strided", "local": 1, "stride": 1 << 24}}}, "pattern.stride"),
    ],
)
def test_contexts_that_no_memory_holds(changes, name, tmp_path):
    """Of these the positions that are alive were looked for in arrays of 128 MB."""
    with pytest.raises(CheckpointError, match=f"{name} is 16777216; expected a whole number from 1 to 1048576"):
        lm_meter.write_checkpoint(tmp_path / "m.npz", *transformer_parts("llama", **changes))


@pytest.mark.parametrize(
    ("strides", "context", "period"),
    [((1 << 20, 1 << 20), 9, "1048576"), ((4095, 4096), 9, "16773120"), ((512, 512), 1 << 20, "512")],
)
def test_fixed_patterns_that_never_seem_to_repeat(strides, context, period, tmp_path):
    """Of these every position of the period was counted over the whole context."""
    pattern = [{"kind": "fixed", "stride": stride, "summary": 1} for stride in strides]
    config, arrays = transformer_parts("fixed")
    config = {**config, "attention": {"pattern": pattern}, "dimensions": {**config["dimensions"], "context": context}}
    message = (
        f"fixed patterns repeat together after {period} positions of a context of {context}; expected at most 4096, or "
        "a shorter context (all their positions are counted)"
    )
    with pytest.raises(CheckpointError, match=re.escape(message)):
        lm_meter.write_checkpoint(tmp_path / "m.npz", config, arrays)


def test_a_tokenizer_whose_numbers_the_model_has_no_rows_for():
    """Its tokens were looked up outside of the embedding."""
    pytest.importorskip("tokenizers")
    vocabulary = {"a": 0, "b": 16777215}
    raw = json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}).encode()
    message = "tokenizer.json numbers a token 16777215; expected numbers below 2, which is how many tokens it has"
    with pytest.raises(CheckpointError, match=message):
        HuggingFaceTokenizer(raw, "m.npz")


def test_a_gguf_tensor_without_numbers():
    gguf = pytest.importorskip("gguf")
    kind = gguf.GGMLQuantizationType.Q4_1
    tensor = SimpleNamespace(name="x", tensor_type=kind, shape=np.array([0, 32]), data=np.zeros((32, 0), np.uint8))
    with pytest.raises(
        CheckpointError, match=r"tensor x is Q4_1 of shape \(32, 0\); expected a matrix with a multiple of"
    ):
        _take(tensor, "x", {}, Path("m.gguf"))


def test_memory_that_there_is_not():
    advice = "choose a shorter context, a smaller continuous cache or a smaller block"
    with pytest.raises(MeterError, match=rf"no memory for an array of \d+ x 8 numbers; {advice}"):
        zeros(1 << 50, 8)


def test_a_result_with_a_field_that_ends_lines(tmp_path):
    done = lm_meter.evaluate(tiny_checkpoint(tmp_path / "m.npz"), text=_text(tmp_path))
    done.document["storage"]["tensors"][0]["x\ny" * 500] = 1
    (tmp_path / "r").write_text(json.dumps(done.document), encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"contradicts itself .TypeError: Tensor.__init__.. got an unexp.*; write it a"
    ):
        load_result(tmp_path / "r")


def _text(folder):
    (folder / "text").write_text("the cat sat\n", encoding="utf-8")
    return folder / "text"


def test_the_well_formed_files_are_read(seeds):
    """Else their mutations would stop where they do."""
    contents, folder = seeds
    for name in EXAMPLES:
        for raw in contents[name][:1]:
            READERS[name].read(raw, folder)
