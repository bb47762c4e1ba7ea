"""Models of llama2.c: a file of seven int32 and float32 arrays, version 0, and a tokenizer beside it.

The numbers: width, hidden width, layers, heads, key/value heads, vocabulary (negative: the softmax has weights of its
own), context. The arrays: embedding; of all layers together attention norms, queries, keys, values, attention outputs,
feed-forward norms, gates, outputs, inputs; the last norm; cosines and sines of the positions, which are computed here;
the softmax if it is not tied.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from ..errors import CheckpointError
from ..regular_file import open_regular, read_regular
from .parts import LLAMA, Parts, llama_norm

_HEADER = struct.Struct("<7i")
_MOST_TOKENIZER_BYTES = 1 << 26  # one of 32,000 tokens has 434 thousand
_MAGIC = b"24ka"  # 0x616b3432, little-endian
_EPSILON = 1e-5
_BASE = 10000.0
_START = "\n<s>\n"  # the name that its exporter gives to the piece that begins a text


def is_llama2c(path: Path) -> bool:
    """Whether a file begins as one of llama2.c and has the length that its header gives."""
    if not path.is_file() or path.stat().st_size < _HEADER.size:
        return False
    with open_regular(path) as file:
        header = _HEADER.unpack(file.read(_HEADER.size))
    return _is_possible(header) and path.stat().st_size == _HEADER.size + 4 * _numbers(header)


def differs(path: Path) -> str | None:
    """How a file differs from one that can be read, where it begins as one of llama2.c does; None where it does not."""
    with open_regular(path) as file:
        begin = file.read(_HEADER.size)
    if len(begin) < _HEADER.size:
        return None
    header = _HEADER.unpack(begin)
    if (later := _later_version(begin)) or not _is_possible(header):
        return later
    needed = _HEADER.size + 4 * _numbers(header)
    return (
        f"it begins with the seven sizes of a llama2.c model, {header}, which need {needed} bytes, and has "
        f"{path.stat().st_size}; it may be cut off"
    )


def _later_version(begin: bytes) -> str | None:
    """What is said of a file of versions 1 and 2, which begin with a magic number and have another order."""
    if not begin.startswith(_MAGIC):
        return None
    [version] = struct.unpack_from("<i", begin.ljust(8, bytes(1)), 4)
    return (
        f"it is a llama2.c model of version {version}; expected version 0, which its export.py writes with --version 0"
    )


def _is_possible(header: tuple[int, ...]) -> bool:
    width, hidden, layers, heads, shared, vocabulary, context = header
    small = all(0 < n < 1 << 24 for n in (width, hidden, layers, heads, shared, abs(vocabulary), context))
    return small and width % heads == 0 and heads % shared == 0


def _numbers(header: tuple[int, ...]) -> int:
    """Floats that follow the header."""
    width, hidden, layers, heads, shared, vocabulary, context = header
    head = width // heads
    layer = 2 * width + 2 * width * width + 2 * width * shared * head + 3 * width * hidden
    softmax = 0 if vocabulary > 0 else -vocabulary * width
    return abs(vocabulary) * width + layers * layer + width + context * head + softmax


def read_llama2c(path: Path, tokenizer: Path | None) -> Parts:
    """Read a model and its tokenizer; without one, a ``tok*.bin`` beside the model is taken if it is the only one."""
    with open_regular(path) as file:
        size, raw = os.fstat(file.fileno()).st_size, file.read(_HEADER.size)
        header = _HEADER.unpack(raw) if len(raw) == _HEADER.size else (0,) * 7
        if version := _later_version(raw):
            raise CheckpointError(f"{path}: {version}")
        if not _is_possible(header):
            raise CheckpointError(f"{path}: does not begin with the seven sizes of a llama2.c model; found {header}")
        if size != _HEADER.size + 4 * _numbers(header):
            raise CheckpointError(
                f"{path}: has {size} bytes; its header {header} needs {_HEADER.size + 4 * _numbers(header)}"
            )
        raw += file.read(size - _HEADER.size)
    width, hidden, layers, heads, shared, vocabulary, context = header
    head, values, at = width // heads, np.frombuffer(raw, "<f4", offset=_HEADER.size), 0

    def take(*shape: int) -> np.ndarray:
        nonlocal at
        size = int(np.prod(shape))
        at += size
        return values[at - size : at].reshape(shape)

    arrays = {"embedding": take(abs(vocabulary), width)}
    for name, *shape in (
        ("attention.norm", width),
        ("attention.query", width, width),
        ("attention.key", shared * head, width),
        ("attention.value", shared * head, width),
        ("attention.output", width, width),
        ("feed_forward.norm", width),
        ("feed_forward.gate", hidden, width),
        ("feed_forward.output", width, hidden),
        ("feed_forward.input", hidden, width),
    ):
        for layer, array in enumerate(take(layers, *shape)):
            arrays[f"layers.{layer}.{name}.weight"] = array
    arrays["norm.weight"] = take(width)
    take(context, head)
    if vocabulary < 0:
        arrays["softmax.weight"] = take(-vocabulary, width)
    config = {
        **LLAMA,
        "dimensions": {
            "vocabulary": abs(vocabulary), "width": width, "layers": layers, "heads": heads, "key_value_heads": shared,
            "head_width": head, "feed_forward": hidden, "context": context,
        },
        "positions": {"kind": "rotary", "pairs": "adjacent", "base": _BASE, "rotated": head},
        "norm": llama_norm(_EPSILON),
        "tied": vocabulary > 0,
        "tokenizer": {"kind": "llama2c", "start": _START},
        "formats": dict.fromkeys(arrays, "float32"),
    }  # fmt: skip
    pieces = np.frombuffer(read_regular(_tokenizer_of(path, tokenizer), _MOST_TOKENIZER_BYTES), np.uint8)
    return Parts(config, {**arrays, "tokenizer.llama2c": pieces}, "llama2.c, which begins every text so")


def _tokenizer_of(path: Path, given: Path | None) -> Path:
    if given is not None:
        return given
    found = sorted(path.parent.glob("tok*.bin"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise CheckpointError(
            f"{path}: needs its tokenizer; beside it there is {names}, expected one tok*.bin; name it with --tokenizer"
        )
    return found[0]
