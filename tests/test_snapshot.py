"""A run that is taken up from a snapshot, with other threads and another block, goes on bit for bit."""

import numpy as np
import pytest
from test_buffers import RECURRENT
from test_transformer import NARROWED, WORDS
from tiny import narrowed, tiny_parts
from tiny_transformer import KINDS, transformer_parts

import lm_meter
from lm_meter.context import Context
from lm_meter.errors import StateError
from lm_meter.threads import ThreadTeam

CONTINUOUS = {"continuous_cache": {"size": 5, "theta": 0.7, "lambda": 0.2}}
POLICIES = [Context("cache", 5), Context("recompute", 5), Context("segment", 5, 2)]


def _parts(name):
    if name in NARROWED:
        kind, formats = NARROWED[name]
        return narrowed(*transformer_parts(kind, WORDS), formats)
    if name == "llama, continuous":
        config, arrays = transformer_parts("llama", WORDS)
        return {**config, **CONTINUOUS}, arrays
    return tiny_parts(words=WORDS, **RECURRENT[name]) if name in RECURRENT else transformer_parts(name, WORDS)


def _load(folder, name, context, threads, block):
    path = folder / "model.npz"
    if not path.exists():
        lm_meter.write_checkpoint(path, *_parts(name))
    opened = lm_meter.Checkpoint(path)
    learned = opened.config.get("positions", {}).get("kind") == "learned"
    policy = Context("segment", 5) if learned and context and context.policy == "cache" else context
    runtime = opened.architecture.load(opened, ThreadTeam(threads), policy)
    runtime.reserve(block)
    return runtime


# Before which tokens a context of 5 is forgotten.
FORGOTTEN = {"cache": [0], "recompute": range(61), "segment": range(0, 61, 5), "segment:2": [0, *range(5, 61, 3)]}

CASES = [(name, None) for name in RECURRENT]
CASES += [(name, policy) for name in (*KINDS, *NARROWED, "llama, continuous") for policy in POLICIES]


@pytest.mark.parametrize(("name", "context"), CASES, ids=lambda value: str(value))
def test_it_goes_on_bit_for_bit(name, context, tmp_path):
    tokens = np.random.default_rng(5).integers(0, len(WORDS), 61)
    inputs, targets = tokens[:-1], tokens[1:]
    whole = _load(tmp_path, name, context, 1, 4)
    counted = whole.new_tallies()
    reference = whole.run(inputs, targets, 4, counted)
    for cut in (0, 40) if name == "lstm" else (7,):
        first, second = _load(tmp_path, name, context, 2, 4), _load(tmp_path, name, context, 1, 3)
        tallies, later = first.new_tallies(), second.new_tallies()
        before = first.run(inputs[:cut], targets[:cut], 4, tallies)
        second.run(inputs[:9], targets[:9], 3, second.new_tallies())  # what it knew is forgotten
        second.restore(first.snapshot())
        after = second.run(inputs[cut:], targets[cut:], 3, later)
        assert np.concatenate([before, after]).tobytes() == reference.tobytes()
        assert np.array_equal(tallies.sum(axis=0) + later.sum(axis=0), counted.sum(axis=0))


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("name", [*(name for name in KINDS if name not in RECURRENT), "llama, continuous"])
def test_tokens_that_nothing_depends_on_are_passed_over(name, policy, tmp_path):
    tokens = np.random.default_rng(5).integers(0, len(WORDS), 61)
    inputs, targets = tokens[:-1], tokens[1:]
    whole, part = (_load(tmp_path, name, policy, 1, 4) for _ in range(2))
    reference = whole.run(inputs, targets, 4, whole.new_tallies())
    before = part.new_tallies()
    for until in (4, 5, 23, 40):
        part.reset()
        passed = part.pass_over(inputs[:until])
        expected = 0 if "continuous" in name else max(n for n in FORGOTTEN[str(part.context)] if n < until)
        assert passed == expected
        part.run(inputs[passed:until], targets[:0], 4, before)
        assert part.run(inputs[until:], targets[until:], 4, part.new_tallies()).tobytes() == reference[until:].tobytes()


def test_a_snapshot_of_another_model_is_refused(tmp_path):
    runtime = _load(tmp_path, "lstm", None, 1, 1)
    found = runtime.snapshot()
    name = next(key for key in found if key.startswith("buffer"))
    with pytest.raises(StateError, match=rf"array {name} of the state is float32 \[3\]; expected float32 \["):
        runtime.restore({**found, name: np.zeros(3, np.float32)})
    with pytest.raises(StateError, match=f"array {name} of the state is missing; expected float32"):
        runtime.restore({key: value for key, value in found.items() if key != name})


