"""What is declared dead is read by nobody, what is declared alive is: memory is spoilt between the steps of a run."""

import numpy as np
import pytest
from reference_positions import pattern_sees
from step_by_step import StepByStep
from test_buffers import RECURRENT
from test_transformer import NARROWED, WORDS
from tiny import narrowed, tiny_parts
from tiny_transformer import KINDS, transformer_parts

import lm_meter
from lm_meter.context import Context
from lm_meter.models.accesses import accesses
from lm_meter.models.attention_pattern import AttentionPattern
from lm_meter.models.held_positions import ENDLESS, held_positions
from lm_meter.threads import ThreadTeam

TOKENS = np.random.default_rng(3).integers(0, len(WORDS), 8)
POLICIES = [Context("cache", 4), Context("recompute", 4), Context("segment", 4, 2)]
CASES = [(name, None) for name in RECURRENT] + [(name, policy) for name in [*KINDS, *NARROWED] for policy in POLICIES]
IDS = [f"{name}, {policy or 'state'}" for name, policy in CASES]


def _opened(name, tmp_path):
    if name in NARROWED:
        parts = narrowed(*transformer_parts(NARROWED[name][0], WORDS), NARROWED[name][1])
    else:
        parts = tiny_parts(words=WORDS, **RECURRENT[name]) if name in RECURRENT else transformer_parts(name, WORDS)
    lm_meter.write_checkpoint(tmp_path / "m.npz", *parts)
    return lm_meter.Checkpoint(tmp_path / "m.npz")


def _context(name, context):
    """A cache does not slide over learned positions."""
    return Context("cache", 9) if name == "gpt" and context and context.policy == "cache" else context


def _reference(opened, context):
    runtime = opened.architecture.load(opened, ThreadTeam(1), context)
    runtime.reserve(1)
    return runtime.run(TOKENS[:-1], TOKENS[1:], 1, runtime.new_tallies())


def _spoil(array):
    array[...] = np.nan if array.dtype == np.float32 else 77


def _spoil_all_dead(model, moment):
    alive = model.alive(moment)
    for piece in model.every_piece() - alive:
        array = model.array(piece)
        if array is not None and not (model.plan.items[piece.memory] if isinstance(piece.memory, int) else False):
            _spoil(array)
        elif array is not None and piece._replace(is_last=False) not in alive:
            _spoil(array)
    for array in model.scratch(moment):
        _spoil(array)
    for layer in model.layers():
        dead = set(range(model.memory.cache.capacity)) - model.positions(layer, moment)
        for array, places in model.keys_and_values(layer, sorted(dead)):
            array[places] = np.nan


@pytest.mark.parametrize(("name", "context"), CASES, ids=IDS)
def test_what_is_dead_is_read_by_nobody(name, context, tmp_path):
    opened, context = _opened(name, tmp_path), _context(name, context)
    model = StepByStep(opened, context)

    actual = model.run(TOKENS[:-1], TOKENS[1:], lambda moment: _spoil_all_dead(model, moment))

    assert actual.tobytes() == _reference(opened, context).tobytes()
