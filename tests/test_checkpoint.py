"""Checkpoints: the configuration and the arrays agree, or the message says where they do not."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import tiny_checkpoint, tiny_parts

from lm_meter import Checkpoint, CheckpointError, LmMeterError, Model, write_checkpoint
from lm_meter.npz import Npz, write_npz
from lm_meter.weight_format import WeightFormat

LAYER = "lstm.0.weight"  # (48, 20) in the default tiny checkpoint: 4 * 12 rows, 8 + 12 columns


@pytest.fixture
def refused(tmp_path):
    """Writes a container without any check and gives the message with which it is refused as a checkpoint."""

    def refusal(config, arrays, opened_as=Checkpoint):
        path = tmp_path / "model.npz"
        write_npz(path, config if isinstance(config, str) else json.dumps(config), arrays)
        with pytest.raises(CheckpointError) as caught:
            opened_as(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        return message.removeprefix(f"{path}: ")

    return refusal


@pytest.fixture
def parts():
    """A complete configuration and its arrays, to be spoilt."""
    config, arrays = tiny_parts()
    return {"format": "lm-meter/checkpoint", "version": 1, **config}, arrays


def test_a_written_checkpoint_is_read(tmp_path):
    path = tiny_checkpoint(tmp_path / "a.npz", hidden=(12, 9), projection=5)
    config, arrays = tiny_parts(hidden=(12, 9), projection=5)

    opened = Checkpoint(path)

    assert opened.model_config.hidden == (12, 9)
    assert opened.config["origin"] == config["origin"]
    assert opened.bytes("tokenizer.words") == arrays["tokenizer.words"].tobytes()
    assert opened.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
    for name in opened.formats:
        np.testing.assert_array_equal(opened.weight_bits(opened.verified(name)), arrays[name].view(np.uint32))


@pytest.mark.parametrize("kind", ["word", "sentencepiece", "characters"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_kind_is_aligned_and_deterministic(kind, dtype, tmp_path):
    first = tiny_checkpoint(tmp_path / "a.npz", kind=kind, dtype=dtype)
    second = tiny_checkpoint(tmp_path / "b.npz", kind=kind, dtype=dtype)

    assert first.read_bytes() == second.read_bytes()
    assert {array.offset % 64 for array in Npz(first).arrays.values()} == {0}


def test_formats_are_taken_from_the_arrays_types(tmp_path):
    config, arrays = tiny_parts(dtype="float16")
    del config["formats"]
    write_checkpoint(tmp_path / "a.npz", config, arrays)

    assert set(Checkpoint(tmp_path / "a.npz").formats.values()) == {WeightFormat("float16")}


def test_a_refused_write_leaves_nothing_and_keeps_the_old_file(tmp_path):
    path = tiny_checkpoint(tmp_path / "model.npz")
    before = path.read_bytes()
    config, arrays = tiny_parts(seed=1)
    arrays[LAYER] = arrays[LAYER][:-1]

    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(path, config, arrays)

    assert str(caught.value) == f"{path}: array {LAYER}: has shape (47, 20); the configuration expects (48, 20)"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        '{"format": ',
        "[" * 200_000,
        "1" * 5000,
        r'{"origin": "\ud800"}',
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
    ],
    ids=["empty", "words", "cut off", "deep", "long number", "half a surrogate pair", "no number", "a key twice"],
)
def test_a_configuration_that_is_not_json(text, parts, refused):
    message = refused(text, parts[1])

    assert message.startswith("config.json is not JSON (")
    assert message.endswith("; expected one JSON object")


@pytest.mark.parametrize(("text", "kind"), [("[]", "list"), ("null", "NoneType"), ("1", "int"), ('"a"', "str")])
def test_a_configuration_that_is_no_object(text, kind, parts, refused):
    assert refused(text, parts[1]) == f"config.json holds a {kind}; expected one JSON object"


def test_another_format(parts, refused):
    config, arrays = parts
    assert refused({**config, "format": "onnx"}, arrays) == "format is 'onnx'; expected 'lm-meter/checkpoint'"


@pytest.mark.parametrize("version", [0, 3, "1", None, [1]])
def test_an_unknown_format_version(version, parts, refused):
    config, arrays = parts
    assert refused({**config, "version": version}, arrays) == (
        f"format version is {version!r}; this lm-meter reads versions 1 and 2; update it or write the checkpoint again"
    )


def test_an_unknown_architecture(parts, refused):
    config, arrays = parts
    message = refused({**config, "architecture": "rwkv"}, arrays)
    assert message == "architecture is 'rwkv'; this lm-meter knows gru, lstm, qrnn, transformer"


@pytest.mark.parametrize(("key", "kind"), [("architecture", "str"), ("tokenizer", "dict"), ("formats", "dict")])
@pytest.mark.parametrize("value", [None, 3, ["lstm"]])
def test_a_section_of_the_wrong_kind(key, kind, value, parts, refused):
    config, arrays = parts
    message = refused({**config, key: value}, arrays)
    assert message == f"config.json has no {key} ({kind}); see checkpoints/README.md"


def test_a_missing_array(parts, refused):
    config, arrays = parts
    del arrays["softmax.bias"]
    assert refused(config, arrays) == "array softmax.bias is missing; the configuration needs it"


def test_a_surplus_array(parts, refused):
    config, arrays = parts
    arrays["lstm.1.weight"] = arrays[LAYER]
    assert refused(config, arrays) == "surplus array lstm.1.weight; the configuration does not use it"


@pytest.mark.parametrize("shape", [(47, 20), (48, 20, 1), (960,), (20, 48)])
def test_a_wrong_shape(shape, parts, refused):
    config, arrays = parts
    arrays[LAYER] = np.zeros(shape, np.float32)
    assert refused(config, arrays) == f"array {LAYER}: has shape {shape}; the configuration expects (48, 20)"


def test_a_tokenizer_of_the_wrong_shape(parts, refused):
    config, arrays = parts
    arrays["tokenizer.words"] = arrays["tokenizer.words"].reshape(1, -1)
    size = arrays["tokenizer.words"].size
    message = refused(config, arrays)
    assert message == f"array tokenizer.words: has shape (1, {size}); the configuration expects (any)"


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", ">f4", "complex64"])
def test_a_wrong_type(dtype, parts, refused):
    config, arrays = parts
    arrays[LAYER] = arrays[LAYER].astype(dtype)
    assert refused(config, arrays) == (
        f"array {LAYER}: is stored as {np.dtype(dtype)}; its declared format float32 is stored as float32"
    )


def test_a_tokenizer_of_the_wrong_type(parts, refused):
    config, arrays = parts
    arrays["tokenizer.words"] = arrays["tokenizer.words"].astype(np.uint16)
    assert refused(config, arrays) == "array tokenizer.words: is stored as uint16; bytes are stored as uint8"


@pytest.mark.parametrize("weight_format", ["int5", "float64", None, 32, ["float32"], {}])
def test_an_unknown_weight_format(weight_format, parts, refused):
    config, arrays = parts
    config["formats"][LAYER] = weight_format
    shown = None if weight_format == {} else weight_format
    assert refused(config, arrays) == (
        f"array {LAYER}: config.json declares format {shown!r}; expected one of float32, float16, bfloat16, int8, "
        "int4, codebook4, or an object with one of them as its format"
    )


@pytest.mark.parametrize("name", ["tokenizer.words", "lstm.7.weight"])
def test_a_format_for_what_is_no_weight(name, parts, refused):
    config, arrays = parts
    config["formats"][name] = "float32"
    assert refused(config, arrays) == f"config.json declares a format for {name}, which is no weight here"


@pytest.mark.parametrize(("name", "section"), [("tied", ""), ("dimensions", ""), ("bias", "")])
def test_a_missing_entry(name, section, parts, refused):
    config, arrays = parts
    del config[name]
    assert refused(config, arrays) == f"config.json has no {section}{name}; see checkpoints/README.md"


@pytest.mark.parametrize("name", ["hidden", "projection", "vocabulary", "embedding"])
def test_a_missing_dimension(name, parts, refused):
    config, arrays = parts
    del config["dimensions"][name]
    assert refused(config, arrays) == f"config.json has no dimensions.{name}; see checkpoints/README.md"


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "8", None, 10**30, [8]])
def test_a_dimension_that_is_no_size(value, parts, refused):
    config, arrays = parts
    config["dimensions"]["embedding"] = value
    expected = f"dimensions.embedding is {value!r}; expected a whole number from 1 to 16777216"
    assert refused(config, arrays) == expected


@pytest.mark.parametrize("value", [[], 12, None, [12] * 65])
def test_layers_that_are_no_list_of_sizes(value, parts, refused):
    config, arrays = parts
    config["dimensions"]["hidden"] = value
    assert refused(config, arrays) == f"dimensions.hidden is {value!r:.60}; expected a list of 1 to 64 sizes"


def test_sections_that_are_no_objects(parts, refused):
    config, arrays = parts
    assert refused({**config, "bias": True}, arrays) == "bias is True; expected a JSON object"


def test_flags_that_are_neither_true_nor_false(parts, refused):
    config, arrays = parts
    assert refused({**config, "tied": 1}, arrays) == "tied is 1; expected true or false"


def test_a_tied_softmax_of_another_width(parts, refused):
    """The embedding is 8 wide, the last layer 12."""
    config, arrays = parts
    assert refused({**config, "tied": True}, arrays) == (
        "the softmax is tied to the embedding of width 8, but reads vectors of width 12; "
        "expected the same width (a projection to it, or tied: false)"
    )


def test_entries_that_a_model_does_not_have(parts, refused):
    config, arrays = parts
    expected = "format, version, architecture, dimensions, tied, adaptive, continuous_cache, bias, formats, tokenizer"
    assert refused({**config, "output_gate": True}, arrays) == (
        f"output_gate is not known here, but may matter; known are {expected}, origin"
    )


@pytest.mark.parametrize("window", [[2], [2, 65]])
def test_windows_of_a_qrnn_that_do_not_fit_its_layers(window, refused):
    config, arrays = tiny_parts(architecture="qrnn", hidden=(4, 4), window=(2, 1), output_gate=True)
    config["dimensions"]["window"] = window
    assert refused({"format": "lm-meter/checkpoint", "version": 1, **config}, arrays) == (
        f"dimensions.window is {window}; expected a number from 1 to 64 for each of 2 layers"
    )


def test_the_bias_of_a_projection_that_is_not_there(parts, refused):
    config, arrays = parts
    config["bias"]["projection"] = True
    assert refused(config, arrays) == "bias.projection is true without a projection; expected false"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "row"), [("embedding", 3), (LAYER, 0), (LAYER, 47), ("lstm.0.bias", 13), ("softmax.weight", 14)]
)
def test_weights_that_are_not_finite(dtype, value, name, row, refused):
    config, arrays = tiny_parts(dtype=dtype)
    bad = np.array(value, np.float32)
    weights = arrays[name].copy()
    weights.reshape(len(weights), -1)[row, -1] = bad.view(np.uint32) >> 16 if dtype == "bfloat16" else bad
    arrays[name] = weights

    message = refused(
        {"format": "lm-meter/checkpoint", "version": 1, **config}, arrays, opened_as=lambda path: Model(path, threads=1)
    )

    assert message == f"array {name} has a NaN or infinite weight in row {row}; all must be finite"


def test_a_damaged_weight_is_refused_when_the_model_is_loaded(tmp_path):
    path = tiny_checkpoint(tmp_path / "model.npz")
    raw = bytearray(path.read_bytes())
    raw[Npz(path).arrays[LAYER].offset + 41] ^= 1
    path.write_bytes(raw)

    with pytest.raises(CheckpointError) as caught:
        Model(path, threads=1)

    assert str(caught.value) == f"{path}: array {LAYER} is damaged (its checksum differs); get the file again"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tiny_checkpoint(tmp_path_factory.mktemp("mutated") / "model.npz", embedding=2, hidden=(2,))
    return path, path.read_bytes()


@settings(
    max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_harmless(data, original):
    """Whatever bytes change or are cut off, nothing but an LmMeterError is ever raised."""
    path, whole = original
    raw = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.one_of(st.none(), st.integers(0, len(raw))))])
    try:
        Model(path, threads=1)
    except LmMeterError as error:
        assert str(path) in str(error)  # noqa: PT017


# Any JSON value in place of any entry, whatever the entry should be.
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(
    max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), value=JSON_VALUES)
def test_a_changed_configuration_is_refused_or_harmless(data, value, tmp_path):
    config, arrays = tiny_parts(embedding=2, hidden=(2,))
    entries = {"format": "lm-meter/checkpoint", "version": 1, **config}
    section = data.draw(st.sampled_from([entries, *(v for v in entries.values() if isinstance(v, dict))]))
    section[data.draw(st.sampled_from(sorted(section)))] = value
    write_npz(tmp_path / "model.npz", json.dumps(entries), arrays)
    try:
        Model(tmp_path / "model.npz", threads=1)
    except LmMeterError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017


@pytest.mark.parametrize("origin", [3, "two\nlines", ["a"]])
def test_an_origin_that_is_not_one_line(origin, parts, refused):
    config, arrays = parts
    assert refused({**config, "origin": origin}, arrays) == f"origin is {origin!r}; expected one line of text"


def test_the_checksum_is_that_of_the_file_that_was_opened(tmp_path):
    path = tiny_checkpoint(tmp_path / "model.npz")
    raw, opened = path.read_bytes(), Checkpoint(path)
    tiny_checkpoint(path, seed=1)  # replaces the file while it is open
    assert opened.sha256() == hashlib.sha256(raw).hexdigest() != Checkpoint(path).sha256()
    path.unlink()
    assert opened.sha256() == hashlib.sha256(raw).hexdigest()
