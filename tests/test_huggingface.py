"""Hugging Face folders that are not what they should be, and tokenizers that lose something: each its own message."""

import json
import sys

import numpy as np
import pytest
from huggingface_folders import LLAMA, llama_tensors, tokenizer_json, write_folder

from lm_meter import Checkpoint, CheckpointError, ConfigError, read_text
from lm_meter.conversion.convert import convert
from lm_meter.text import Text
from lm_meter.tokenizers import load_tokenizer
from lm_meter.tokenizers.huggingface import HuggingFaceTokenizer

pytest.importorskip("tokenizers")
safetensors_numpy = pytest.importorskip("safetensors.numpy")

GPT2 = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 128, "n_positions": 16}


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "model")


def test_a_folder_is_taken_as_it_is(folder, tmp_path):
    entries = {"add_bos_token": True, "bos_token": {"content": "^"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(entries), encoding="utf-8")
    assert convert(folder, tmp_path / "m.npz").source == "huggingface"
    opened = Checkpoint(tmp_path / "m.npz")
    assert opened.formats["layers.0.attention.key.weight"].format == "float16"
    assert opened.config["tokenizer"] == {"kind": "huggingface", "start": "^"}
    tokenizer = load_tokenizer(opened)
    assert (tokenizer.number("a"), tokenizer.number("ab"), tokenizer.token(97)) == (97, None, "a")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "rwkv"}, "/config.json: model_type is 'rwkv'; expected one of gpt2, llama, mixtral"),
        ({"model_type": []}, "/config.json: model_type is []; expected one of gpt2, llama, mixtral"),
        ({"hidden_size": "8"}, "/config.json: hidden_size is '8'; expected a whole number from 1 to 16777216"),
        ({"num_attention_heads": 0}, "/config.json: num_attention_heads is 0; expected a whole number from 1 to"),
        ({"rope_theta": "x"}, "/config.json: rope_theta is 'x'; expected a number"),
        ({"rope_theta": 10**400}, "/config.json: rope_theta is 1000000"),
        ({"rope_parameters": {"rope_theta": None}}, "/config.json: rope_theta of rope_parameters is None; expected a"),
        ({"rope_parameters": [1]}, "/config.json: rope_parameters is [1]; expected a JSON object"),
        ({"hidden_act": []}, "/config.json: the activation is []; expected one of gelu_new"),
        ({"hidden_size": None}, "/config.json: has no hidden_size"),
        ({"hidden_act": "swish_beta"}, "/config.json: the activation is 'swish_beta'; expected one of gelu_new, gelu"),
        ({"rope_scaling": {"factor": 2}}, "/config.json: scales its rotary positions, which is not known here"),
        (
            {"rope_parameters": {"rope_type": "yarn"}},
            "/config.json: scales its rotary positions, which is not known here",
        ),
        ({"rope_scaling": {"type": "dynamic"}}, "/config.json: scales its rotary positions, which is not known here"),
        (
            {"sliding_window": 8},
            "/config.json: has a sliding_window, which the library does not give a Llama; expected null",
        ),
        ({"num_hidden_layers": 2}, "has no tensor model.layers.1.input_layernorm.weight"),
        ({"intermediate_size": 13}, "the configuration expects (13, 8)"),
    ],
)
def test_configurations_that_do_not_fit(changes, message, folder, tmp_path):
    entries = {key: value for key, value in {**LLAMA, **changes}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(entries), encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        convert(folder, tmp_path / "m.npz")
    assert message in str(caught.value)
    assert not (tmp_path / "m.npz").exists()


def test_a_tensor_that_no_such_model_has(folder, tmp_path):
    name = "model.layers.0.self_attn.q_proj.bias"
    (folder / "model.safetensors").write_bytes(
        safetensors_numpy.save({**llama_tensors(), name: np.ones(8, np.float16)})
    )
    with pytest.raises(CheckpointError) as caught:
        convert(folder, tmp_path / "m.npz")
    assert str(caught.value) == f"{folder}: has a tensor {name!r}, which no model of its configuration has"


def test_tensors_that_no_model_needs(folder, tmp_path):
    tensors = {**llama_tensors(), "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32)}
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]  # tied
    (folder / "model.safetensors").write_bytes(safetensors_numpy.save(tensors))
    convert(folder, tmp_path / "m.npz")
    assert Checkpoint(tmp_path / "m.npz").model_config.ends.tied


@pytest.mark.parametrize("change", [lambda head: head + np.float16(1), lambda head: head.astype(np.float32)])
def test_a_softmax_that_is_said_to_be_tied_and_is_not(change, folder, tmp_path):
    """Some versions of the library would take the one, some the other."""
    tensors = llama_tensors()
    tensors["lm_head.weight"] = change(tensors["model.embed_tokens.weight"])
    (folder / "model.safetensors").write_bytes(safetensors_numpy.save(tensors))
    with pytest.raises(CheckpointError) as caught:
        convert(folder, tmp_path / "m.npz")
    assert str(caught.value) == (
        f"{folder}: is tied by its configuration, but lm_head.weight is not its embedding; expected "
        "tie_word_embeddings to be false, or no such tensor"
    )


@pytest.mark.parametrize(
    ("entries", "base"),
    [
        ({}, 10000),
        ({"rope_theta": 7}, 7),
        ({"rope_theta": 7, "rope_scaling": None, "rope_parameters": {}}, 7),
        ({"rope_theta": 7, "rope_parameters": {"rope_theta": 8, "rope_type": "default"}}, 8),
        ({"rope_parameters": {"rope_theta": 8}, "rope_scaling": {"rope_theta": 9, "type": "default"}}, 9),
    ],
)
def test_the_base_of_rotary_positions_is_the_librarys(entries, base, folder, tmp_path):
    (folder / "config.json").write_text(json.dumps({**LLAMA, **entries}), encoding="utf-8")
    convert(folder, tmp_path / "m.npz")
    assert Checkpoint(tmp_path / "m.npz").model_config.positions.base == base


def test_what_a_mixtral_has_where_its_configuration_says_nothing(folder, tmp_path):
    tensors, inside = llama_tensors(), "model.layers.0.block_sparse_moe."
    gate, up, down = (tensors.pop(f"model.layers.0.mlp.{part}_proj.weight") for part in ("gate", "up", "down"))
    for expert in range(2):
        tensors |= {f"{inside}experts.{expert}.{n}.weight": m for n, m in (("w1", gate), ("w2", down), ("w3", up))}
    tensors[f"{inside}gate.weight"] = np.ones((2, 8), np.float16)
    (folder / "model.safetensors").write_bytes(safetensors_numpy.save(tensors))
    entries = {**LLAMA, "model_type": "mixtral", "num_local_experts": 2}
    (folder / "config.json").write_text(json.dumps(entries), encoding="utf-8")
    convert(folder, tmp_path / "m.npz")
    config = Checkpoint(tmp_path / "m.npz").config
    assert (config["positions"]["base"], config["norm"]["epsilon"]) == (1e6, 1e-5)


@pytest.mark.parametrize(
    "entries",
    [
        {"rope_scaling": {"rope_type": "default"}},
        {"rope_parameters": {"factor": 1}},
        {"rope_parameters": {"rope_type": "linear", "factor": 1.0}, "hidden_act": "swish"},
    ],
)
def test_positions_that_are_said_not_to_be_scaled(entries, folder, tmp_path):
    (folder / "config.json").write_text(json.dumps({**LLAMA, "head_dim": None, **entries}), encoding="utf-8")
    convert(folder, tmp_path / "m.npz")
    assert Checkpoint(tmp_path / "m.npz").model_config.positions.base == 10000


def _gpt2_tensors(rng):
    shapes = {"wte": (128, 8), "wpe": (16, 8), "ln_f": (8,), "h.0.ln_1": (8,), "h.0.ln_2": (8,)}
    shapes |= {
        "h.0.attn.c_attn": (8, 24),
        "h.0.attn.c_proj": (8, 8),
        "h.0.mlp.c_fc": (8, 32),
        "h.0.mlp.c_proj": (32, 8),
    }
    tensors = {f"{name}.weight": rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    biased = {name: shape for name, shape in shapes.items() if name[:1] != "w"}
    return tensors | {f"{name}.bias": rng.standard_normal(shape[-1:], np.float32) for name, shape in biased.items()}


@pytest.fixture
def gpt2_folder(folder):
    """Write a folder with changes of a GPT-2's configuration and tensors."""

    def write(entries, tensors):
        (folder / "config.json").write_text(json.dumps({**GPT2, **entries}), encoding="utf-8")
        whole = {**_gpt2_tensors(np.random.default_rng(4)), **tensors}
        (folder / "model.safetensors").write_bytes(safetensors_numpy.save(whole))
        return folder

    return write


def test_a_gpt2_whose_softmax_has_weights_of_its_own(gpt2_folder, tmp_path):
    head = np.random.default_rng(5).standard_normal((128, 8), np.float32)
    # Masks that older files hold beside the weights.
    masks = {"h.0.attn.bias": np.ones((1, 1, 16, 16), np.float32), "h.0.attn.masked_bias": np.ones((), np.float32)}
    convert(gpt2_folder({"tie_word_embeddings": False}, {"lm_head.weight": head, **masks}), tmp_path / "m.npz")
    opened = Checkpoint(tmp_path / "m.npz")
    assert not opened.model_config.ends.tied
    assert np.array_equal(opened.view(opened.verified("softmax.weight")), head)


@pytest.mark.parametrize("entries", [{}, {"tie_word_embeddings": True}])
def test_a_gpt2_is_tied_unless_it_says_otherwise(entries, gpt2_folder, tmp_path):
    head = _gpt2_tensors(np.random.default_rng(4))["wte.weight"]
    convert(gpt2_folder(entries, {"lm_head.weight": head}), tmp_path / "m.npz")
    opened = Checkpoint(tmp_path / "m.npz")
    assert opened.model_config.ends.tied
    assert "softmax.weight" not in opened.formats


@pytest.mark.parametrize(("entries", "scale"), [({}, 0.5), ({"scale_attn_weights": False}, 1.0)])
def test_a_gpt2_may_leave_its_scores_as_they_are(entries, scale, gpt2_folder, tmp_path):
    convert(gpt2_folder(entries, {}), tmp_path / "m.npz")
    assert Checkpoint(tmp_path / "m.npz").model_config.attention_scale == scale


@pytest.mark.parametrize(
    ("entries", "tensors", "message"),
    [
        (
            {"scale_attn_by_inverse_layer_idx": True},
            {},
            "/config.json: scales attention by the layer's number, which is not known here",
        ),
        (
            {},
            {"h.0.attn.c_attn.weight": np.ones((8, 48), np.float32)},
            "tensor h.0.attn.c_attn has shape (8, 48); expected 24 columns, a third each for queries, keys and values",
        ),
        ({}, {"h.0.attn.c_attn.bias": np.float32(0)}, "tensor h.0.attn.c_attn has shape (); expected 24 columns"),
    ],
)
def test_a_gpt2_that_is_none(entries, tensors, message, gpt2_folder, tmp_path):
    tensors = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    with pytest.raises(CheckpointError) as caught:
        convert(gpt2_folder(entries, tensors), tmp_path / "m.npz")
    assert message in str(caught.value)


def test_files_that_cannot_be_read(folder, tmp_path):
    (folder / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(CheckpointError, match=r"model.safetensors: is no safetensors file that can be read"):
        convert(folder, tmp_path / "m.npz")
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"/config.json: is not JSON"):
        convert(folder, tmp_path / "m.npz")


@pytest.mark.parametrize(
    ("content", "message"), [("{", ": is not JSON ("), ("[]", ": holds a list; expected one JSON")]
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_documents_that_are_no_objects(name, content, message, folder, tmp_path):
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        convert(folder, tmp_path / "m.npz")
    assert f"{folder / name}{message}" in str(caught.value)


def test_weights_that_are_no_floats(folder, tmp_path):
    tensors = {**llama_tensors(), "model.norm.weight": np.ones(8, np.int32)}
    (folder / "model.safetensors").write_bytes(safetensors_numpy.save(tensors))
    with pytest.raises(CheckpointError, match=r"tensor model.norm.weight is I32; expected one of F32, F16, BF16"):
        convert(folder, tmp_path / "m.npz")


def test_without_itstokenizer_json(folder, tmp_path):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"model: has no tokenizer.json; write one with AutoTokenizer.from_pretr"):
        convert(folder, tmp_path / "m.npz")


def test_tokenizers_that_are_none_or_lose_something(tmp_path):
    with pytest.raises(CheckpointError, match=r"m.npz: tokenizer.json cannot be read \("):
        HuggingFaceTokenizer(b"{}", "m.npz")
    nothing = Text("nothing", "", np.zeros(0, np.uint8))
    assert HuggingFaceTokenizer(tokenizer_json().encode(), "m.npz").encode(nothing).tokens.size == 0
    lowering = HuggingFaceTokenizer(tokenizer_json(normalizer={"type": "Lowercase"}).encode(), "m.npz")
    (tmp_path / "text").write_text("The CAt\n", encoding="utf-8")
    assert lowering.encode(read_text(tmp_path / "text")).lost.sum() == 3  # T, C and A


def test_packages_that_are_not_installed(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(
        ConfigError,
        match=r"this needs the package safetensors, which is not installed; pip install safetensors tokenizers",
    ):
        convert(folder, tmp_path / "m.npz")
    monkeypatch.setattr(sys, "path", [])  # where the process that runs it looks
    with pytest.raises(
        ConfigError,
        match=r"tokenizer.json needs the package tokenizers, which is not installed; pip install tokenizers",
    ):
        HuggingFaceTokenizer(b"", "m.npz")
