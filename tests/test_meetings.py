"""Threads meet wherever one of them touches what another has written: the plans of all models, step by step.

A race shows in few runs. So the plans are held against what each kind of step reads and writes (``models/accesses.py``)
and how that is shared among the threads (``kernels/steps.py`` and what it imports), as if every product had to prepare
its inputs.
"""

import itertools
from typing import Any, NamedTuple

import pytest
from test_buffers import RECURRENT
from test_transformer import WORDS
from tiny import tiny_parts
from tiny_transformer import GROUPED, KINDS, MIXTRAL, transformer_parts

import lm_meter
from lm_meter.arena import describe_matrix
from lm_meter.kernels import network as kinds
from lm_meter.models.accesses import (
    ANGLES,
    CACHE,
    CHOSEN,
    DISTANCES,
    FROZEN,
    ITEMS,
    MIXTURE,
    NARROW,
    SHARES,
    accesses,
    reads,
    writes,
)
from lm_meter.models.recurrent_steps import plan_recurrent
from lm_meter.models.transformer_steps import plan_transformer

# How threads share memory: each touches all of it, or has some for itself; all read what was written before they met.
EVERY, OWN, READ_BY_EVERY = "every thread", "its own", "read by every thread"
MEET = None


class Planned(NamedTuple):
    """A plan, its matrices, and the width of the embedding."""

    plan: Any
    matrices: Any
    embedding: int


class Access(NamedTuple):
    """A step's access to a buffer (its number) or to other memory (its name), and how threads share it."""

    memory: Any
    columns: range
    share: Any  # what is shared alike has the same thread for the same numbers, unless it is for EVERY one
    writes: bool


def _shared(access, share):
    """An access of a step, shared among the threads."""
    return Access(access.memory, access.columns or range(1 << 24), share, access.writes)


def _row_share(matrix, parts):
    """The units of interleaved gates, or the first rows of the blocks that are shared out in their order."""
    if parts > 1:
        return "units", matrix.rows // parts, 0
    rows = matrix.rows // matrix.sections
    return tuple(
        first for section in range(matrix.sections) for first in range(section * rows, (section + 1) * rows, 16)
    )


def _product(step, matrix, has_own, is_one):
    share, is_experts = _row_share(matrix, step.parts), step.kind == kinds.EXPERTS
    shares = {step.target: share, step.other: share, SHARES: OWN}
    if is_one:
        return [], shares | {step.source: OWN if has_own else EVERY, NARROW: OWN}
    tokens = "items" if is_experts else "tokens"
    prepared = [_shared(reads(step.source), tokens), _shared(writes(NARROW), tokens), MEET]
    return prepared, shares | {step.source: EVERY, NARROW: READ_BY_EVERY}


def _route(step, has_own, is_one):
    if is_one:
        own = dict.fromkeys((CHOSEN, MIXTURE, ITEMS, SHARES, step.target), OWN)
        return [], own | {step.source: EVERY, step.other: OWN if has_own else EVERY}
    chosen = [_shared(reads(step.source), "tokens"), _shared(writes(CHOSEN), "tokens"), MEET]
    by_tokens = dict.fromkeys((MIXTURE, ITEMS, step.other, step.source), "tokens")
    return chosen, by_tokens | {CHOSEN: READ_BY_EVERY, SHARES: OWN, step.target: "items of tokens"}


def _mix(step, is_one):
    if is_one:
        return dict.fromkeys((step.source, step.target), "column blocks") | {MIXTURE: OWN, ITEMS: OWN}
    return {ITEMS: "tokens", MIXTURE: "tokens", step.source: EVERY, step.target: "tokens"}


def _shares(model, number, several):
    """What is done before all threads meet inside a step; and how the threads share the memory of the step."""
    plan, step = model.plan, model.plan.steps[number]
    is_one = not several or bool(step.last)

    def has_own(buffer):
        own = plan.own[buffer]
        return (own == kinds.OWN_ALONE and not several) or (own == kinds.OWN_LAST and is_one)

    if step.kind in (kinds.PRODUCT, kinds.EXPERTS):
        return _product(step, model.matrices[step.matrix], has_own(step.source), is_one)
    if step.kind == kinds.ROUTE:
        return _route(step, has_own(step.other), is_one)
    rows = ("last",) if step.last else "tokens"
    normalised = {step.source: rows, step.target: rows}
    if step.kind == kinds.NORMALISE and has_own(step.target):
        normalised = {step.source: EVERY, step.target: OWN}
    return [], {
        kinds.EMBED: {step.target: "tokens" if several else "columns"},
        kinds.POSITION: {ANGLES: "tokens"},
        kinds.SINUSOID: {step.target: "pairs"},
        kinds.NORMALISE: normalised,
        kinds.KEEP: {
            ANGLES: EVERY, step.other: "keys", step.other + 1: "keys", CACHE: "keys", step.source: "queries",
            plan.steps[min(number + 1, len(plan.steps) - 1)].other: "queries",
        },
        kinds.ATTEND: {CACHE: EVERY, DISTANCES: EVERY}
        | dict.fromkeys((step.source, step.other, step.target), "every n-th head"),
        kinds.MIX: _mix(step, is_one),
        kinds.CELL: dict.fromkeys((step.source, step.other, step.target), ("units", step.width, 0)),
        kinds.COPY: {step.source: "units from here", step.target: "units from here"},
        kinds.FREEZE: {step.source: "thread 0", FROZEN: "thread 0"},
    }[step.kind]  # fmt: skip


