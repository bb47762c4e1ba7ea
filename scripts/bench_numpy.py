"""The same LSTM language model with NumPy's matrix products, which its BLAS library makes, for comparison."""

from __future__ import annotations

import numpy as np

from lm_meter import Checkpoint
from lm_meter.quantization.arrays import read_weights


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.float32(1) / (np.float32(1) + np.exp(-x))


class NumpyTwin:
    """A checkpoint's weights as float32 arrays, and the recurrent state; one token at a time."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.config = checkpoint.model_config
        self._weights = {name: read_weights(checkpoint, name).values for name in checkpoint.formats}
        self.reset()

    def reset(self) -> None:
        """Back to the zero state."""
        self._states = [(np.zeros(n, np.float32), np.zeros(n, np.float32)) for n in self.config.hidden]

    def _linear(self, name: str, bias: str, values: np.ndarray) -> np.ndarray:
        product = self._weights[name] @ values
        return product + self._weights[bias] if bias in self._weights else product

    def run(self, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Log-probability of each target after its input: (n,) float64, in nats."""
        out = np.empty(targets.size)
        for position, token in enumerate(inputs):
            values = self._weights["embedding"][token]
            for layer, (hidden, cell) in enumerate(self._states):
                joined = np.concatenate([values, hidden])
                gates = self._linear(f"lstm.{layer}.weight", f"lstm.{layer}.bias", joined)
                enter, forget, new, leave = np.split(gates, 4)
                cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(new)
                values = _sigmoid(leave) * np.tanh(cell)
                self._states[layer] = values, cell
            if self.config.projection is not None:
                values = self._linear("projection.weight", "projection.bias", values)
            logits = self._linear("embedding" if self.config.ends.tied else "softmax.weight", "softmax.bias", values)
            top = logits.max()
            out[position] = logits[targets[position]] - top - np.log(np.exp(logits - top).sum())
        return out
