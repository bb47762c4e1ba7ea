"""What is converted is told by its content; what no format fits is named for what it is, with what to do."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from huggingface_folders import llama_tensors, write_folder
from llama2c_files import llama2c_model
from state_dicts import random_state
from tiny import tiny_checkpoint

from lm_meter import CheckpointError, ConfigError, cli
from lm_meter.conversion import extras
from lm_meter.conversion.convert import SOURCES, convert
from lm_meter.conversion.extras import PACKAGES

save = pytest.importorskip("safetensors.numpy").save
ALL = "llama2c, gguf, huggingface, tensorflow, word-language-model"


def refused(source, tmp_path, kind=None):
    with pytest.raises(CheckpointError) as caught:
        convert(source, tmp_path / "out.npz", kind)
    assert "--from" not in str(caught.value)
    return str(caught.value)


def torch_archive(path, names, compression=zipfile.ZIP_STORED):
    """What torch.save writes, as far as names go: no PyTorch is needed to write or to recognise it."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", pickle.dumps(dict.fromkeys(names, 0), protocol=2))
        file.writestr("archive/data/0", b"\0" * 16)
    return path


def torch_pickle(path, names):
    """What it wrote before: pickles one after the other, then the numbers."""
    path.write_bytes(
        b"".join(pickle.dumps(part, protocol=2) for part in (1, 2, {}, dict.fromkeys(names, 0))) + b"\0" * 16
    )
    return path


@pytest.mark.parametrize("write", [torch_archive, torch_pickle])
def test_a_file_of_pytorch_is_told_by_its_tensors(write, tmp_path, monkeypatch):
    """Before PyTorch is needed, and before anybody is asked for a vocabulary."""
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    llama = write(tmp_path / "pytorch_model.bin", llama_tensors())
    assert refused(llama, tmp_path) == (
        f"{llama}: is not recognised as a model of one of {ALL}; it is a file of PyTorch without a tensor "
        "rnn.weight_hh_l0, which state dicts of word_language_model have (torch.save(model.state_dict(), FILE)); other "
        "models are read from their Hugging Face folder, with config.json and model.safetensors"
    )
    example = write(tmp_path / "state.pt", random_state())
    assert [name for name, source in SOURCES.items() if source.is_one(example)] == ["word-language-model"]
    with pytest.raises(ConfigError, match=r"this needs the package torch, which is not installed; pip"):
        convert(example, tmp_path / "out.npz")


def test_archives_that_are_damaged(tmp_path):
    good = torch_archive(tmp_path / "state.pt", [f"{n} rnn.weight_hh_l0" for n in range(50)], zipfile.ZIP_DEFLATED)
    assert SOURCES["word-language-model"].is_one(good)
    raw = bytearray(good.read_bytes())
    raw[60:90] = bytes(30)
    (tmp_path / "bad.pt").write_bytes(raw)
    assert "is a file of PyTorch without a tensor rnn.weight_hh_l0" in refused(tmp_path / "bad.pt", tmp_path)


def test_a_pickle_of_anything_is_not_the_example(tmp_path):
    (tmp_path / "thing").write_bytes(pickle.dumps([1, "encoder.weight"], protocol=4))
    assert "it is a file of PyTorch without a tensor rnn.weight_hh_l0" in refused(tmp_path / "thing", tmp_path)


