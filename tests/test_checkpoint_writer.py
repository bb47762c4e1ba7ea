"""Writing a checkpoint: what would be refused when it runs is not written."""

import numpy as np
import pytest
from tiny import tiny_checkpoint, tiny_parts

from lm_meter import Checkpoint, CheckpointError, write_checkpoint


@pytest.fixture
def refused(tmp_path):
    """The message with which a checkpoint is not written; nothing lies in the folder then."""

    def refusal(config, arrays):
        path = tmp_path / "model.npz"
        with pytest.raises(CheckpointError) as caught:
            write_checkpoint(path, config, arrays)
        assert list(tmp_path.iterdir()) == []
        message = str(caught.value)
        assert "\n" not in message
        return message.removeprefix(f"{path}: ")

    return refusal


def test_weights_that_are_not_finite(refused):
    config, arrays = tiny_parts()
    arrays["embedding"] = np.full_like(arrays["embedding"], np.nan)
    assert refused(config, arrays).startswith("array embedding has a NaN or infinite weight in row 0")


def test_a_tokenizer_that_no_run_would_take(refused):
    config, arrays = tiny_parts()
    assert "the tokenizer has 1 tokens" in refused(config, {**arrays, "tokenizer.words": np.array([97], np.uint8)})
    del config["tokenizer"]["end_of_line"]
    assert "tokenizer.end_of_line is missing" in refused(config, arrays)


@pytest.mark.parametrize("value", [np.int64(8), float("nan"), "\ud800", {1}])
def test_a_configuration_that_json_cannot_hold(value, refused):
    config, arrays = tiny_parts()
    message = refused({**config, "origin": value}, arrays)
    assert message.startswith("the configuration is no JSON (")
    assert message.endswith("); expected plain Python values")


def test_a_configuration_without_end(refused):
    config, arrays = tiny_parts()
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert refused({**config, "origin": deep}, arrays).startswith("the configuration is no JSON (")


@pytest.mark.parametrize("formats", [None, [1]])
def test_formats_that_are_no_mapping(formats, refused):
    config, arrays = tiny_parts()
    message = refused({**config, "formats": formats}, arrays)
    assert message == f"formats is {formats!r}; expected a mapping of array names to formats"


@pytest.mark.parametrize("name", ["\ud800", "a" * 201])
def test_names_that_no_archive_should_hold(name, refused):
    config, arrays = tiny_parts()
    message = refused(config, {**arrays, name: np.zeros(1, np.float32)})
    assert message == f"array name {name!r:.40}; expected ASCII, 200 letters at most"


def test_arrays_of_objects(refused):
    config, arrays = tiny_parts()
    message = refused(config, {**arrays, "embedding": np.array([None])})
    assert message == "array embedding holds Python objects; expected plain numbers"


def test_where_it_cannot_be_written(tmp_path):
    config, arrays = tiny_parts()
    for path, reason in ((tmp_path / "none" / "m.npz", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(CheckpointError) as caught:
            write_checkpoint(path, config, arrays)
        assert str(caught.value) == f"{path}: cannot be written ({reason}); choose another place"
    assert list(tmp_path.iterdir()) == []


def test_any_memory_layout_and_any_buffer_is_taken(tmp_path):
    config, arrays = tiny_parts()
    reference = tiny_checkpoint(tmp_path / "reference.npz").read_bytes()
    turned = {name: np.asfortranarray(array) for name, array in arrays.items()}
    turned["tokenizer.words"] = memoryview(arrays["tokenizer.words"].tobytes())
    write_checkpoint(tmp_path / "model.npz", config, turned)
    assert (tmp_path / "model.npz").read_bytes() == reference


def test_a_name_as_long_as_names_may_be(tmp_path):
    path = tmp_path / ("m" * 251 + ".npz")
    assert Checkpoint(tiny_checkpoint(path)).path == path
