"""GGUF files of the Llama family, with float32, float16, bfloat16, Q8_0, Q4_0 and Q4_1 tensors kept in their width.

Blocks of 32 weights with float16 scales become groups of 32, and every weight stays the same number. Q8_0 is int8.
Q4_1, q * scale + minimum with q from 0 to 15, is a code book of the numbers 0 to 15 with offsets. Q4_0, (q - 8) *
scale, is int4; where its scale is negative, -s, that is s * ((15 - q) - 8) + s: int4 with s as offset. A scale of zero
becomes the smallest there is, of weights that are all zero. Rotary pairs are neighbours: whoever wrote the file has put
the rows of queries and keys into that order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..quantization.arrays import half_bytes
from ..quantization.rounding import SMALLEST_SCALE
from ..regular_file import open_regular
from .gguf_header import GgufFile
from .gguf_tokenizer import IDLE, NEUTRAL, read_gguf_tokenizer
from .parts import FLOATS, LLAMA, Parts, llama_norm
from .settings import real, whole

_BLOCK = 32
_NAMES = {
    "attn_norm": "attention.norm",
    "attn_q": "attention.query",
    "attn_k": "attention.key",
    "attn_v": "attention.value",
    "attn_output": "attention.output",
    "ffn_norm": "feed_forward.norm",
    "ffn_gate": "feed_forward.gate",
    "ffn_up": "feed_forward.input",
    "ffn_down": "feed_forward.output",
}
# Entries that change nothing here, and those that would change the model but for these values, which say nothing.
_IDLE = (
    "llama.vocab_size",
    "llama.tensor_data_layout",
    "llama.rope.scaling.original_context_length",
    "llama.rope.scaling.finetuned",
    *IDLE,
)
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "llama.rope.scaling.type": ("none", "linear"),
    "llama.rope.scaling.factor": (0.0, 1.0),
    "llama.rope.scaling.attn_factor": (0.0, 1.0),
    "llama.rope.scale_linear": (0.0, 1.0),
    "llama.attention.sliding_window": (0,),
    "llama.attention.scale": (0.0,),
    "llama.attention.causal": (True,),
    "llama.logit_scale": (0.0, 1.0),
    "llama.residual_scale": (0.0, 1.0),
    "llama.embedding_scale": (0.0, 1.0),
    "llama.use_parallel_residual": (False,),
    "llama.expert_count": (0,),
    "llama.expert_used_count": (0,),
    **NEUTRAL,
}
_START = "tokenizer.ggml.add_bos_token"
_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")


def is_gguf(path: Path) -> bool:
    """Whether a file begins as GGUF does."""
    if not path.is_file():
        return False
    with open_regular(path) as file:
        return file.read(4) == b"GGUF"


class _Fields:
    """The metadata of a file."""

    def __init__(self, reader: Any, path: Path) -> None:
        self._reader, self._path = reader, path
        self._asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """A value, or ``default``; CheckpointError where there is neither."""
        self._asked.add(key)
        field = self._reader.fields.get(key)
        if field is not None:
            try:
                return field.contents()
            except ValueError as error:  # text that is not UTF-8
                raise CheckpointError(f"{self._path}: {key} cannot be read ({error})") from None
        if default is None:
            raise CheckpointError(f"{self._path}: has no {key}; expected a GGUF file of the Llama family")
        return default

    def size(self, key: str, default: int | None = None) -> int:
        """A whole number, 1 or more."""
        return whole(self.get(key, default), f"{self._path}: {key}")

    def number(self, key: str, default: float | None = None) -> float:
        """A number."""
        return real(self.get(key, default), f"{self._path}: {key}")

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        value = self.get(key)
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise CheckpointError(f"{self._path}: {key} is {value!r:.40}; expected a list of texts")
        return value

    def all_asked(self) -> None:
        """Refuse entries about the model that nobody asked for, where they may change what it computes."""
        for key in self._reader.fields:
            if not key.startswith(("llama.", "tokenizer.")) or key in self._asked or key in _IDLE:
                continue
            if key.startswith("tokenizer.chat_template"):  # each may have a name behind it
                continue
            found = self.get(key)
            if found not in _NEUTRAL.get(key, ()):
                raise CheckpointError(
                    f"{self._path}: {key} is {found!r:.40}, which is not known here; expected a Llama without it"
                )


def read_gguf(path: Path, tokenizer: Path | None) -> Parts:
    """Read a model; its tokenizer is in the file."""
    if tokenizer is not None:
        raise CheckpointError(f"--tokenizer {tokenizer}: a GGUF file has its own; leave the option away")
    reader = GgufFile(path)
    fields = _Fields(reader, path)
    family = fields.get("general.architecture")
    if family != "llama":
        raise CheckpointError(f"{path}: general.architecture is {family!r:.60}; expected 'llama'")
    arrays: dict[str, np.ndarray] = {}
    formats: dict[str, Any] = {}
    for tensor in reader.tensors:
        name = _name_of(tensor.name, path)
        formats[name] = _take(tensor, name, arrays, path)
    heads, width = fields.size("llama.attention.head_count"), fields.size("llama.embedding_length")
    head = fields.size("llama.attention.key_length", width // heads)
    if fields.size("llama.attention.value_length", head) != head:
        raise CheckpointError(f"{path}: its values are not as wide as its keys; expected a width of {head} for both")
    if "embedding" not in formats:
        raise CheckpointError(f"{path}: has no tensor token_embd.weight; expected a whole model")
    found = read_gguf_tokenizer(fields, path)
    config = {
        **LLAMA,
        "dimensions": {
            "vocabulary": found.size,
            "width": width,
            "layers": fields.size("llama.block_count"),
            "heads": heads,
            "key_value_heads": fields.size("llama.attention.head_count_kv", heads),
            "head_width": head,
            "feed_forward": fields.size("llama.feed_forward_length"),
            "context": fields.size("llama.context_length"),
        },
        "positions": {
            "kind": "rotary",
            "pairs": "adjacent",
            "base": fields.number("llama.rope.freq_base", 10000.0),
            "rotated": fields.size("llama.rope.dimension_count", head),
        },
        "norm": llama_norm(fields.number("llama.attention.layer_norm_rms_epsilon")),
        "tied": "softmax.weight" not in formats,
        "tokenizer": {"kind": "huggingface", "start": found.start},
        "formats": formats,
    }
    fields.all_asked()
    arrays["tokenizer.json"] = np.frombuffer(found.json.encode(), np.uint8)
    return Parts(config, arrays, _START, found.notes)


def _name_of(name: str, path: Path) -> str:
    if name == "token_embd.weight":
        return "embedding"
    if name in ("output.weight", "output_norm.weight"):
        return {"output.weight": "softmax.weight", "output_norm.weight": "norm.weight"}[name]
    block, _, part = name.removeprefix("blk.").partition(".")
    part = part.removesuffix(".weight")
    if not name.startswith("blk.") or not block.isdigit() or part not in _NAMES:
        raise CheckpointError(f"{path}: has a tensor {name!r:.60}, which no plain Llama has")
    return f"layers.{int(block)}.{_NAMES[part]}.weight"


def _take(tensor: Any, name: str, arrays: dict[str, np.ndarray], path: Path) -> Any:
    """Put a tensor's arrays among the others and return its declaration."""
    kind, shape = tensor.tensor_type.name, tuple(int(n) for n in reversed(tensor.shape))
    if kind not in _TYPES:
        raise CheckpointError(f"{path}: tensor {tensor.name} is {kind}; expected one of {', '.join(_TYPES)}")
    raw = np.ascontiguousarray(tensor.data).view(np.uint8).reshape(-1)
    if kind in FLOATS:
        declared, dtype = FLOATS[kind]
        arrays[name] = raw.view(dtype).reshape(shape)
        return declared
    if len(shape) != 2 or shape[1] % _BLOCK or 0 in shape:
        raise CheckpointError(
            f"{path}: tensor {tensor.name} is {kind} of shape {shape}; expected a matrix with a multiple of {_BLOCK} "
            "columns"
        )
    rows, columns = shape
    # A block: the scale, for Q4_1 the minimum behind it, and the numbers.
    words = 1 + (kind == "Q4_1")
    blocks = raw.reshape(rows, columns // _BLOCK, -1)
    halves = np.ascontiguousarray(blocks[..., : 2 * words]).view("<f2")
    numbers = blocks[..., 2 * words :]
    scales, nothing = halves[..., 0], (halves[..., 0] == 0)[..., None]
    # Of Q4_1 it would be another minimum, which float16 may not have; 128 is the byte of -128.
    lost = {"Q8_0": (numbers == 128).any(axis=-1), "Q4_0": False, "Q4_1": True}[kind]
    if (lost & (scales < 0)).any():
        raise CheckpointError(
            f"{path}: tensor {tensor.name} is {kind} with a negative scale that no positive one stands for; expected "
            "scales as llama.cpp writes them"
        )
    arrays[f"{name}.scale"] = np.where(scales == 0, SMALLEST_SCALE, np.abs(scales))
    if kind == "Q8_0":
        signed = np.where(nothing, 0, np.ascontiguousarray(numbers).view(np.int8))
        arrays[name] = np.where(scales[..., None] < 0, -signed, signed).astype(np.int8).reshape(rows, columns)
        return {"format": "int8", "group": _BLOCK}
    # Of a block the low half bytes are its first sixteen numbers, the high ones the others.
    whole = np.concatenate([numbers & 15, numbers >> 4], axis=-1)
    if kind == "Q4_0":
        whole = np.where(nothing, 8, np.where(scales[..., None] < 0, 15 - whole, whole))
        arrays[name] = half_bytes(
            (whole ^ 8).astype(np.uint8).reshape(shape)
        )  # 0 to 15 stand for -8 to 7: two's complement of half a byte
        arrays[f"{name}.offset"] = np.where(scales < 0, -scales, np.float16(0))
        return {"format": "int4", "group": _BLOCK, "offsets": True}
    arrays[name] = half_bytes(np.where(nothing, 0, whole).astype(np.uint8).reshape(shape))
    arrays[f"{name}.offset"] = np.ascontiguousarray(halves[..., 1])
    arrays[f"{name}.codebook"] = np.arange(16, dtype=np.int8)
    return {"format": "codebook4", "group": _BLOCK, "offsets": True}