def test_a_folder_with_weights_of_pytorch_alone(tmp_path):
    folder = write_folder(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    what = (
        "it has its weights as pytorch_model.bin only; expected model.safetensors, or model.safetensors.index.json and "
        "the files that it names: write them with AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER) "
        "of the transformers library"
    )
    assert refused(folder, tmp_path) == f"{folder}: is not recognised as a model of one of {ALL}; {what}"
    assert refused(folder, tmp_path, "huggingface") == f"{folder}: {what}"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"config.json": b"{}", "adapter_model.safetensors": b""},
            "it has adapter_model.safetensors, but nothing says that this is the whole model; expected model",
        ),
        ({"config.json": b"{}"}, "it has no weights; expected model.safetensors, or model.safetensors.index.json and"),
        ({"model.safetensors": b""}, "it has weights, but no config.json; expected both"),
        ({"b.gguf": b"GGUF", "a.gguf": b"GGUF"}, "it is a folder; name the file in it, a.gguf"),
        (
            {},
            "it is a folder without config.json beside model.safetensors or model.safetensors.index.json, and without",
        ),
    ],
)
def test_folders_that_are_no_models(files, message, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert refused(folder, tmp_path).startswith(f"{folder}: is not recognised as a model of one of {ALL}; {message}")


def test_files_that_are_something_else(tmp_path):
    tensors = tmp_path / "model.safetensors"
    tensors.write_bytes(save(llama_tensors()))
    assert refused(tensors, tmp_path).endswith(
        "; it is a file of tensors alone; name the folder that has it, as model.safetensors, and config.json"
    )
    ours = tiny_checkpoint(tmp_path / "ours.npz")
    assert refused(ours, tmp_path).endswith("; it is a checkpoint of lm-meter already; eval takes it as it is")
    arrays = io.BytesIO()
    np.savez(arrays, a=np.zeros(3))
    (tmp_path / "arrays.npz").write_bytes(arrays.getvalue())
    (tmp_path / "empty").write_bytes(b"")
    for name in ("arrays.npz", "empty"):
        assert refused(tmp_path / name, tmp_path).endswith(
            "; it begins as none of them does; expected a model as one of these programs writes it"
        )
    assert refused("/dev/null", tmp_path).endswith("; it is neither a file nor a folder")


def test_a_source_that_two_formats_fit(tmp_path):
    folder = write_folder(tmp_path / "model")
    (folder / "manifest.json").write_text(json.dumps({"basic_lstm_cell": {}}), encoding="utf-8")
    (folder / "vocab.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        convert(folder, tmp_path / "out.npz")
    assert str(caught.value) == (
        f"{folder}: may be a model of any of huggingface, tensorflow; name its format with --from"
    )


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", [None, "llama2c"])
def test_later_versions_of_llama2c(version, kind, tmp_path):
    """Their header: the magic number 0x616b3432, the version, seven sizes, a byte, and zeros up to 256 bytes."""
    numbers = np.array([0x616B3432, version, 8, 12, 2, 4, 2, 264, 16], "<i4")
    path = tmp_path / "model.bin"
    path.write_bytes(numbers.tobytes().ljust(256, b"\0") + llama2c_model()[28:])
    assert refused(path, tmp_path, kind).endswith(
        f"it is a llama2.c model of version {version}; expected version 0, which its export.py writes with --version 0"
    )


def test_a_model_of_llama2c_that_is_cut_off(tmp_path):
    path, raw = tmp_path / "model.bin", llama2c_model()
    path.write_bytes(raw[:-4])
    assert refused(path, tmp_path).endswith(
        f"it begins with the seven sizes of a llama2.c model, (8, 12, 2, 4, 2, 264, 16), which need {len(raw)} bytes, "
        f"and has {len(raw) - 4}; it may be cut off"
    )


def test_what_is_not_installed_has_the_names_that_pip_knows(monkeypatch):
    """lm-meter itself is in no index; what each extra has stands in pyproject.toml."""
    import tomllib
    from pathlib import Path

    document = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    declared = document["project"]["optional-dependencies"]
    for extra, names in PACKAGES.items():
        wanted = {entry.partition(">=")[0] for entry in declared[extra]}
        assert {name.strip("'").partition(">=")[0] for name in names.split()} == wanted
    monkeypatch.setattr(extras.importlib, "import_module", lambda name: __import__("no_such_package_at_all"))
    with pytest.raises(ConfigError) as caught:
        extras.needed("safetensors", "huggingface")
    assert (
        str(caught.value)
        == "this needs the package safetensors, which is not installed; pip install safetensors tokenizers"
    )


def test_no_message_and_no_page_has_a_package_that_there_is_not():
    from pathlib import Path

    root = Path(__file__).parents[1]
    files = [*root.glob("*.md"), *(root / "lm_meter").rglob("*.py"), *(root / "scripts").glob("*.py")]
    assert len(files) > 100
    assert [file.name for file in files if "lm-meter[" in file.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON ("),
        ('{"a": 1, "a": 2}', "twice); expected a tokenizer.json"),
        ("[]", "holds a list; expected one"),
    ],
)
def test_a_tokenizer_that_is_none(content, message, tmp_path):
    folder = write_folder(tmp_path / "model", tokenizer=content)
    assert f"{folder / 'tokenizer.json'}: " in refused(folder, tmp_path)
    assert message in refused(folder, tmp_path)


def test_no_tokenizer_at_all(tmp_path, capsys):
    folder = write_folder(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    assert cli.main(["convert", str(folder), str(tmp_path / "m.npz")]) == 2
    assert capsys.readouterr().err == (
        f"lm-meter: error: {folder}: has no tokenizer.json; write one with "
        "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of the transformers library, or name one with "
        "--tokenizer\n"
    )
