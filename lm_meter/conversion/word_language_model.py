"""State dicts of PyTorch's example word_language_model: an LSTM or a GRU between an encoder and a decoder.

Its tensors, of V words, E numbers for each, H units in each layer k from 0 (input width I: E, then H):

    encoder.weight       (V, E)
    rnn.weight_ih_l{k}   (gates H, I), rnn.bias_ih_l{k} (gates H)
    rnn.weight_hh_l{k}   (gates H, H), rnn.bias_hh_l{k} (gates H)
    decoder.weight       (V, H), decoder.bias (V)

Four gates are an LSTM's: input, forget, cell, output, in our order; its two biases are only ever added, so they become
one, their float32 sum. Three are a GRU's: reset, update, new; its biases stay two, as the reset gate stands between
them. One is a plain recurrent network, which is not known here.

A state dict has encoder and decoder even where they are one tensor. They are tied where they are equal bit for bit:
then one of them says it all, however they were saved.

The words are not in the state dict but in the example's ``Dictionary``; they come from a file with one word a line, in
the order of their numbers. A text is cut as the example cuts it, by Python's ``str.split()``, and each of its lines
ends in ``<eos>``. That is also the context before the text, as it stands before every line but the first that the model
was trained on. The example itself leaves the first token of a text unpredicted, as ``--first-token skip`` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..bfloat16 import from_bfloat16
from ..errors import CheckpointError
from ..regular_file import read_regular
from ..tokenizers import WordTokenizer
from ..tokenizers.joined import UNICODE
from .parts import Parts
from .torch_file import is_torch_file, names, read_torch_file

_WORD = re.compile(r"\S+")
_MOST_BYTES = 1 << 26  # of a vocabulary; that of WikiText-103 has 2.6 million
_END, _UNKNOWN = "<eos>", "<unk>"
TOLD_BY = "rnn.weight_hh_l0"  # the tensor whose shape says which architecture it is
_ARCHITECTURES = {4: "lstm", 3: "gru"}  # by the number of gates
_FORMATS = {"float32": "float32", "float16": "float16", "uint16": "bfloat16"}


def is_word_language_model(path: Path) -> bool:
    """Whether a file is one that PyTorch saves, with a tensor by which such models are told from others."""
    return path.is_file() and is_torch_file(path) and names(path, TOLD_BY)


def read_word_language_model(path: Path, tokenizer: Path | None) -> Parts:
    """Read a state dict, and its words from the file ``tokenizer``."""
    tensors = read_torch_file(path)
    _gates_and_units(_StateDict(tensors, str(path)))
    if tokenizer is None:
        raise CheckpointError(
            f"{path}: needs its vocabulary, which a state dict does not hold; name with --tokenizer a file with one "
            "word a line in the order of the model's numbers"
        )
    return parts_of(tensors, _vocabulary(tokenizer), str(path), str(tokenizer))


def _vocabulary(file: Path) -> WordTokenizer:
    try:
        words = WordTokenizer(read_regular(file, _MOST_BYTES).decode().replace("\r\n", "\n"), str(file))
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{file}: is not UTF-8 (byte {error.start}); expected one word a line") from None
    for number in range(words.size):
        if not _WORD.fullmatch(words.token(number)):
            raise CheckpointError(
                f"{file}: line {number + 1} is {words.token(number)!r:.60}; expected one word a line, without blanks"
            )
    if words.number(_END) is None:
        raise CheckpointError(
            f"{file}: has no word {_END}, in which each line ends; expected the example's whole vocabulary"
        )
    return words


def parts_of(tensors: Mapping[str, np.ndarray], words: WordTokenizer, path: str, vocabulary: str) -> Parts:
    """The checkpoint of a state dict.

    Parameters
    ----------
    tensors : mapping of name to array
        All of one type: float32, float16, or bit patterns of bfloat16 in uint16.
    words : WordTokenizer
    path, vocabulary : str
        What messages call the state dict and the file of words.

    Raises
    ------
    CheckpointError
        Where the architecture is unknown, or a tensor is missing, has another shape or belongs to no such model.
    """
    state = _StateDict(tensors, path)
    gates, units = _gates_and_units(state)
    size, width = state.shape("encoder.weight", "V", "E")
    if size != words.size:
        raise CheckpointError(
            f"{vocabulary}: has {words.size} words; the encoder of {path} has {size} rows; expected a word for each"
        )
    layers = 0
    arrays = {"embedding": state.take("encoder.weight", size, width)}
    while layers == 0 or f"rnn.weight_hh_l{layers}" in tensors:
        arrays |= _layer(state, layers, gates, (units if layers else width, units))
        layers += 1
    decoder = state.take("decoder.weight", size, units)
    tied = decoder.tobytes() == arrays["embedding"].tobytes()
    if not tied:
        arrays["softmax.weight"] = decoder
    arrays["softmax.bias"] = state.take("decoder.bias", size)
    state.all_taken()
    architecture = _ARCHITECTURES[gates]
    config = {
        "architecture": architecture,
        "dimensions": {"vocabulary": size, "embedding": width, "hidden": [units] * layers, "projection": None},
        "tied": tied,
        "bias": {architecture: True, "projection": False, "softmax": True},
        "tokenizer": {
            "kind": "word", "start": _END, "end_of_line": _END,
            "unknown": None if words.number(_UNKNOWN) is None else _UNKNOWN, "blanks": UNICODE,
        },
        "formats": {name: _FORMATS[array.dtype.name] for name, array in arrays.items()},
    }  # fmt: skip
    content = "".join(f"{words.token(number)}\n" for number in range(size))
    arrays["tokenizer.words"] = np.frombuffer(content.encode(), np.uint8)
    return Parts(config, arrays, "the end of a line, which stands before every line but the first")


class _StateDict:
    """The tensors of a file, each taken once."""

    def __init__(self, tensors: Mapping[str, np.ndarray], path: str) -> None:
        self.tensors, self.path = tensors, path
        self._left = dict.fromkeys(tensors)

    def shape(self, name: str, *expected: int | str) -> tuple[int, ...]:
        """Shape of a tensor, compared with an expected one, in which a letter stands for any size."""
        if name not in self.tensors:
            raise CheckpointError(f"{self.path}: has no tensor {name}; expected a state dict of word_language_model")
        found = self.tensors[name].shape
        if len(found) != len(expected) or any(
            isinstance(size, int) and size != n for size, n in zip(expected, found, strict=True)
        ):
            wanted = ", ".join(str(size) for size in expected)
            raise CheckpointError(f"{self.path}: tensor {name} has shape {found}; expected ({wanted})")
        return found

    def take(self, name: str, *expected: int) -> np.ndarray:
        """A tensor of an expected shape."""
        self.shape(name, *expected)
        self._left.pop(name)
        return self.tensors[name]

    def all_taken(self) -> None:
        """Refuse tensors that nobody took: they belong to another model."""
        for name in self._left:
            raise CheckpointError(f"{self.path}: has a tensor {name!r:.80}, which no model of word_language_model has")


def _gates_and_units(state: _StateDict) -> tuple[int, int]:
    """Gates of each unit, by which the architecture is told, and units of a layer."""
    name = TOLD_BY
    if name not in state.tensors:
        raise CheckpointError(
            f"{state.path}: unknown architecture: has no tensor {name}, but {next(iter(state.tensors))!r:.60}; "
            "expected an LSTM or a GRU of word_language_model"
        )
    rows, units = state.shape(name, "gates H", "H")
    gates = rows // units if units and rows % units == 0 else 0
    if gates not in _ARCHITECTURES:
        raise CheckpointError(
            f"{state.path}: unknown architecture: {name} has shape ({rows}, {units}); expected (4 H, H) of an LSTM or "
            "(3 H, H) of a GRU; a plain RNN, (H, H), is not known here"
        )
    return gates, units


def _layer(state: _StateDict, layer: int, gates: int, widths: tuple[int, int]) -> dict[str, np.ndarray]:
    """Our arrays of a layer of (inputs, units)."""
    inputs, units = widths
    from_input = state.take(f"rnn.weight_ih_l{layer}", gates * units, inputs)
    from_hidden = state.take(f"rnn.weight_hh_l{layer}", gates * units, units)
    input_bias = state.take(f"rnn.bias_ih_l{layer}", gates * units)
    hidden_bias = state.take(f"rnn.bias_hh_l{layer}", gates * units)
    if _ARCHITECTURES[gates] == "gru":
        return {
            f"gru.{layer}.input.weight": from_input,
            f"gru.{layer}.hidden.weight": from_hidden,
            f"gru.{layer}.input.bias": input_bias,
            f"gru.{layer}.hidden.bias": hidden_bias,
        }
    return {
        f"lstm.{layer}.weight": np.concatenate([from_input, from_hidden], axis=1),
        f"lstm.{layer}.bias": _float32(input_bias) + _float32(hidden_bias),
    }


def _float32(array: np.ndarray) -> np.ndarray:
    return from_bfloat16(array) if array.dtype == np.uint16 else array.astype(np.float32)