def _accesses(model, number, several):
    """What a step reads and writes in its order, and where the threads meet inside it."""
    found, shares = _shares(model, number, several)
    for access in accesses(model.plan.steps, number, model.embedding):
        share = shares[access.memory]
        if share == READ_BY_EVERY:
            found.append(_shared(reads(access.memory), EVERY))
        elif share == "units from here":
            found.append(_shared(access, ("units", len(access.columns), access.columns.start)))
        elif share != OWN:
            found.append(_shared(access, share))
    return found


def _conflicts(a, b):
    apart = a.share != b.share or a.share == EVERY
    overlap = a.columns.start < b.columns.stop and b.columns.start < a.columns.stop
    return a.memory == b.memory and overlap and (a.writes or b.writes) and apart


def _races(model, chunks):
    """Steps that may run at the same time in two threads although one writes what the other touches.

    ``chunks``: of each in turn, whether it has several tokens.
    """
    found, since = set(), []
    for several in chunks:
        for number, step in enumerate(model.plan.steps):
            for access in _accesses(model, number, several):
                if access is MEET:
                    since = []
                    continue
                found |= {(other, number, access.memory) for other, earlier in since if _conflicts(earlier, access)}
                since.append((number, access))
            if step.meets == kinds.ALWAYS or (step.meets == kinds.SEVERAL and several):
                since = []
    return found


# Of a gate and an input with other sections, and so other shares of the rows.
_UNLIKE = {"feed_forward": {**GROUPED["feed_forward"], "groups": {"gate": 2, "output": 2}}}
_UNLIKE_EXPERTS = {"feed_forward": {**MIXTRAL["feed_forward"], "groups": {"input": 2}}}
TRANSFORMERS = {name: (name, {}) for name in KINDS} | {
    "gate and input unlike": ("grouped", _UNLIKE),
    "gate and input of experts unlike": ("mixtral", _UNLIKE_EXPERTS),
}


def _planned(path, parts, planner):
    lm_meter.write_checkpoint(path, *parts)
    opened = lm_meter.Checkpoint(path)
    plan = planner(opened.model_config, opened.formats)
    return Planned(
        plan, [describe_matrix(opened, source) for source in plan.matrices], opened.model_config.ends.embedding
    )


def _transformer(name, path):
    kind, changes = TRANSFORMERS[name]
    return _planned(path, transformer_parts(kind, WORDS, **changes), plan_transformer)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_threads_of_a_transformer_meet(name, tmp_path):
    model = _transformer(name, tmp_path / "m.npz")
    for chunks in itertools.product((False, True), repeat=2):
        assert _races(model, chunks) == set()


@pytest.mark.parametrize("name", RECURRENT)
def test_threads_of_a_recurrent_model_meet(name, tmp_path):
    model = _planned(tmp_path / "m.npz", tiny_parts(words=WORDS, **RECURRENT[name]), plan_recurrent)
    assert _races(model, (False, False, False)) == set()


@pytest.mark.parametrize("name", ["llama", "mixtral"])
def test_a_meeting_left_out_is_a_race(name, tmp_path):
    """Where several tokens enter: products that share memory for prepared inputs, an expert's gate and input too."""
    model = _transformer(name, tmp_path / "m.npz")
    steps, products = model.plan.steps, (kinds.PRODUCT, kinds.EXPERTS)
    numbers = [n for n, step in enumerate(steps) if step.kind in products and not step.last]
    for number in numbers:
        whole = steps[number]
        steps[number] = whole._replace(meets=kinds.NEVER)
        assert _races(model, (True, True)), f"step {number}"
        steps[number] = whole
    assert len(numbers) >= 8
