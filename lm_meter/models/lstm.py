"""LSTM language models: embedding, layers, optional projection, softmax.

Jozefowicz et al., Exploring the limits of language modeling (2016), describe the form; the MicroNet baseline is one
layer of 2048 units with a projection to the 512-wide tied embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..arena import MatrixSource, describe_matrix, pack_weights
from ..checkpoint import Checkpoint, Expected
from ..context import Context
from ..errors import ConfigError
from ..kernels import lstm as loop
from ..kernels.barrier import Team
from ..kernels.charge import new_tally
from ..kernels.lookup import Table
from ..kernels.readout import Predictions
from ..regions import SOFTMAX_REGION, Region, lookup_region, weights_region
from ..tables import described_table, lookup_table
from ..threads import ThreadTeam
from ..weight_format import WeightFormat
from .architecture import Architecture
from .lstm_config import LstmConfig, lstm_arrays, parse_lstm_config
from .runtime import Runtime, most_groups, narrow_inputs, padded, readout_buffers, readout_rows, zeros


def _matrix_sources(config: LstmConfig) -> list[MatrixSource]:
    sources = [
        MatrixSource(f"lstm.{layer}.weight", f"lstm.{layer}.bias" if config.lstm_bias else None, interleaved=4)
        for layer in range(config.layers)
    ]
    if config.projection is not None:
        sources.append(MatrixSource("projection.weight", "projection.bias" if config.projection_bias else None))
    softmax = "embedding" if config.tied else "softmax.weight"
    return [*sources, MatrixSource(softmax, "softmax.bias" if config.softmax_bias else None)]


def _regions(config: LstmConfig, formats: Mapping[str, WeightFormat]) -> list[Region]:
    def matrix(name: str, source: MatrixSource) -> Region:
        return weights_region(name, [formats[part] for part in (source.weight, source.bias) if part])

    sources = _matrix_sources(config)
    regions = [lookup_region("embedding", config.embedding, formats["embedding"])]
    for layer in range(config.layers):
        regions.append(matrix(f"lstm.{layer}", sources[layer]))
        regions.append(Region(f"lstm.{layer}.cell", "elementwise", moves=("hidden state to its readers: a move",)))
    if config.projection is not None:
        regions.append(matrix("projection", sources[-2]))
    return [*regions, matrix("logits", sources[-1]), SOFTMAX_REGION]


class LstmArchitecture(Architecture):
    """How LSTM checkpoints are read."""

    name = "lstm"

    def parse_config(self, config: Mapping[str, Any], path: str) -> LstmConfig:
        """Check the configuration of the checkpoint at ``path``."""
        return parse_lstm_config(config, path)

    def expected_arrays(self, config: LstmConfig, path: str) -> dict[str, Expected]:
        """Arrays that a checkpoint with this configuration holds."""
        return lstm_arrays(config, path)

    def context(self, config: LstmConfig, policy: str | None = None, length: int | None = None) -> Context | None:
        """None: the state of an LSTM is its context."""
        if policy is not None or length is not None:
            raise ConfigError(
                "the checkpoint is an LSTM, whose state is its context; --policy and --context are for transformers"
            )
        return None

    def load(self, checkpoint: Checkpoint, team: ThreadTeam, context: Context | None = None) -> LstmRuntime:
        """Pack the weights."""
        return LstmRuntime(checkpoint, team)

    def step_tally(self, checkpoint: Checkpoint) -> tuple[list[Region], np.ndarray]:
        """Operations of one step and one prediction, from the cost laws alone; no weight is read."""
        config: LstmConfig = checkpoint.model_config
        matrices = [describe_matrix(checkpoint, source) for source in _matrix_sources(config)]
        nothing = np.zeros(0, np.uint8)
        table = described_table(checkpoint, "embedding")
        network = loop.Network(nothing, nothing, table, np.array(matrices, np.int64), config.layers)
        regions = _regions(config, checkpoint.formats)
        tally = new_tally(len(regions))
        loop.step_cost(network, tally)
        return regions, tally


class LstmRuntime(Runtime):
    """A loaded LSTM.

    Attributes
    ----------
    config : LstmConfig
    recurrent_bytes, readout_bytes : int
        Bytes of weights that one step, and one readout of a block, walk through.
    """

    def __init__(self, checkpoint: Checkpoint, team: ThreadTeam) -> None:
        config: LstmConfig = checkpoint.model_config
        super().__init__(team, _regions(config, checkpoint.formats))
        self.config, self.vocabulary = config, config.vocabulary
        self.weights, matrices, _ = pack_weights(checkpoint, _matrix_sources(config), team)
        rows, table = self.weights, Table(matrices[-1], 1)
        if not config.tied:
            rows, table = lookup_table(checkpoint, "embedding", team)
        self._network = loop.Network(self.weights, rows, table, np.array(matrices, np.int64), config.layers)
        self._matrices = matrices
        self.recurrent_bytes = sum(matrix.nbytes for matrix in matrices[: config.layers])
        self.readout_bytes = sum(matrix.nbytes for matrix in matrices[config.layers :])
        self._use_few_threads()
        widest = padded(max(config.layer_inputs(layer) + units for layer, units in enumerate(config.hidden)))
        units = padded(max(config.hidden))
        self._inputs, self._cells = zeros(2 * config.layers, widest), zeros(config.layers, units)
        self._clock = np.zeros(1, np.int64)
        self.reserve(1)

    def reserve(self, block: int) -> None:
        """Make room for blocks of up to ``block`` tokens."""
        units, threads, widest = self._cells.shape[1], self.team.threads, self._inputs.shape[1]
        layers = self.config.layers
        self._state = loop.State(self._inputs, self._cells, zeros(readout_rows(block), units), self._clock)
        buffers = readout_buffers(block, self._matrices[layers:], threads)
        narrow = narrow_inputs(threads, widest, most_groups(self._matrices[:layers]))
        self._scratch = loop.Scratch(zeros(1, 4 * units), zeros(units), narrow, buffers)

    def weight_bytes(self, block: int) -> float:
        """Bytes of weights read for a token where ``block`` of them are read out together."""
        return self.recurrent_bytes + self.readout_bytes / block

    def reset(self) -> None:
        """Back to the zero state, before any token."""
        for buffer in (self._inputs, self._cells, self._clock):
            buffer[...] = 0

    @property
    def _outputs(self) -> np.ndarray:
        return self._state.frozen

    def _call(self, inputs: np.ndarray, predictions: Predictions, block: int) -> Callable[[Team, Any], None]:
        text = loop.Text(inputs, predictions, block)
        return lambda team, tally: loop.run(self._network, self._state, self._scratch, team, text, tally)
