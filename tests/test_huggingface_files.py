"""Which files of a Hugging Face folder are its model: the whole file, else those of the index, and nothing else."""

import json

import numpy as np
import pytest
from huggingface_folders import llama_tensors, write_folder

from lm_meter import Checkpoint, CheckpointError
from lm_meter.conversion.convert import convert
from lm_meter.conversion.huggingface_files import INDEX

pytest.importorskip("tokenizers")
save = pytest.importorskip("safetensors.numpy").save
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path):
    """A folder whose model lies in two files with an index."""
    path = write_folder(tmp_path / "model")
    (path / "model.safetensors").unlink()
    tensors = llama_tensors()
    names = sorted(tensors)
    places = {name: FIRST if name in names[:4] else SECOND for name in names}
    for file in (FIRST, SECOND):
        write(path / file, {name: tensor for name, tensor in tensors.items() if places[name] == file})
    (path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}), encoding="utf-8")
    return path


def write(file, tensors):
    file.write_bytes(save(tensors))


def stale():
    """The same tensors with other numbers."""
    return {name: tensor + np.float16(1) for name, tensor in llama_tensors().items()}


def embedding_of(checkpoint):
    opened = Checkpoint(checkpoint)
    return opened.view(opened.verified("embedding"))


def refused(folder, tmp_path):
    with pytest.raises(CheckpointError) as caught:
        convert(folder, tmp_path / "m.npz")
    assert not (tmp_path / "m.npz").exists()
    return str(caught.value)


@pytest.mark.parametrize("name", ["model-00001-of-00003.safetensors", "zz.safetensors", "adapter_model.safetensors"])
def test_files_that_the_index_does_not_name_are_not_read(name, folder, tmp_path):
    write(folder / name, stale())
    convert(folder, tmp_path / "m.npz")
    assert np.array_equal(embedding_of(tmp_path / "m.npz"), llama_tensors()["model.embed_tokens.weight"])


def test_the_whole_file_goes_before_the_index(folder, tmp_path):
    write(folder / "model.safetensors", stale())
    (folder / SECOND).unlink()  # of no use then
    convert(folder, tmp_path / "m.npz")
    assert np.array_equal(embedding_of(tmp_path / "m.npz"), stale()["model.embed_tokens.weight"])


def test_a_file_that_is_missing(folder, tmp_path):
    (folder / SECOND).unlink()
    assert refused(folder, tmp_path) == (
        f"{folder / INDEX}: names {SECOND!r}, which is not there (1 of 2 files are missing); expected all of them "
        "beside it"
    )


def test_a_tensor_that_the_index_places_elsewhere(folder, tmp_path):
    write(folder / FIRST, llama_tensors())
    message = refused(folder, tmp_path)
    assert message.startswith(f"{folder / FIRST}: has a tensor 'model.")
    assert message.endswith(f", which {INDEX} does not place there; expected files and index of the same save")


def test_a_tensor_that_is_not_where_the_index_says(folder, tmp_path):
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    index["weight_map"]["lm_head.weight"] = SECOND
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    assert refused(folder, tmp_path) == (
        f"{folder / SECOND}: has no tensor 'lm_head.weight', which {INDEX} places there; expected files and index of "
        "the same save"
    )


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "a\0b", 3, None])
def test_an_index_that_leads_out_of_the_folder(name, folder, tmp_path):
    write(tmp_path / "model.safetensors", llama_tensors())
    (folder / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": name}}), encoding="utf-8")
    assert refused(folder, tmp_path) == (
        f"{folder / INDEX}: places 'model.norm.weight' in {name!r}; expected the name of a file in the same folder"
    )


@pytest.mark.parametrize("places", [None, [], {}, "model.safetensors"])
def test_an_index_without_places(places, folder, tmp_path):
    (folder / INDEX).write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    assert (
        refused(folder, tmp_path) == f"{folder / INDEX}: weight_map is {places!r}; expected a file name for each tensor"
    )
