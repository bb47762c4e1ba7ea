"""LSTM language models: embedding, layers, optional projection, softmax.

Jozefowicz et al., Exploring the limits of language modeling (2016), describe the form; the MicroNet baseline is one
layer of 2048 units with a projection to the 512-wide tied embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arena import MatrixSource, describe_matrix, pack_weights, row_major
from ..checkpoint import Checkpoint, Expected
from ..kernels import lstm as loop
from ..kernels.barrier import Team
from ..kernels.charge import new_tallies, new_tally
from ..kernels.clock import UNTIMED, new_clocks
from ..kernels.formats import is_integer
from ..kernels.inputs import Narrow
from ..kernels.lanes import LANES
from ..kernels.log_softmax import SEGMENT_ROWS, Partials
from ..kernels.lookup import Table
from ..kernels.matrix import DENSE, Matrix
from ..kernels.readout import Buffers, Predictions
from ..kernels.tile import TILE_TOKENS
from ..regions import Region
from ..threads import ThreadTeam
from ..weight_format import WeightFormat
from .lstm_config import LstmConfig, lstm_arrays, parse_lstm_config

_NO_TOKENS = np.zeros(0, np.int64)
_NO_LOGITS = np.zeros(0, np.float32)


# Weights that a thread must have in a step to be worth the meetings. Measured on a Zen 3 server: two threads took, for
# models of 7, 29, 65, 115, 334 and 634 KB, 1.23, 1.15, 1.06, 0.95, 0.97 and 0.72 of the time of one.
SHARE_BYTES = 96 << 10


def _padded(n: int, to: int = LANES) -> int:
    return -(-n // to) * to


def _matrix_sources(config: LstmConfig) -> list[MatrixSource]:
    sources = [
        MatrixSource(f"lstm.{layer}.weight", f"lstm.{layer}.bias" if config.lstm_bias else None, interleaved=4)
        for layer in range(config.layers)
    ]
    if config.projection is not None:
        sources.append(MatrixSource("projection.weight", "projection.bias" if config.projection_bias else None))
    softmax = "embedding" if config.tied else "softmax.weight"
    return [*sources, MatrixSource(softmax, "softmax.bias" if config.softmax_bias else None)]


_WIDENING = "a 16-bit weight or bias on its way into its multiply or add: that operation, at both widths"
_UNPACKING = "an integer weight on its way into its multiply: that operation, at both widths"
_BOOK = "an entry of the code book at a weight's index: a move"
_SPREADING = "a kept weight of a pruned matrix to the lane of its column: a move"
_MOVES = {"float16": _WIDENING, "bfloat16": _WIDENING, "int8": _UNPACKING, "int4": _UNPACKING, "codebook4": _BOOK}


def _regions(config: LstmConfig, formats: Mapping[str, WeightFormat]) -> list[Region]:
    def matrix(name: str, source: MatrixSource) -> Region:
        declared = [formats[part] for part in (source.weight, source.bias) if part]
        moves = [_MOVES[each.format] for each in declared if each.format in _MOVES]
        moves += [_SPREADING for each in declared if each.block]
        return Region(name, "matrix_vector", moves=tuple(dict.fromkeys(moves)))

    sources = _matrix_sources(config)
    copied, table = [f"copy of one row of {config.embedding} numbers: a move, not an operation"], formats["embedding"]
    if table.format == "codebook4":
        copied.append(_BOOK)
    if table.block:
        copied.append("the zeros that fill up a pruned row: a move")
    regions = [Region("embedding", "lookup", moves=tuple(copied))]
    for layer in range(config.layers):
        regions.append(matrix(f"lstm.{layer}", sources[layer]))
        regions.append(Region(f"lstm.{layer}.cell", "elementwise", moves=("hidden state to its readers: a move",)))
    if config.projection is not None:
        regions.append(matrix("projection", sources[-2]))
    return [
        *regions,
        matrix("logits", sources[-1]),
        Region("softmax", "normalisation", moves=("the target's logit: a move",)),
    ]


class LstmArchitecture:
    """How LSTM checkpoints are read."""

    name = "lstm"

    def parse_config(self, config: Mapping[str, Any], path: str) -> LstmConfig:
        """Check the configuration of the checkpoint at ``path``."""
        return parse_lstm_config(config, path)

    def expected_arrays(self, config: LstmConfig, path: str) -> dict[str, Expected]:
        """Arrays that a checkpoint with this configuration holds."""
        return lstm_arrays(config, path)

    def tied(self, config: LstmConfig) -> dict[str, str]:
        """Tensors that are stored once and used twice: name of the second use, and of the stored one."""
        return {"softmax.weight": "embedding"} if config.tied else {}

    def load(self, checkpoint: Checkpoint, team: ThreadTeam) -> LstmRuntime:
        """Pack the weights."""
        return LstmRuntime(checkpoint, team)

    def step_tally(self, checkpoint: Checkpoint) -> tuple[list[Region], np.ndarray]:
        """Operations of one step and one prediction, from the cost laws alone; no weight is read."""
        config: LstmConfig = checkpoint.model_config
        matrices = [describe_matrix(checkpoint, source) for source in _matrix_sources(config)]
        nothing = np.zeros(0, np.uint8)
        table = Table(describe_matrix(checkpoint, MatrixSource("embedding", None)), 1)
        network = loop.Network(nothing, nothing, table, np.array(matrices, np.int64), config.layers)
        regions = _regions(config, checkpoint.formats)
        tally = new_tally(len(regions))
        loop.step_cost(network, tally)
        return regions, tally


class LstmRuntime:
    """A loaded LSTM: packed weights, state, and the compiled loop over tokens.

    Attributes
    ----------
    config : LstmConfig
    regions : list of Region
        What the first index of a tally means.
    recurrent_bytes, readout_bytes : int
        Bytes of weights that one step, and one readout of a block, walk through.
    threads : int
        Threads of the team that run the model: fewer than all where it is too small to be shared among these.
    """

    def __init__(self, checkpoint: Checkpoint, team: ThreadTeam) -> None:
        config: LstmConfig = checkpoint.model_config
        self.config, self.team, self.regions = config, team, _regions(config, checkpoint.formats)
        self.weights, matrices = pack_weights(checkpoint, _matrix_sources(config), team)
        rows, table = self._table(checkpoint, matrices[-1])
        self._network = loop.Network(self.weights, rows, table, np.array(matrices, np.int64), config.layers)
        self.recurrent_bytes = sum(matrix.nbytes for matrix in matrices[: config.layers])
        self.readout_bytes = sum(matrix.nbytes for matrix in matrices[config.layers :])
        self.threads = max(1, min(team.threads, int(self.weight_bytes(1)) // SHARE_BYTES))
        widest = _padded(max(config.layer_inputs(layer) + units for layer, units in enumerate(config.hidden)))
        self._groups = max(matrix.columns // matrix.group for matrix in matrices)
        units = _padded(max(config.hidden))
        self._inputs = np.zeros((2 * config.layers, widest), np.float32)
        self._cells = np.zeros((config.layers, units), np.float32)
        self._clock = np.zeros(1, np.int64)
        # Where uncharged calls count: the kernels without a meter would be compiled for them alone.
        self._unused = self.new_tallies()
        self.reserve(1)

    def _table(self, checkpoint: Checkpoint, softmax: Matrix) -> tuple[np.ndarray, Table]:
        """Where the embedding's rows are: with the softmax they are tied to, or by themselves."""
        if self.config.tied:
            return self.weights, Table(softmax, 1)
        source = MatrixSource("embedding", None)
        matrix = describe_matrix(checkpoint, source)
        if not is_integer(matrix.code) and matrix.pruned == DENSE:
            return row_major(checkpoint, "embedding"), Table(matrix, 0)
        rows, [matrix] = pack_weights(checkpoint, [source], self.team)
        return rows, Table(matrix, 1)

    def reserve(self, block: int) -> None:
        """Make room for blocks of up to ``block`` tokens."""
        config, threads = self.config, self.team.threads
        rows = 1 if block == 1 else _padded(block, TILE_TOKENS)
        units = _padded(max(config.hidden))
        segments = _padded(-(-config.vocabulary // SEGMENT_ROWS))

        def zeros(*shape: int) -> np.ndarray:
            return np.zeros(shape, np.float32)

        self._state = loop.State(self._inputs, self._cells, zeros(rows, units), self._clock)

        def narrow(tokens: int, width: int) -> Narrow:
            integers = np.zeros((tokens, width), np.int16)
            starts = np.zeros((tokens, self._groups), np.int32)
            return Narrow(zeros(tokens, width), integers, zeros(tokens), zeros(tokens, self._groups), starts)

        output = _padded(max(config.hidden[-1], config.output))
        buffers = Buffers(
            projected=zeros(rows, _padded(config.projection or 1)),
            narrow=narrow(rows, output),
            logits=zeros(threads * rows, SEGMENT_ROWS),
            lanes=zeros(threads, LANES),
            partials=Partials(zeros(rows, segments), zeros(rows, segments)),
            targets=zeros(rows),
        )
        widest = self._inputs.shape[1]
        self._scratch = loop.Scratch(zeros(1, 4 * units), zeros(units), narrow(threads, widest), buffers)

    def weight_bytes(self, block: int) -> float:
        """Bytes of weights read for a token where ``block`` of them are read out together."""
        return self.recurrent_bytes + self.readout_bytes / block

    def reset(self) -> None:
        """Back to the zero state, before any token."""
        for buffer in (self._inputs, self._cells, self._clock):
            buffer[...] = 0

    def new_tallies(self) -> np.ndarray:
        """Empty tallies, one for each thread; the sum over the first axis is the run's."""
        return new_tallies(self.team.threads, len(self.regions))

    def new_clocks(self) -> np.ndarray:
        """Stopped clocks, one for each thread."""
        return new_clocks(self.team.threads, len(self.regions))

    def run(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        block: int,
        tallies: np.ndarray | None,
        clocks: np.ndarray | None = None,
    ) -> np.ndarray:
        """Let each input token enter and predict the target after it.

        Parameters
        ----------
        inputs, targets : (n,) int64
            Tokens, 0 to V - 1. Without inputs, targets are predicted from the frozen outputs as they are.
        block : int
            Frozen outputs read out together, at most what was reserved.
        tallies : (threads, regions, kinds, 65, 65) int64 or None
            Modified in place. None runs kernels that are compiled without a meter, to measure what it costs.
        clocks : (threads, regions and more) int64, optional
            Of ``new_clocks``, modified in place: the time of each region.

        Returns
        -------
        (n,) float64
            Log-probability of each target, in nats.
        """
        predictions = Predictions(targets, np.zeros(targets.size), np.zeros((targets.size, 2)), _NO_LOGITS)
        self._run(loop.Text(inputs, predictions, block), tallies, clocks)
        return predictions.log_probs

    def _run(self, text: loop.Text, tallies: np.ndarray | None, clocks: np.ndarray | None = None) -> None:
        def work(thread: int) -> None:
            clock = UNTIMED if clocks is None else clocks[thread]
            member = Team(self.team.sync, thread, self.threads, clock)
            tally = None if tallies is None else tallies[thread]
            loop.run(self._network, self._state, self._scratch, member, text, tally)

        self.team.run(work, self.threads)

    def frozen(self, row: int) -> np.ndarray:
        """Copy of a frozen output of the last block: the last layer's hidden state before the token was known."""
        return self._state.frozen[row].copy()

    def read_out(self, frozen: np.ndarray, target: int, tallies: np.ndarray | None = None) -> float:
        """Log-probability of ``target`` from one frozen output, alone; not metered without ``tallies``."""
        self._state.frozen[0] = frozen
        tallies = self._unused if tallies is None else tallies
        return float(self.run(_NO_TOKENS, np.array([target], np.int64), 1, tallies)[0])

    def distribution(self, frozen: np.ndarray) -> np.ndarray:
        """Log-probabilities of the whole vocabulary from one frozen output: (V,) float64; not metered."""
        self._state.frozen[0] = frozen
        logits = np.zeros(self.config.vocabulary, np.float32)
        predictions = Predictions(np.zeros(1, np.int64), np.zeros(1), np.zeros((1, 2)), logits)
        self._run(loop.Text(_NO_TOKENS, predictions, 1), self._unused)
        top, log_total = predictions.normalisers[0]
        return (logits.astype(np.float64) - top) - log_total
