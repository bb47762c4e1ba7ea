"""Convert a dumped TensorFlow character LSTM into an lm-meter checkpoint.

    python scripts/convert_char_lstm.py --source charlotte_bronte --out charlotte.npz

The source is a folder of raw little-endian float32 files with ``manifest.json`` (file name and shape of each variable)
and ``vocab.json`` (number of each character), as character models for web pages were published. The variables are those
of TensorFlow's ``BasicLSTMCell``: a layer computes ``[x, h] @ kernel + bias``, (in + H, 4 H) and (4 H,), its columns
being the gates i, g, f, o (TensorFlow calls g "j"), and adds 1.0 to the forget gate as it runs. A checkpoint holds
``[4 H, in + H]`` with rows i, f, g, o, and nothing is added. The model has no start token: evaluate it with
``--first-token skip``.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np

from lm_meter import LmMeterError, write_checkpoint

# Added by the cell to the forget gate before its sigmoid (``forget_bias`` of BasicLSTMCell, its default).
FORGET_BIAS = np.float32(1.0)
# Where the gates i, f, g, o stand among the source's i, g, f, o.
_GATES = [0, 2, 1, 3]
_FORGET = 1  # among ours
_CELL = "rnnlm/multi_rnn_cell/cell_{}/basic_lstm_cell/"


class Dump:
    """The variables of a dump, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_json(folder / "manifest.json")

    def variable(self, name: str) -> np.ndarray:
        """A float32 variable, its size checked against the manifest."""
        if name not in self.manifest:
            raise SystemExit(f"{self.folder}/manifest.json: has no variable {name}; expected a dump of BasicLSTMCell")
        path, shape = self.folder / self.manifest[name]["filename"], self.manifest[name]["shape"]
        values = np.fromfile(path, "<f4")
        if values.size != math.prod(shape):
            raise SystemExit(f"{path}: holds {values.size} numbers; manifest.json gives it the shape {shape}")
        return values.reshape(shape)

    @property
    def layers(self) -> int:
        """Number of layers in the manifest."""
        layers = 0
        while _CELL.format(layers) + "kernel" in self.manifest:
            layers += 1
        return layers


def read_json(path: Path) -> dict:
    """A JSON object from a file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path}: cannot be read as JSON ({error})") from None


def layer_arrays(kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight [4 H, in + H] and bias [4 H] of a checkpoint from a kernel [in + H, 4 H] and bias of BasicLSTMCell."""
    units = bias.size // 4
    weight = kernel.T.reshape(4, units, -1)[_GATES].reshape(4 * units, -1)
    ours = bias.reshape(4, units)[_GATES]
    ours[_FORGET] += FORGET_BIAS
    return np.ascontiguousarray(weight), ours.reshape(-1)


def characters(numbers: dict[str, int]) -> str:
    """All characters in the order of their numbers."""
    if sorted(numbers.values()) != list(range(len(numbers))) or any(len(character) != 1 for character in numbers):
        raise SystemExit("vocab.json: expected single characters numbered from 0 without a gap")
    return "".join(sorted(numbers, key=numbers.__getitem__))


def convert(source: Path, out: Path) -> None:
    """Read the dump in the folder ``source`` and write the checkpoint ``out``."""
    dump = Dump(source)
    vocabulary = characters(read_json(source / "vocab.json"))
    arrays = {"embedding": dump.variable("embedding")}
    hidden = []
    for layer in range(dump.layers):
        cell = _CELL.format(layer)
        weight, bias = layer_arrays(dump.variable(cell + "kernel"), dump.variable(cell + "bias"))
        arrays |= {f"lstm.{layer}.weight": weight, f"lstm.{layer}.bias": bias}
        hidden.append(bias.size // 4)
    arrays["softmax.weight"] = np.ascontiguousarray(dump.variable("rnnlm/softmax_w").T)
    arrays["softmax.bias"] = dump.variable("rnnlm/softmax_b")
    arrays["tokenizer.characters"] = np.frombuffer(vocabulary.encode(), np.uint8)
    config = {
        "architecture": "lstm",
        "dimensions": {
            "vocabulary": len(vocabulary),
            "embedding": arrays["embedding"].shape[1],
            "hidden": hidden,
            "projection": None,
        },
        "tied": False,
        "bias": {"lstm": True, "projection": False, "softmax": True},
        "tokenizer": {"kind": "characters"},
        "origin": f"scripts/convert_char_lstm.py --source {source.name}",
    }
    write_checkpoint(out, config, arrays)


def main() -> None:
    """Parse the arguments and convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, metavar="DIR", help="folder with manifest.json")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz")
    options = parser.parse_args()
    try:
        convert(options.source, options.out)
    except (LmMeterError, OSError) as error:
        raise SystemExit(str(error)) from None
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
