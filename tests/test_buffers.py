"""The compiled loop of every architecture writes nothing outside the memory that it was given."""

import numpy as np
import pytest
from guarded import Guarded
from test_transformer import NARROWED, WORDS
from tiny import ADAPTIVE, narrowed, tiny_parts
from tiny_transformer import KINDS, transformer_parts

import lm_meter
from lm_meter.context import Context
from lm_meter.kernels import token_loop as loop
from lm_meter.kernels.barrier import Team
from lm_meter.kernels.clock import UNTIMED
from lm_meter.kernels.readout import Predictions
from lm_meter.threads import ThreadTeam

RECURRENT = {
    "lstm": {},
    "lstm, projection": {"embedding": 20, "hidden": (33,), "projection": 20, "tied": True, "dtype": "float16"},
    "lstm, three layers": {"embedding": 5, "hidden": (17, 16, 31), "projection": 9},
    "continuous": {"hidden": (17,), "continuous_cache": {"size": 5, "theta": 0.7, "lambda": 0.2}},
    "adaptive": {"embedding": 9, "hidden": (12,), "adaptive": ADAPTIVE},
    "gru": {"architecture": "gru", "embedding": 5, "hidden": (17, 33)},
    "qrnn": {"architecture": "qrnn", "embedding": 5, "hidden": (17, 33), "window": (3, 2), "output_gate": True},
}


def _parts(name):
    if name in NARROWED:
        kind, formats = NARROWED[name]
        return narrowed(*transformer_parts(kind, WORDS), formats)
    return tiny_parts(words=WORDS, **RECURRENT[name]) if name in RECURRENT else transformer_parts(name, WORDS)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", [*RECURRENT, *KINDS, *NARROWED])
def test_the_loop_writes_nothing_outside_its_buffers(name, threads, tmp_path):
    config, arrays = _parts(name)
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    opened = lm_meter.Checkpoint(tmp_path / "model.npz")
    context = None if name in RECURRENT else Context("recompute", 6)
    runtime = opened.architecture.load(opened, ThreadTeam(threads), context)
    tokens, block = np.random.default_rng(5).integers(0, len(WORDS), 50), 7
    runtime.reserve(block, ranks=True)
    reference, reference_ranks = runtime.run_ranked(tokens, tokens, block, runtime.new_tallies())

    # As ranks are found in a run, and with the logits of every token kept.
    for kept in (runtime._kept_logits, np.zeros((block, len(WORDS)), np.float32)):
        runtime.reset()
        guards = []

        def guarded(value, guards=guards):
            if isinstance(value, tuple):
                return type(value)(*map(guarded, value))
            if not isinstance(value, np.ndarray):
                return value
            guards.append(Guarded(value.shape, value.dtype))
            return guards[-1].array

        memory, buffers = guarded(runtime._memory), guarded(runtime._buffers)
        log_probs, normalisers = guarded(np.zeros(50)), guarded(np.zeros((50, len(runtime._bins), 3)))
        logits, ranks = (kept if kept.size == 0 else guarded(kept)), guarded(np.zeros(50, np.int64))
        predictions = Predictions(tokens, log_probs, normalisers, logits, ranks)
        text = loop.Text(*runtime._entering(tokens), predictions, block, guarded(runtime._continuous))
        tallies, team = runtime.new_tallies(), runtime.team

        def work(thread, memory=memory, buffers=buffers, text=text, tallies=tallies, team=team):
            of_thread = Team(team.sync, thread, threads, UNTIMED)
            runtime._loop(runtime._network, memory, buffers, of_thread, text, tallies[thread])

        team.run(work)
        for guard in guards:
            guard.check()
        assert np.array_equal(log_probs, reference)
        assert np.array_equal(ranks, reference_ranks)
