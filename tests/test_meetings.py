"""Threads meet wherever one of them touches what another has written: the plans of all models, step by step.

A race shows in few runs. So the plans are held against what each kind of step reads and writes and how that is shared
among the threads (``kernels/steps.py`` and what it imports), as if every product had to prepare its inputs.
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
from lm_meter.models.recurrent_steps import plan_recurrent
from lm_meter.models.transformer_steps import plan_transformer

EVERY, MEET = "every thread", None


class Planned(NamedTuple):
    """A plan, its matrices, and the width of the embedding."""

    plan: Any
    matrices: Any
    embedding: int


class Access(NamedTuple):
    """A step's access to a buffer (its number) or to other memory (its name)."""

    memory: Any
    columns: range
    share: Any  # what is shared alike has the same thread for the same numbers, unless it is for EVERY one
    writes: bool


def _reads(memory, share, columns=range(1 << 24)):
    return Access(memory, columns, share, False)


def _writes(memory, share, columns=range(1 << 24)):
    return Access(memory, columns, share, True)


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
    tokens = "items" if is_experts else "tokens"
    if is_one:
        found = [_writes("narrow", "own rows")] + ([] if has_own else [_reads(step.source, EVERY)])
    else:
        found = [_reads(step.source, tokens), _writes("narrow", tokens), MEET, _reads("narrow", EVERY)]
        found += [_reads(step.source, EVERY)]
    found.append(_writes(step.target, share))
    if step.action == kinds.ADD_TO:
        found.append(_writes(step.other, share))
    if step.action == kinds.GATE:
        found.append(_reads(step.other, share))
    return found


def _route(step, has_own, is_one):
    if is_one:
        return [_reads(step.source, EVERY)] + ([] if has_own else [_reads(step.other, EVERY)])
    found = [_reads(step.source, "tokens"), _writes("chosen", "tokens"), MEET, _reads("chosen", EVERY)]
    return [*found, _writes("items", "tokens"), _reads(step.other, "tokens"), _writes(step.target, "items of tokens")]


def _copy(step):
    ends = ((_reads, step.source, step.from_column), (_writes, step.target, step.to_column))
    return [access(memory, ("units", step.width, at), range(at, at + step.width)) for access, memory, at in ends]


def _accesses(model, number, several):
    """What a step reads and writes in its order, and where the threads meet inside it."""
    plan, step = model.plan, model.plan.steps[number]
    is_one = not several or bool(step.last)

    def has_own(buffer):
        own = plan.own[buffer]
        return (own == kinds.OWN_ALONE and not several) or (own == kinds.OWN_LAST and is_one)

    rows = ("last",) if step.last else "tokens"
    if step.kind in (kinds.PRODUCT, kinds.EXPERTS):
        return _product(step, model.matrices[step.matrix], has_own(step.source), is_one)
    if step.kind == kinds.EMBED:
        columns = range(step.to_column, step.to_column + model.embedding)
        return [_writes(step.target, "tokens" if several else "columns", columns)]
    if step.kind == kinds.POSITION:
        return [_writes("angles", "tokens")]
    if step.kind == kinds.SINUSOID:
        return [_writes(step.target, "pairs")]
    if step.kind == kinds.NORMALISE:
        return [_reads(step.source, EVERY)] if has_own(step.target) else [
            _reads(step.source, rows), _writes(step.target, rows)
        ]  # fmt: skip
    if step.kind == kinds.KEEP:
        far = plan.steps[number + 1].other  # what the step behind it reads where queries meet distances
        return [
            _reads("angles", EVERY), _writes(step.other, "keys"), _reads(step.other + 1, "keys"),
            _writes("cache", "keys"), _writes(step.source, "queries"), _writes(far, "queries"),
        ]  # fmt: skip
    if step.kind == kinds.ATTEND:
        heads = "every n-th head"
        return [
            _reads(step.source, heads), _reads(step.other, heads), _reads("cache", EVERY), _writes(step.target, heads)
        ]  # fmt: skip
    if step.kind == kinds.ROUTE:
        return _route(step, has_own(step.other), is_one)
    if step.kind == kinds.MIX:
        if is_one:
            return [_reads(step.source, "column blocks"), _writes(step.target, "column blocks")]
        return [_reads("items", "tokens"), _reads(step.source, EVERY), _writes(step.target, "tokens")]
    if step.kind == kinds.CELL:
        units = ("units", step.width, 0)
        return [_reads(step.source, units), _writes(step.other, units), _writes(step.target, units)]
    if step.kind == kinds.COPY:
        return _copy(step)
    assert step.kind == kinds.FREEZE
    return [_reads(step.source, "thread 0"), _writes("frozen", "thread 0")]


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
