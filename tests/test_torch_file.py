"""Files that PyTorch saves: read as weights only, code in them never runs; tests that need PyTorch skip without it."""

import io
import pickle
import re
import shlex
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from state_dicts import WORDS, golden_case, random_state, text_of, vocabulary

from lm_meter import CheckpointError, ConfigError, RunOptions, cli, evaluate
from lm_meter.conversion.convert import convert
from lm_meter.conversion.torch_file import is_torch_file, read_torch_file

REFUSED = (
    "PyTorch does not read it as weights only; it is damaged, or holds more than tensors (a whole model, or code, "
    "which was not run); expected torch.save(model.state_dict(), FILE)"
)
HAPPENED = []


def happen(what):
    """What a file must not be able to call."""
    HAPPENED.append(what)


class Trap:
    """A pickle of it calls a function when it is read."""

    def __reduce__(self):
        return (happen, ("code of the file ran",))


class Model:
    """Anything but tensors: a pickle of it names a class of ours."""


@pytest.fixture
def torch():
    """PyTorch; the test is skipped without it."""
    return pytest.importorskip("torch")


def saved(torch, state, path, **options):
    """Write arrays as a state dict."""
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path, **options)
    return path


def archive(*names):
    """Bytes of a zip archive of empty members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members:
        for name in names:
            members.writestr(name, b"")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (archive("state/data.pkl", "state/data/0"), True),
        (pickle.dumps([1], protocol=2), True),
        (pickle.dumps([1], protocol=5), True),
        (archive("config.json", "embedding.npy"), False),
        (archive("state/data.pkl")[:-1], False),
        (b"\x80\x07", False),
        (b"\x80", False),
        (b"", False),
        (b"the cat sat\n", False),
    ],
)
def test_what_looks_like_a_file_of_pytorch(content, expected, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert is_torch_file(tmp_path / "file") == expected


def test_a_file_that_is_none(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("the cat sat\n", encoding="utf-8")
    command = ["convert", str(tmp_path / "notes.txt"), str(tmp_path / "m.npz"), "--from", "word-language-model"]
    assert cli.main([*command, "--tokenizer", str(vocabulary(tmp_path / "words"))]) == 2
    errors = capsys.readouterr().err
    assert "notes.txt: is no file that torch.save writes; expected torch.save(model.state_dict(), FILE)" in errors
    assert errors.count("\n") == 1
    with pytest.raises(CheckpointError, match=r"notes.txt: is not recognised as a model of one of llama2c"):
        convert(tmp_path / "notes.txt", tmp_path / "m.npz", tokenizer=tmp_path / "words")
    with pytest.raises(CheckpointError, match=r"nothing.pt: cannot be read \(No such file or directory\)"):
        convert(tmp_path / "nothing.pt", tmp_path / "m.npz", "word-language-model", tmp_path / "words")


def test_without_pytorch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "state.pt").write_bytes(archive("state/data.pkl"))
    with pytest.raises(
        ConfigError,
        match=r"this needs the package torch, which is not installed; pip install 'torch>=2\.10'",
    ):
        read_torch_file(tmp_path / "state.pt")


@pytest.mark.parametrize("version", ["1.13.1", "2.5.1+cpu", "2.9.1"])
def test_a_version_that_might_run_code(version, tmp_path, monkeypatch):
    old = types.SimpleNamespace(__version__=version)  # with nothing that could load a file
    monkeypatch.setitem(sys.modules, "torch", old)
    (tmp_path / "state.pt").write_bytes(archive("state/data.pkl"))
    with pytest.raises(ConfigError) as caught:
        read_torch_file(tmp_path / "state.pt")
    assert str(caught.value) == (
        f"PyTorch {version} is installed, which may run code that is hidden in a file of weights; "
        "pip install 'torch>=2.10'"
    )


def test_pytorch_is_asked_for_weights_only(tmp_path, monkeypatch, capsys):
    """A stand-in for PyTorch refuses as the real one does: in many lines, with advice that nobody should follow."""
    asked = {}

    def load(file, **options):
        asked.update(options)
        raise pickle.UnpicklingError("Weights only load failed.\nSet weights_only=False to run arbitrary code.")

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.10.0+cpu", load=load))
    (tmp_path / "model.pt").write_bytes(archive("model/data.pkl"))
    command = ["convert", str(tmp_path / "model.pt"), str(tmp_path / "m.npz"), "--from", "word-language-model"]
    assert cli.main([*command, "--tokenizer", str(vocabulary(tmp_path / "words"))]) == 2
    errors = capsys.readouterr().err
    assert asked == {"weights_only": True, "map_location": "cpu"}
    assert f"model.pt: {REFUSED}\n" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("archived", [True, False])
def test_tensors_are_read_as_they_are(archived, torch, tmp_path):
    state = random_state()
    path = saved(torch, state, tmp_path / "state.pt", _use_new_zipfile_serialization=archived)
    found = read_torch_file(path)
    assert list(found) == list(state)
    for name, array in state.items():
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], array)


def test_bfloat16_is_read_as_its_bits(torch, tmp_path):
    torch.save({"decoder.bias": torch.tensor([1.0, -2.5], dtype=torch.bfloat16)}, tmp_path / "state.pt")
    # 1 is 0x3f800000 in float32, -2.5 is 0xc0200000.
    assert read_torch_file(tmp_path / "state.pt")["decoder.bias"].tolist() == [0x3F80, 0xC020]


@pytest.mark.parametrize("name", ["lstm_2_tied", "lstm_1_untied", "gru_2_tied"])
def test_a_module_says_the_same_before_and_after(name, torch, tmp_path):
    """PyTorch in float32, from the weights that it saves here; both sides round (see the golden test's tolerance)."""
    state, words, tokens, _ = golden_case(name)
    width, layers = state["encoder.weight"].shape[1], int(name.split("_")[1])
    units = state["rnn.weight_hh_l0"].shape[1]
    module = torch.nn.Module()
    module.encoder = torch.nn.Embedding(len(words), width)
    module.rnn = (torch.nn.LSTM if name.startswith("lstm") else torch.nn.GRU)(
        width, units, layers, dropout=0.2 if layers > 1 else 0
    )
    module.decoder = torch.nn.Linear(units, len(words))
    if name.endswith("_tied"):
        module.decoder.weight = module.encoder.weight
    module.load_state_dict({key: torch.from_numpy(array) for key, array in state.items()})
    module.eval()
    torch.save(module.state_dict(), tmp_path / "state.pt")
    # The example's batches are columns: (tokens, 1).
    column = torch.from_numpy(tokens)[:, None]
    with torch.no_grad():
        scores = module.decoder(module.rnn(module.encoder(column[:-1]))[0])[:, 0]
        expected = torch.log_softmax(scores, dim=1).gather(1, column[1:])[:, 0].numpy()
    (tmp_path / "text").write_text(text_of(tokens, words), encoding="utf-8")

    convert(tmp_path / "state.pt", tmp_path / "m.npz", tokenizer=vocabulary(tmp_path / "words", words))
    result = evaluate(tmp_path / "m.npz", text=tmp_path / "text", options=RunOptions(first_token="skip"))

    np.testing.assert_allclose(result.log_probs, expected, rtol=0, atol=16 * 2**-22)


def _trap_in_a_state_dict(torch, path):
    tensors = {name: torch.from_numpy(array) for name, array in random_state().items()}
    torch.save({**tensors, "decoder.bias": Trap()}, path)


def _trap_alone(torch, path):
    path.write_bytes(pickle.dumps(Trap(), protocol=2))


def _whole_model(torch, path):
    torch.save(Model(), path)


def _whole_module_of_pytorch(torch, path):
    torch.save(torch.nn.LSTM(3, 4), path)


def _cut_off(torch, path):
    saved(torch, random_state(), path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content[: len(content) // 2])


@pytest.mark.parametrize(
    "write", [_trap_in_a_state_dict, _trap_alone, _whole_model, _whole_module_of_pytorch, _cut_off]
)
def test_code_does_not_run(write, torch, tmp_path, capsys):
    HAPPENED.clear()
    write(torch, tmp_path / "model.pt")
    command = ["convert", str(tmp_path / "model.pt"), str(tmp_path / "m.npz"), "--from", "word-language-model"]
    assert cli.main([*command, "--tokenizer", str(vocabulary(tmp_path / "words"))]) == 2
    errors = capsys.readouterr().err
    assert f"model.pt: {REFUSED}\n" in errors
    assert errors.count("\n") == 1
    assert HAPPENED == []
    assert not (tmp_path / "m.npz").exists()


def test_the_trap_works(torch, tmp_path):
    """Read the way that is not taken here, its code runs."""
    HAPPENED.clear()
    _trap_alone(torch, tmp_path / "model.pt")
    pickle.loads((tmp_path / "model.pt").read_bytes())
    assert HAPPENED == ["code of the file ran"]


@pytest.mark.parametrize("content", [[], {}, {"model": {}, "epoch": 3}, {1: 2}])
def test_anything_but_tensors_by_name(content, torch, tmp_path):
    torch.save(content, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"state.pt: holds no tensors by name alone; expected torch.save\(model."):
        read_torch_file(tmp_path / "state.pt")


def test_types_that_are_not_taken(torch, tmp_path):
    whole = torch.ones(2, 2)
    for tensor, kind in [
        (whole.double(), "float64"),
        (whole.long(), "int64"),
        (whole.half(), "float16"),
        (whole.to_sparse(), "sparse_coo"),
        (whole.to("meta"), "on the device meta"),
    ]:
        torch.save({"encoder.weight": whole, "decoder.weight": tensor}, tmp_path / "state.pt")
        with pytest.raises(CheckpointError) as caught:
            read_torch_file(tmp_path / "state.pt")
        assert (
            f"tensor decoder.weight is {kind}; expected one of float32, float16, bfloat16, the same for all tensors"
            in str(caught.value)
        )


def test_what_the_readme_says_of_it(torch, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Models of other programs")[1].split("\n## ")[0]
    program = re.findall(r"^    ((?:torch|open).*)$", section, re.MULTILINE)
    commands = re.findall(r"^    lm-meter (.*(?:state\.pt|test\.txt).*)$", section, re.MULTILINE)
    assert (len(program), len(commands)) == (2, 2)
    model = types.SimpleNamespace(state_dict=lambda: {n: torch.from_numpy(a) for n, a in random_state().items()})
    corpus = types.SimpleNamespace(dictionary=types.SimpleNamespace(idx2word=list(WORDS)))
    exec("\n".join(program), {"torch": torch, "model": model, "corpus": corpus})
    Path("test.txt").write_text("the cat sat\n", encoding="utf-8")
    for command in commands:
        assert cli.main(shlex.split(command)) == 0, command
    assert "perplexity" in capsys.readouterr().out


def test_a_gru_and_an_lstm_are_told_apart_in_a_file(torch, tmp_path):
    for kind in ("lstm", "gru"):
        saved(torch, random_state(kind), tmp_path / "state.pt")
        convert(tmp_path / "state.pt", tmp_path / f"{kind}.npz", tokenizer=vocabulary(tmp_path / "words", WORDS))
        text = tmp_path / "text"
        text.write_text("the cat sat\n", encoding="utf-8")
        assert evaluate(tmp_path / f"{kind}.npz", text=text)["checkpoint"]["architecture"] == kind


def test_members_that_are_packed(tmp_path, monkeypatch):
    """A thousand bytes of each: PyTorch would make room for them."""
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.10.0"))
    with zipfile.ZipFile(tmp_path / "m.pt", "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("m/data.pkl", bytes(1000))
    with pytest.raises(CheckpointError) as caught:
        read_torch_file(tmp_path / "m.pt")
    assert str(caught.value) == (
        f"{tmp_path / 'm.pt'}: its member m/data.pkl is compressed; expected an archive as torch.save writes it"
    )


def test_numbers_that_are_repeated(torch, tmp_path):
    """A terabyte of one number, which is four bytes of the file."""
    torch.save({"encoder.weight": torch.zeros(1).expand(1 << 20, 1 << 18)}, tmp_path / "m.pt")
    message = r"m.pt: its tensors have 1099511627776 bytes, the file has \d+; expected at most two tensors that are one"
    with pytest.raises(CheckpointError, match=message):
        read_torch_file(tmp_path / "m.pt")


def test_tied_tensors_are_once_in_the_file(torch, tmp_path):
    weight = torch.arange(4096.0).reshape(64, 64)
    torch.save({"encoder.weight": weight, "decoder.weight": weight}, tmp_path / "m.pt")
    found = read_torch_file(tmp_path / "m.pt")
    assert found["encoder.weight"].tobytes() == found["decoder.weight"].tobytes() == weight.numpy().tobytes()


def test_a_tensor_that_is_the_negative_of_what_is_stored(torch, tmp_path):
    """PyTorch marks it, and does not give out its numbers."""
    torch.save({"encoder.weight": torch._neg_view(torch.ones(2, 2))}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=re.escape(REFUSED)):
        read_torch_file(tmp_path / "m.pt")
