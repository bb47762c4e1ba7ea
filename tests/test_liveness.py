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
from lm_meter.kernels.network import ATTEND
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
        # Where an item lies is not known here: they are alive together.
        if array is not None and not (model.has_items(piece) and piece._replace(is_last=False) in alive):
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


def _overwritten(model, moment, piece):
    """Whether a step writes a piece before anybody reads it."""
    if moment == len(model.steps):
        return False
    found = accesses(model.plan.steps, moment, model.network.options.embedding_width)
    own = [access for access in found if access.memory == piece.memory and _covers(access.columns, piece.columns)]
    return any(access.writes for access in own) and not any(access.reads for access in own)


def _covers(columns, piece):
    return columns is None or piece is None or columns.start <= piece[0] < columns.stop


def _needed(model):
    """Moments, and what lies there for them or for later ones: pieces of buffers, or layers of the cache."""
    for moment in range(len(model.steps) + 1):
        for piece in sorted(model.alive(moment), key=str):
            if model.array(piece) is not None and not _overwritten(model, moment, piece):
                yield moment, piece


# Of each kind of step and memory one at least; the chunk with several tokens is one where that makes a difference.
SPOILT = [
    *((name, None) for name in RECURRENT),
    *(("llama", policy) for policy in POLICIES),
    *((name, POLICIES[1]) for name in ("mixtral", "transformer-xl", "post-norm", "gpt", "narrow groups", "continuous")),
]


@pytest.mark.parametrize(("name", "context"), SPOILT, ids=[f"{name}, {policy or 'state'}" for name, policy in SPOILT])
def test_what_is_alive_is_read(name, context, tmp_path):
    """Spoilt at the third token, it changes a prediction."""
    opened = _opened(name, tmp_path)
    reference = _reference(opened, context)[:4].tobytes()
    model, needed = StepByStep(opened, context), []

    def note(moment):
        if model.number == 2 and moment == 0:
            needed.extend(_needed(model))

    model.run(TOKENS[:4], TOKENS[1:5], note)
    chosen = np.random.default_rng(5).permutation(len(needed))[:24]
    assert len(chosen) >= 10
    for number in chosen:
        when, piece = needed[number]
        model = StepByStep(opened, context)

        def spoil(moment, model=model, when=when, piece=piece):
            if (model.number, moment) == (2, when):
                _spoil(model.array(piece))

        assert model.run(TOKENS[:4], TOKENS[1:5], spoil).tobytes() != reference, (when, piece)


@pytest.mark.parametrize("name", ["llama", "per head", "global", "fixed", "strided"])
@pytest.mark.parametrize("context", POLICIES, ids=str)
def test_positions_that_are_alive_are_read(name, context, tmp_path):
    """Each position of the first layer's cache, spoilt before that attends, changes a prediction, now or later."""
    opened = _opened(name, tmp_path)
    reference = _reference(opened, context).tobytes()
    model, found = StepByStep(opened, context), []
    model.run(TOKENS[:-1], TOKENS[1:], lambda m: found.append((model.number, m, model.positions(0, m))))
    [attends] = [n for n, step in enumerate(model.steps) if step.kind == ATTEND and step.layer == 0]
    cases = [(number, j) for number, moment, places in found if moment == attends and number == 3 for j in places]
    assert cases
    for number, j in cases:
        model = StepByStep(opened, context)

        def spoil(moment, model=model, number=number, j=j):
            if (model.number, moment) == (number, attends):
                for array, places in model.keys_and_values(0, [j]):
                    array[places] = np.nan

        assert model.run(TOKENS[:-1], TOKENS[1:], spoil).tobytes() != reference, j


@pytest.mark.parametrize("window", [0, 1, 3, 8, 30])
@pytest.mark.parametrize(
    "pattern",
    [
        AttentionPattern("dense"),
        AttentionPattern("strided", local=2, stride=5),
        AttentionPattern("strided", local=0, stride=3),
        AttentionPattern("fixed", stride=4, extra=2),
        AttentionPattern("fixed", stride=11, extra=3),
        AttentionPattern("fixed", stride=5, extra=5),
        AttentionPattern("strided", local=40, stride=1),
        AttentionPattern("local_global", local=2, extra=5),
        AttentionPattern("local_global", local=0, extra=1),
    ],
    ids=lambda pattern: f"{pattern.kind} {pattern.local} {pattern.stride} {pattern.extra}",
)
def test_positions_that_are_alive_are_those_that_are_seen(pattern, window):
    entry = {"kind": pattern.kind, "local": pattern.local, "stride": pattern.stride}
    entry = None if pattern.kind == "dense" else entry | {"summary": pattern.extra, "global": pattern.extra}

    def asked(queries, there):
        return {j for j in there if any(q >= j and pattern_sees(entry, q, j, window) for q in queries)}

    chunks = [(first, 1, end) for first in (0, 1, 7, 29) for end in (ENDLESS, 29, first)]
    chunks += [(0, tokens, end) for tokens in (2, 9, 12) for end in (ENDLESS, 20, tokens - 1)]
    chunks += [(first, tokens, end) for first in (3, 14) for tokens in (5, 13) for end in (40, first + tokens - 1)]
    columns = tuple(zip(*chunks, strict=True))
    together = [held_positions(pattern.fields, window, columns, only_last) for only_last in (False, True)]
    for number, (first, tokens, end) in enumerate(chunks):
        last = first + tokens - 1
        later = set(range(last + 1, min(end, last + window + 50) + 1))
        for only_last in (False, True) if first == 0 or tokens == 1 else (False,):  # several enter an empty context
            own, earlier, all_there = (
                {last} if only_last else set(range(first, last + 1)),
                range(first),
                range(last + 1),
            )
            came, stays = asked(later | own, earlier), asked(later, all_there)
            arriving = came | set(range(first, last + 1))
            attending = asked(later | own, all_there)
            most = max(len(asked({query}, all_there)) for query in own)
            expected = (came, arriving, attending, stays, arriving & (came | stays), attending & (came | stays))

            actual = tuple(int(column[number]) for column in together[only_last])
            assert actual == (*map(len, expected), most), (first, tokens, end, only_last)