def test_a_snapshot_with_more_pairs_than_there_is_room_for_is_refused(tmp_path):
    runtime = _load(tmp_path, "continuous", None, 1, 1)
    found = runtime.snapshot()
    with pytest.raises(StateError, match="says that 1000000 pairs are held; write the state again with eval --state"):
        runtime.restore({**found, "continuous.state": np.array([10**6, 0, 0])})


@pytest.mark.parametrize("context", [*POLICIES, Context("segment", 5), Context("segment", 400, 7)], ids=str)
@pytest.mark.parametrize("name", ["llama", "global", "sparse xl"])
def test_every_position_that_a_pass_reaches_is_taken_up(name, context, tmp_path):
    """Also where the cache has been full, and more than once."""
    tokens = np.random.default_rng(6).integers(0, len(WORDS), 701)
    runtime, other = (_load(tmp_path, name, context, 1, 1) for _ in range(2))
    for at in range(700):
        runtime.run(tokens[at : at + 1], tokens[at + 1 : at + 2], 1, None)
        other.restore(runtime.snapshot())


@pytest.mark.parametrize(
    ("name", "context", "array", "value", "message"),
    [
        ("lstm", None, "position", [3, 4], r"position of the state is \[3, 4\], which its tokens"),
        ("lstm", None, "position", [-1, -1], r"position of the state is \[-1, -1\], which its"),
        ("llama", POLICIES[0], "position", [3, 9], r"position of the state is \[3, 9\], which its"),
        (
            "llama",
            POLICIES[2],
            "position",
            [9, 9],
            r"position of the state is \[9, 9\], which its tokens do not lead to",
        ),
        ("llama", POLICIES[0], "seen", [-1, 0], "seen of the state is -1 tokens; write the state again with eval"),
        (
            "llama",
            POLICIES[1],
            "history",
            [1, 2, 400, 4],
            "array history of the state has a token that is none of the ",
        ),
        ("llama", POLICIES[1], "history", [1, 2, -1, 4], "array history of the state has a token that is none of the "),
        (
            "continuous",
            None,
            "continuous.state",
            [8, 3, 2],
            r"continuous.state is \[8, 3, 2\], which no pass can reach",
        ),
        ("continuous", None, "continuous.state", [2**63 - 1, 2**63 - 9, 1], "which no pass can reach"),
        (
            "continuous",
            None,
            "continuous.state",
            [2, 1, 1],
            r"continuous.state is \[2, 1, 1\], which no pass can reach",
        ),
        (
            "continuous",
            None,
            "continuous.tokens",
            [0, 1, 2, 3, 4, 5, 10**9],
            "array continuous.tokens of the state has ",
        ),
    ],
)
def test_a_snapshot_that_would_lead_out_of_memory_is_refused(name, context, array, value, message, tmp_path):
    runtime = _load(tmp_path, name, context, 1, 1)
    tokens = np.arange(9)
    runtime.run(tokens[:-1], tokens[1:], 1, None)
    found = runtime.snapshot()
    assert len(found[array]) == len(value)
    with pytest.raises(StateError, match=message):
        runtime.restore({**found, array: np.array(value)})


def test_a_large_block_and_a_small_one_go_on_from_each_other_with_a_continuous_cache(tmp_path):
    """A block of 64 holds pairs for its own predictions that a block of 1 has no room for."""
    tokens = np.random.default_rng(8).integers(0, len(WORDS), 701)
    inputs, targets = tokens[:-1], tokens[1:]
    whole = _load(tmp_path, "continuous", None, 1, 1)
    reference = whole.run(inputs, targets, 1, whole.new_tallies())
    for cut in (64, 289, 320, 352, 353, 620):
        first, second, third = (_load(tmp_path, "continuous", None, 1, block) for block in (64, 1, 64))
        before = first.run(inputs[:cut], targets[:cut], 64, first.new_tallies())
        second.restore(first.snapshot())
        here = slice(cut, cut + 9)
        between = second.run(inputs[here], targets[here], 1, second.new_tallies())
        third.restore(second.snapshot())
        after = third.run(inputs[here.stop :], targets[here.stop :], 64, third.new_tallies())
        assert np.concatenate([before, between, after]).tobytes() == reference.tobytes()
