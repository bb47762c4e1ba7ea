"""The same LSTM language model in ONNX Runtime, for comparison: float32, or weights dynamically quantised to int8.

Needs ``pip install onnx onnxruntime``.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from lm_meter import Checkpoint
from lm_meter.quantization.arrays import read_weights

# Of an LSTM's gates here (input, forget, cell, output), those of ONNX in its order (input, output, forget, cell).
_ONNX_ORDER = (0, 3, 1, 2)
_OPSET = 17


class _Graph:
    """Nodes and constants of a model in the making."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint, self.config = checkpoint, checkpoint.model_config
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def weight(self, name: str) -> np.ndarray:
        """A weight array as float32."""
        return read_weights(self.checkpoint, name).values

    def constant(self, name: str, values: np.ndarray) -> str:
        """Add a constant."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: int) -> str:
        """Add a node with one output that is used."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def lstm(self, layer: int, values: str) -> str:
        """Add a layer: its outputs, and its states as inputs and outputs of the model."""
        units, inputs = self.config.hidden[layer], self.config.layer_inputs(layer)

        def reordered(array: np.ndarray) -> np.ndarray:
            return np.concatenate([array[gate * units : (gate + 1) * units] for gate in _ONNX_ORDER])[None]

        joined, bias = self.weight(f"lstm.{layer}.weight"), np.zeros(4 * units, np.float32)
        if self.config.layer_bias:
            bias = self.weight(f"lstm.{layer}.bias")
        names = [
            self.constant(f"w{layer}", reordered(joined[:, :inputs])),
            self.constant(f"r{layer}", reordered(joined[:, inputs:])),
            self.constant(f"b{layer}", np.concatenate([reordered(bias), np.zeros((1, 4 * units), np.float32)], axis=1)),
        ]
        outputs = [f"y{layer}", f"h{layer}_next", f"c{layer}_next"]
        entering = [values, *names, "", f"h{layer}", f"c{layer}"]
        self.nodes.append(helper.make_node("LSTM", entering, outputs, hidden_size=units))
        # (tokens, directions, batch, units): one direction, one text.
        return self.node("Squeeze", [f"y{layer}", self.constant(f"axes{layer}", np.array([1, 2]))], f"s{layer}")

    def linear(self, name: str, weight: str, bias: str | None, values: str) -> str:
        """Add a product with a matrix, and its bias."""
        out = self.node("MatMul", [values, self.constant(f"{name}_weight", self.weight(weight).T)], f"{name}_product")
        if bias is None:
            return out
        return self.node("Add", [out, self.constant(f"{name}_bias", self.weight(bias))], f"{name}_out")


def _model(checkpoint: Checkpoint) -> onnx.ModelProto:
    graph = _Graph(checkpoint)
    config = graph.config
    values = graph.node("Gather", [graph.constant("embedding", graph.weight("embedding")), "tokens"], "embedded")
    for layer in range(config.layers):
        values = graph.lstm(layer, values)
        if layer + 1 < config.layers:
            values = graph.node("Unsqueeze", [values, f"axis{layer}"], f"u{layer}")
    if config.projection is not None:
        bias = "projection.bias" if config.projection_bias else None
        values = graph.linear("projection", "projection.weight", bias, values)
    softmax = "embedding" if config.ends.tied else "softmax.weight"
    logits = graph.linear("softmax", softmax, "softmax.bias" if config.ends.bias else None, values)
    graph.node("GatherElements", [graph.node("LogSoftmax", [logits], "all", axis=1), "targets"], "chosen", axis=1)
    states = [(f"{kind}{layer}", units) for layer, units in enumerate(config.hidden) for kind in "hc"]

    def floats(name: str, *shape: int | str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", 1]),
        helper.make_tensor_value_info("targets", TensorProto.INT64, ["n", 1]),
        *(floats(name, 1, 1, units) for name, units in states),
    ]
    outputs = [floats("chosen", "n", 1), *(floats(f"{name}_next", 1, 1, units) for name, units in states)]
    made = helper.make_graph(graph.nodes, "lm", inputs, outputs, graph.constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)


class OnnxTwin:
    """A checkpoint's weights in an ONNX Runtime session, and the recurrent state."""

    def __init__(self, checkpoint: Checkpoint, int8: bool, threads: int, folder: Path) -> None:
        path = folder / "model.onnx"
        onnx.save(_model(checkpoint), path)
        if int8:
            logging.getLogger().setLevel(logging.ERROR)  # it advises a preprocessing that changes nothing here
            quantize_dynamic(path, folder / "int8.onnx", weight_type=QuantType.QInt8)
            path = folder / "int8.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._shapes = {i.name: i.shape for i in self._session.get_inputs() if i.name not in ("tokens", "targets")}
        self.reset()

    def reset(self) -> None:
        """Back to the zero state."""
        self._states = {name: np.zeros(shape, np.float32) for name, shape in self._shapes.items()}

    def run(self, inputs: np.ndarray, targets: np.ndarray, chunk: int) -> np.ndarray:
        """Log-probability of each target after its input, ``chunk`` tokens at a time: (n,) float64, in nats."""
        out = np.empty(targets.size)
        for start in range(0, targets.size, chunk):
            part = slice(start, start + chunk)
            given = {"tokens": inputs[part, None], "targets": targets[part, None], **self._states}
            found = dict(zip(self._outputs, self._session.run(self._outputs, given), strict=True))
            out[part] = found["chosen"][:, 0]
            self._states = {name: found[f"{name}_next"] for name in self._states}
        return out
