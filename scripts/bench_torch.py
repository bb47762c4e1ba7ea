"""The same LSTM language model in PyTorch, for comparison: nn.LSTM, a linear projection, a tied softmax.

Needs PyTorch (``pip install torch``).
"""

from __future__ import annotations

import os
import warnings
from itertools import groupby

# PyTorch's memory in huge pages where the system grants them, as lm-meter's is: not doing so would slow PyTorch down.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import numpy as np
import torch
from torch.nn import functional

from lm_meter import Checkpoint
from lm_meter.quantization.arrays import read_weights


def _weight(checkpoint: Checkpoint, name: str, dtype: torch.dtype) -> torch.Tensor:
    """A weight array of the checkpoint, copied, as ``dtype``."""
    return torch.from_numpy(read_weights(checkpoint, name).values).to(dtype, copy=True)


class TorchTwin:
    """A checkpoint's weights in PyTorch modules of one dtype, and the recurrent state.

    ``int8``: the modules' weights are quantised, and their inputs as they come (dynamic quantisation).
    """

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype, threads: int, int8: bool = False) -> None:
        torch.set_num_threads(threads)
        config = checkpoint.model_config

        def weight(name: str) -> torch.Tensor:
            return _weight(checkpoint, name, dtype)

        self.dtype = dtype
        self._embedding = weight("embedding")
        self._layers = torch.nn.ModuleList()
        first = 0
        # Neighbouring layers of one width are one nn.LSTM: one call instead of several.
        for units, group in groupby(config.hidden):
            count = len(list(group))
            lstm = torch.nn.LSTM(config.layer_inputs(first), units, count, bias=config.layer_bias, dtype=dtype)
            with torch.no_grad():
                for layer in range(count):
                    joined, inputs = weight(f"lstm.{first + layer}.weight"), config.layer_inputs(first + layer)
                    getattr(lstm, f"weight_ih_l{layer}").copy_(joined[:, :inputs])
                    getattr(lstm, f"weight_hh_l{layer}").copy_(joined[:, inputs:])
                    if config.layer_bias:
                        getattr(lstm, f"bias_ih_l{layer}").copy_(weight(f"lstm.{first + layer}.bias"))
                        getattr(lstm, f"bias_hh_l{layer}").zero_()
            self._layers.append(lstm)
            first += count

        def linear(name: str, bias: str | None) -> torch.nn.Linear:
            matrix = self._embedding if name == "embedding" else weight(name)
            made = torch.nn.Linear(*reversed(matrix.shape), bias=bias is not None, device="meta")
            made.weight = torch.nn.Parameter(matrix, requires_grad=False)
            if bias is not None:
                made.bias = torch.nn.Parameter(weight(bias), requires_grad=False)
            return made

        self._outputs = torch.nn.Sequential()
        if config.projection is not None:
            self._outputs.append(linear("projection.weight", "projection.bias" if config.projection_bias else None))
        softmax = "embedding" if config.ends.tied else "softmax.weight"
        self._outputs.append(linear(softmax, "softmax.bias" if config.ends.bias else None))
        if int8:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that this interface will move
                self._layers, self._outputs = (
                    torch.ao.quantization.quantize_dynamic(part, {torch.nn.LSTM, torch.nn.Linear}, torch.qint8)
                    for part in (self._layers, self._outputs)
                )
        self.reset()

    def reset(self) -> None:
        """Back to the zero state."""
        self._states = [None] * len(self._layers)

    @torch.no_grad()
    def run(self, inputs: np.ndarray, targets: np.ndarray, chunk: int, onednn: bool = True) -> np.ndarray:
        """Log-probability of each target after its input, ``chunk`` tokens at a time: (n,) float64, in nats.

        ``onednn``: let PyTorch use that library, as it does by default; without it, it is sometimes faster.
        """
        torch.backends.mkldnn.set_flags(onednn)
        entering, wanted = torch.from_numpy(inputs), torch.from_numpy(targets)
        out = torch.empty(targets.size, dtype=self.dtype)
        for start in range(0, targets.size, chunk):
            values = functional.embedding(entering[start : start + chunk, None], self._embedding)
            for index, lstm in enumerate(self._layers):
                values, self._states[index] = lstm(values, self._states[index])
            logits = self._outputs(values[:, 0])
            chosen = wanted[start : start + chunk, None]
            out[start : start + chunk] = torch.log_softmax(logits, dim=1).gather(1, chosen)[:, 0]
        return out.double().numpy()


def working_twin(checkpoint: Checkpoint, dtype: torch.dtype, threads: int, int8: bool = False) -> TorchTwin | str:
    """A twin that has run once, or the reason why this dtype does not run here."""
    try:
        twin = TorchTwin(checkpoint, dtype, threads, int8)
        twin.run(np.zeros(2, np.int64), np.zeros(2, np.int64), 1)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return twin
