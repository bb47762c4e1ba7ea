"""Hugging Face folders of the GPT-2, Llama and Mixtral families: ``config.json``, safetensors files, a tokenizer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from os.path import lexists
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from .huggingface_files import has_weights, read_tensors
from .huggingface_tokenizer import read_tokenizer
from .json_object import read_json_object
from .parts import FLOATS, LLAMA, Parts, llama_norm
from .settings import real, whole

# Tensors that some files have and no model needs: masks of GPT-2, and frequencies that are computed here.
_UNNEEDED = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
_ATTENTION_PARTS = (
    ("attention", "self_attn.q_proj", "attention.query"),
    ("attention", "self_attn.k_proj", "attention.key"),
    ("attention", "self_attn.v_proj", "attention.value"),
    ("attention", "self_attn.o_proj", "attention.output"),
)
_UNSCALED = ("default", "linear")  # with a factor of 1
# What the library takes where a configuration says nothing.
_DEFAULTS = {
    "llama": {"rope_theta": 10000.0, "rms_norm_eps": 1e-6},
    "mixtral": {"rope_theta": 1000000.0, "rms_norm_eps": 1e-5},
}


def is_huggingface(path: Path) -> bool:
    """Whether a folder has a configuration and weights."""
    return lexists(path / "config.json") and has_weights(path)


class _Source:
    """The configuration and the tensors of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = read_json_object(path / "config.json")
        self._tensors: dict[str, Mapping[str, Any]] = {}
        self._left: dict[str, None] = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.formats: dict[str, str] = {}

    def open(self) -> None:
        """Read the tensors, when the configuration is known to be of a family that is."""
        self._tensors = read_tensors(self.path)
        self._left = dict.fromkeys(self._tensors)

    def get(self, key: str, default: Any = None) -> Any:
        """An entry of the configuration, or ``default``; CheckpointError where there is neither."""
        value = self.config.get(key)
        if value is None and default is None:
            raise CheckpointError(f"{self.path}/config.json: has no {key}")
        return default if value is None else value

    def size(self, key: str, default: int | None = None) -> int:
        """An entry that is a whole number, 1 or more."""
        return whole(self.get(key, default), f"{self.path}/config.json: {key}")

    def number(self, key: str, default: float | None = None) -> float:
        """An entry that is a number."""
        return real(self.get(key, default), f"{self.path}/config.json: {key}")

    def has(self, name: str) -> bool:
        """Whether there is a tensor of a name."""
        return name in self._tensors

    def take(self, name: str, ours: str, change: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        """Put a tensor among ours, as its bits."""
        if name not in self._tensors:
            raise CheckpointError(f"{self.path}: has no tensor {name}")
        tensor = self._tensors[name]
        if tensor["dtype"] not in FLOATS:
            raise CheckpointError(
                f"{self.path}: tensor {name} is {tensor['dtype']}; expected one of {', '.join(FLOATS)}"
            )
        self._left.pop(name, None)
        self.formats[ours], dtype = FLOATS[tensor["dtype"]]
        array = np.frombuffer(bytes(tensor["data"]), dtype).reshape(tensor["shape"])
        self.arrays[ours] = np.ascontiguousarray(array if change is None else change(array))

    def all_taken(self, tied: bool) -> None:
        """Refuse tensors that nobody took: they belong to another model. A tied softmax is the embedding again."""
        for name in self._left:
            if tied and name == "lm_head.weight":
                self._check_tied(self._tensors[name])
            elif not name.endswith(_UNNEEDED):
                raise CheckpointError(
                    f"{self.path}: has a tensor {name!r:.80}, which no model of its configuration has"
                )

    def _check_tied(self, softmax: Mapping[str, Any]) -> None:
        declared = FLOATS.get(softmax["dtype"], ("",))[0]
        if declared != self.formats["embedding"] or bytes(softmax["data"]) != self.arrays["embedding"].tobytes():
            raise CheckpointError(
                f"{self.path}: is tied by its configuration, but lm_head.weight is not its embedding; expected "
                "tie_word_embeddings to be false, or no such tensor"
            )


def read_huggingface(path: Path, tokenizer: Path | None) -> Parts:
    """Read a model and its ``tokenizer.json``, from the folder or from where ``tokenizer`` says."""
    source = _Source(path)
    family = source.get("model_type")
    if not isinstance(family, str) or family not in _FAMILIES:
        raise CheckpointError(
            f"{path}/config.json: model_type is {family!r:.40}; expected one of {', '.join(_FAMILIES)}"
        )
    source.open()
    config = _FAMILIES[family](source)
    source.all_taken(config["tied"])
    read = read_tokenizer(path, tokenizer, config["dimensions"]["vocabulary"])
    config |= {"tokenizer": read.config, "formats": source.formats}
    arrays = {**source.arrays, "tokenizer.json": np.frombuffer(read.raw, np.uint8)}
    return Parts(config, arrays, read.start_from, read.notes)


def _activation(source: _Source, name: Any) -> str:
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise CheckpointError(
            f"{source.path}/config.json: the activation is {name!r:.40}; expected one of {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def _read_gpt2(source: _Source) -> dict[str, Any]:
    width, layers, heads = (source.size(key) for key in ("n_embd", "n_layer", "n_head"))
    prefix = "transformer." if source.has("transformer.wte.weight") else ""
    source.take(f"{prefix}wte.weight", "embedding")
    source.take(f"{prefix}wpe.weight", "positions")

    def both(theirs: str, ours: str, change: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        for part in ("weight", "bias"):
            source.take(f"{theirs}.{part}", f"{ours}.{part}", change)

    for layer in range(layers):
        theirs, ours = f"{prefix}h.{layer}", f"layers.{layer}"
        both(f"{theirs}.ln_1", f"{ours}.attention.norm")
        both(f"{theirs}.ln_2", f"{ours}.feed_forward.norm")
        # Its matrices are stored with a row for each input.
        for part, name in enumerate(("query", "key", "value")):

            def third(array: np.ndarray, part: int = part, theirs: str = theirs) -> np.ndarray:
                if array.shape[-1:] != (3 * width,):
                    raise CheckpointError(
                        f"{source.path}: tensor {theirs}.attn.c_attn has shape {array.shape}; expected {3 * width} "
                        "columns, a third each for queries, keys and values"
                    )
                return array[..., part * width : (part + 1) * width].T

            both(f"{theirs}.attn.c_attn", f"{ours}.attention.{name}", third)
        both(f"{theirs}.attn.c_proj", f"{ours}.attention.output", np.transpose)
        both(f"{theirs}.mlp.c_fc", f"{ours}.feed_forward.input", np.transpose)
        both(f"{theirs}.mlp.c_proj", f"{ours}.feed_forward.output", np.transpose)
    both(f"{prefix}ln_f", "norm")
    tied = bool(source.get("tie_word_embeddings", True))
    if not tied:
        source.take("lm_head.weight", "softmax.weight")
    if source.config.get("scale_attn_by_inverse_layer_idx"):
        raise CheckpointError(
            f"{source.path}/config.json: scales attention by the layer's number, which is not known here"
        )
    return {
        "architecture": "transformer",
        "dimensions": {
            "vocabulary": source.size("vocab_size"), "width": width, "layers": layers, "heads": heads,
            "key_value_heads": heads, "head_width": width // heads,
            "feed_forward": source.size("n_inner", 4 * width), "context": source.size("n_positions"),
        },
        "positions": {"kind": "learned", "count": source.size("n_positions")},
        "norm": {
            "kind": "layer", "place": "before", "final": True, "bias": True,
            "epsilon": source.number("layer_norm_epsilon", 1e-5),
        },
        "attention": {} if source.get("scale_attn_weights", True) else {"scale": 1.0},
        "feed_forward": {
            "activation": _activation(source, source.get("activation_function", "gelu_new")), "gated": False,
        },
        "embedding": {"scale": 1.0},
        "bias": {"attention": True, "attention_output": True, "feed_forward": True, "softmax": False},
        "tied": tied,
    }  # fmt: skip


def _feed_forward_parts(experts: int) -> Iterator[tuple[str, str, str]]:
    """Which bias they have, and their names there and here; one by one, as a configuration may claim any number."""
    if not experts:
        names = (("gate_proj", "gate"), ("up_proj", "input"), ("down_proj", "output"))
        yield from (("mlp", f"mlp.{theirs}", f"feed_forward.{ours}") for theirs, ours in names)
        return
    yield "mlp", "block_sparse_moe.gate", "feed_forward.router"
    for expert in range(experts):
        for theirs, ours in (("w1", "gate"), ("w3", "input"), ("w2", "output")):
            yield "mlp", f"block_sparse_moe.experts.{expert}.{theirs}", f"feed_forward.experts.{expert}.{ours}"


def _mixture(source: _Source, experts: int) -> dict[str, Any]:
    if not experts:
        return {}
    used = source.size("num_experts_per_tok", 2)
    return {"experts": {"count": experts, "used": used, "normalised": True, "bias": False}}


def _rotary_base(source: _Source) -> float:
    """Of the angles by which positions are turned; CheckpointError where they are scaled as well.

    As in the library, what stands in ``rope_parameters`` goes before what stands beside it, and ``rope_scaling``, their
    older name, before both.
    """
    base = source.number("rope_theta", _DEFAULTS[source.get("model_type")]["rope_theta"])
    for key in ("rope_parameters", "rope_scaling"):
        found = source.get(key, {})
        if not isinstance(found, dict):
            raise CheckpointError(f"{source.path}/config.json: {key} is {found!r:.40}; expected a JSON object")
        if found.get("rope_type", found.get("type", "default")) not in _UNSCALED or found.get("factor", 1) != 1:
            raise CheckpointError(f"{source.path}/config.json: scales its rotary positions, which is not known here")
        if "rope_theta" in found:
            base = real(found["rope_theta"], f"{source.path}/config.json: rope_theta of {key}")
    return base


def _read_llama(source: _Source) -> dict[str, Any]:
    width, layers, heads = (source.size(k) for k in ("hidden_size", "num_hidden_layers", "num_attention_heads"))
    head = source.size("head_dim", width // heads)
    experts = source.size("num_local_experts") if source.get("model_type") == "mixtral" else 0
    biases = {"attention": bool(source.config.get("attention_bias")), "mlp": bool(source.config.get("mlp_bias"))}
    windowed = bool(source.config.get("sliding_window"))
    if windowed and not experts:
        raise CheckpointError(
            f"{source.path}/config.json: has a sliding_window, which the library does not give a Llama; expected null"
        )
    source.take("model.embed_tokens.weight", "embedding")
    for layer in range(layers):
        theirs, ours = f"model.layers.{layer}", f"layers.{layer}"
        source.take(f"{theirs}.input_layernorm.weight", f"{ours}.attention.norm.weight")
        source.take(f"{theirs}.post_attention_layernorm.weight", f"{ours}.feed_forward.norm.weight")
        for kind, part, name in itertools.chain(_ATTENTION_PARTS, _feed_forward_parts(experts)):
            source.take(f"{theirs}.{part}.weight", f"{ours}.{name}.weight")
            if biases[kind]:
                source.take(f"{theirs}.{part}.bias", f"{ours}.{name}.bias")
    source.take("model.norm.weight", "norm.weight")
    tied = bool(source.config.get("tie_word_embeddings", False))
    if not tied:
        source.take("lm_head.weight", "softmax.weight")
    # Theirs counts a token's own position, ours the past ones.
    attention = {"window": source.size("sliding_window") - 1} if windowed else {}
    return {
        **LLAMA,
        "dimensions": {
            "vocabulary": source.size("vocab_size"), "width": width, "layers": layers, "heads": heads,
            "key_value_heads": source.size("num_key_value_heads", heads), "head_width": head,
            "feed_forward": source.size("intermediate_size"), "context": source.size("max_position_embeddings"),
        },
        "attention": attention,
        "positions": {
            "kind": "rotary", "pairs": "halves", "base": _rotary_base(source), "rotated": head,
        },
        "norm": llama_norm(source.number("rms_norm_eps", _DEFAULTS[source.get("model_type")]["rms_norm_eps"])),
        "feed_forward": {
            "activation": _activation(source, source.get("hidden_act", "silu")), "gated": True,
            **_mixture(source, experts),
        },
        "bias": {
            "attention": biases["attention"], "attention_output": biases["attention"], "feed_forward": biases["mlp"],
            "softmax": False,
        },
        "tied": tied,
    }  # fmt: skip


_FAMILIES = {"gpt2": _read_gpt2, "llama": _read_llama, "mixtral": _read_llama}
