"""Transformers as a whole against the scalar reference, under each context policy: values, counts, bits."""

import numpy as np
import pytest
from reference_transformer import Transformer
from stored_weights import reference_weights
from tiny import narrowed, tiny_checkpoint
from tiny_transformer import KINDS, transformer_parts

import lm_meter
from lm_meter.context import Context
from lm_meter.histogram import rows_of
from lm_meter.models import transformer
from lm_meter.threads import ThreadTeam

WORDS = ("<eos>", "<unk>", *(f"w{i}" for i in range(398)))  # two segments of the softmax, the second not full
INT8 = {"format": "int8", "activations": 8}
INT4 = {"format": "int4", "group": 8, "offsets": True}
HALF = {"format": "float16", "activations": 16}
NARROW = {
    "embedding": INT8,
    "layers.0.attention.query.weight": INT4,
    "layers.0.attention.output.weight": {"format": "codebook4", "activations": 8},
    "layers.1.feed_forward.gate.weight": {"format": "float16", "block": (1, 4)},
    "layers.1.feed_forward.input.weight": HALF,
}
# Of a grouped layer in every way that inputs are prepared.
NARROW_GROUPS = {
    "layers.0.attention.query.weight": {"format": "int4", "activations": 8, "offsets": True},
    "layers.0.attention.key.weight": HALF,
    "layers.0.attention.output.weight": {"format": "codebook4", "offsets": True},
    "layers.1.attention.query.weight": {"format": "int8", "block": (1, 1)},
    "layers.1.feed_forward.gate.weight": INT8,
    "layers.1.feed_forward.input.weight": {"format": "int4", "activations": 16},
    "layers.1.feed_forward.output.weight": {"format": "float16", "block": (2, 1)},
}
# Experts that cost different numbers of operations.
NARROW_EXPERTS = {
    "layers.0.feed_forward.router.weight": INT8,
    "layers.0.feed_forward.experts.1.gate.weight": INT8,
    "layers.0.feed_forward.experts.2.input.weight": HALF,
    "layers.0.feed_forward.experts.3.output.weight": {"format": "float16", "block": (1, 4)},
    "layers.1.feed_forward.experts.0.output.weight": {"format": "int4"},
}
NARROW_XL = {"layers.0.attention.distance.weight": INT8, "layers.1.attention.distance.weight": INT4}
NARROWED = {
    "narrow": ("llama", NARROW),
    "narrow groups": ("grouped", NARROW_GROUPS),
    "narrow experts": ("mixtral", NARROW_EXPERTS),
    "narrow xl": ("transformer-xl", NARROW_XL),
}
POLICIES = [Context("cache", 5), Context("recompute", 5), Context("segment", 4), Context("segment", 5, 2)]


def _parts(name):
    if name in NARROWED:
        kind, formats = NARROWED[name]
        return narrowed(*transformer_parts(kind, WORDS), formats)
    kind, _, dtype = name.partition(", ")
    return transformer_parts(kind, WORDS, dtype or "float32")


def _opened(name, tmp_path, **changes):
    parts = transformer_parts(name, WORDS, **changes) if changes else _parts(name)
    lm_meter.write_checkpoint(tmp_path / "model.npz", *parts)
    return lm_meter.Checkpoint(tmp_path / "model.npz"), parts


def _reference(opened, parts, context):
    config, arrays = parts
    values, bits, inputs = {}, {}, {}
    for name, entry in config["formats"].items():
        entry = {"format": entry} if isinstance(entry, str) else entry
        values[name], bits[name] = reference_weights(arrays, name, entry, opened.shape(name))
        inputs[name] = entry.get("activations", 32), (entry.get("accumulator", 32), entry.get("overflow"))
    window = config["attention"].get("window", context.length - 1)
    return Transformer(config, values, bits, inputs, min(window, context.length - 1))


def _tokens(count, seed=5):
    return np.random.default_rng(seed).integers(0, len(WORDS), count)


def _run(opened, context, inputs, targets, block=4, threads=2):
    runtime = opened.architecture.load(opened, ThreadTeam(threads), context)
    runtime.reserve(block)
    tallies = runtime.new_tallies()
    return runtime.run(inputs, targets, block, tallies), tallies.sum(axis=0), runtime


def _by_hand(model, context, tokens):
    """Log-probability of each token but the first, from the policy's own words; the chunks that ran, their tokens."""
    found, chunks, entered = [], [], []
    for at in range(len(tokens) - 1):
        if context.policy == "recompute":
            model.forget()
            entering = tokens[max(0, at + 1 - context.length) : at + 1]
        elif context.policy == "segment" and len(model.kept[0]) == context.length:
            model.forget()
            entering = tokens[at - context.overlap : at + 1]
        else:
            entering = tokens[at : at + 1]
        entered += entering
        chunks.append((len(entering), len(model.kept[0]), min(at, (model.ends.cache or {"size": 0})["size"])))
        for token in entering[:-1]:
            model.advance(token, is_last=False)
        model.advance(entering[-1])
        found.append(model.log_prob(tokens[at + 1]))
    return found, chunks, entered


@pytest.mark.parametrize("context", POLICIES, ids=str)
@pytest.mark.parametrize(
    "name", [*KINDS, "gpt, float16", "llama, bfloat16", "micronet, float16", "sparse xl, bfloat16", *NARROWED]
)
def test_metered_predicted_and_hand_executed_agree(name, context, tmp_path):
    if name.startswith("gpt") and context.policy == "cache":
        context = Context("cache", 9)  # a cache does not slide over learned positions
    opened, parts = _opened(name, tmp_path)
    tokens = _tokens(9)
    model = _reference(opened, parts, context)
    expected, chunks, entered = _by_hand(model, context, tokens.tolist())

    actual, tally, runtime = _run(opened, context, tokens[:-1], tokens[1:])
    text = np.array(entered), tokens[1:]
    routed = np.array(model.routed) if opened.model_config.mixture else None
    regions, law = opened.architecture.chunk_tally(opened, np.array(chunks, np.int64), context, text, routed)
    law += opened.architecture.once_tally(opened, context)[1]

    # A logit of 16 to 32 has neighbours 2**-19 apart, and larger ones in proportion; some dozens of such roundings. An
    # activation that is rounded to 8 or 16 bits and lies by less than that beside the middle of two neighbours, 2**-11
    # or 2**-7 of it apart, can go to the other one.
    tolerance = 2e-3 if name in NARROWED else 2e-5
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=tolerance)
    assert np.array_equal(tally, law)
    rows = {(r.region, r.kind, r.bits_a, r.bits_b): r.count for r in rows_of(tally, regions)}
    assert rows == dict(model.ledger.counts)
    assert [region.name for region in regions] == [region.name for region in runtime.regions]


@pytest.mark.parametrize("context", POLICIES, ids=str)
@pytest.mark.parametrize("kind", [*KINDS, *NARROWED])
def test_block_threads_and_pieces_change_no_bit(kind, context, tmp_path):
    if kind == "gpt" and context.policy == "cache":
        context = Context("cache", 9)
    opened, _ = _opened(kind, tmp_path)
    tokens = _tokens(10)
    reference, counted, _ = _run(opened, context, tokens[:-1], tokens[1:], block=1, threads=1)
    for block, threads in ((3, 1), (4, 2), (9, 3)):
        actual, tally, _ = _run(opened, context, tokens[:-1], tokens[1:], block, threads)
        assert actual.tobytes() == reference.tobytes()
        assert np.array_equal(tally, counted)
    runtime = opened.architecture.load(opened, ThreadTeam(2), context)
    pieces = [runtime.run(tokens[i : i + 1], tokens[i + 1 : i + 2], 1, runtime.new_tallies())[0] for i in range(9)]
    assert np.array(pieces).tobytes() == reference.tobytes()


@pytest.mark.parametrize("context", POLICIES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_later_changes_no_prediction(kind, context, tmp_path):
    if kind == "gpt" and context.policy == "cache":
        context = Context("cache", 9)
    opened, _ = _opened(kind, tmp_path, **({"positions": {"kind": "learned", "count": 40}} if kind == "gpt" else {}))
    tokens = _tokens(40)
    reference, _, _ = _run(opened, context, tokens[:-1], tokens[1:])
    for t in (1, 7, 20, 38):
        changed = tokens.copy()
        changed[t + 1 :] = _tokens(40, seed=6)[t + 1 :]
        actual, _, _ = _run(opened, context, changed[:-1], changed[1:])
        assert actual[:t].tobytes() == reference[:t].tobytes()


@pytest.mark.parametrize("kind", ["no positions", "transformer-xl", "sparse xl", "per head"])
def test_with_one_layer_recomputing_and_keeping_are_the_same(kind, tmp_path):
    """Where only distances tell positions."""
    changes = {"attention": {"window": 6, "pattern": {"kind": "strided", "local": 1, "stride": 2}}}
    opened, _ = _opened(kind, tmp_path, dimensions={"layers": 1}, **(changes if kind == "per head" else {}))
    tokens = _tokens(60)
    kept, _, _ = _run(opened, Context("cache", 6), tokens[:-1], tokens[1:])
    recomputed, _, _ = _run(opened, Context("recompute", 6), tokens[:-1], tokens[1:])
    assert kept.tobytes() == recomputed.tobytes()


@pytest.mark.parametrize("kind", ["llama", "post-norm"])
def test_with_one_layer_and_turned_positions_they_agree_far_into_a_text(kind, tmp_path):
    """A cache turns by the position in the text, the other by that in the window: the same differences of angles."""
    rotary = {"positions": {"kind": "rotary", "pairs": "halves", "base": 10000.0, "rotated": 6}}
    opened, _ = _opened(kind, tmp_path, dimensions={"layers": 1}, **(rotary if kind == "llama" else {}))
    tokens = _tokens(100_000)
    kept, _, _ = _run(opened, Context("cache", 6), tokens[:-1], tokens[1:], 64)
    end = tokens[-200:]
    recomputed, _, _ = _run(opened, Context("recompute", 6), end[:-1], end[1:], 64)
    # Turned numbers are rounded to float32, each otherwise; the logits are of the order of 10.
    assert np.abs(kept[-190:] - recomputed[-190:]).max() < 1e-5


@pytest.mark.parametrize(
    "kind",
    [name for name in KINDS if not isinstance(KINDS[name].get("attention", {}).get("pattern"), list)],
)
def test_recomputing_is_running_each_window_afresh(kind, tmp_path):
    opened, _ = _opened(kind, tmp_path, dimensions={**KINDS[kind].get("dimensions", {}), "layers": 3})
    tokens, context = _tokens(30), Context("recompute", 8)
    recomputed, _, _ = _run(opened, context, tokens[:-1], tokens[1:])
    for at in (0, 3, 12, 28):
        window = tokens[max(0, at - 7) : at + 2]
        alone, _, _ = _run(opened, Context("cache", 9), window[:-1], window[1:])
        assert alone[-1].tobytes() == recomputed[at].tobytes()


@pytest.mark.parametrize("length", [17, 18, 20])
def test_a_long_text_moves_through_a_small_cache(length, tmp_path):
    """The cache has room for some hundred positions: the oldest make room, and no bit tells.

    It moves by blocks of 16. Where 17 past tokens are seen the oldest is the last of a block when it does.
    """
    opened, _ = _opened("no positions", tmp_path, dimensions={"layers": 1})
    tokens, context = _tokens(700), Context("cache", length)
    reference, _, _ = _run(opened, Context("recompute", length), tokens[:-1], tokens[1:])
    actual, _, runtime = _run(opened, context, tokens[:-1], tokens[1:])
    assert runtime._memory.cache.capacity < 400
    assert actual.tobytes() == reference.tobytes()


@pytest.mark.parametrize("kind", ["global", "strided", "fixed", "fairseq", "transformer-xl"])
def test_a_cache_that_moves_changes_no_bit(kind, tmp_path, monkeypatch):
    """What stays at its front, and what has moved, is found as where everything has room."""
    opened, _ = _opened(kind, tmp_path)
    tokens, context = _tokens(1000), Context("cache", 40)
    actual, tally, runtime = _run(opened, context, tokens[:-1], tokens[1:])
    monkeypatch.setattr(transformer, "_SLACK", 1024)
    reference, counted, roomy = _run(opened, context, tokens[:-1], tokens[1:])
    assert runtime._memory.cache.capacity < 400
    assert roomy._memory.cache.capacity > 1000
    assert actual.tobytes() == reference.tobytes()
    assert np.array_equal(tally, counted)


def test_a_learned_position_too_many_is_refused(tmp_path):
    opened, _ = _opened("gpt", tmp_path)
    with pytest.raises(lm_meter.ConfigError) as caught:
        _run(opened, Context("cache", 9), _tokens(10), _tokens(10))
    assert str(caught.value) == (
        "the text has more tokens than the checkpoint's 9 learned positions, which a cache cannot slide over; choose "
        "the context policy segment or recompute"
    )
    with pytest.raises(lm_meter.ConfigError) as caught:
        opened.architecture.context(opened.model_config, None, 10)
    assert str(caught.value) == ("context is 10, but the checkpoint has 9 learned positions; expected at most as many")


def test_a_context_that_no_memory_holds(tmp_path, monkeypatch):
    def refuse(*_):
        raise MemoryError

    lm_meter.write_checkpoint(tmp_path / "m.npz", *transformer_parts("llama", WORDS))
    opened = lm_meter.Checkpoint(tmp_path / "m.npz")
    monkeypatch.setattr(transformer, "zeros", refuse)
    with pytest.raises(lm_meter.ConfigError) as caught:
        opened.architecture.load(opened, ThreadTeam(1), Context("cache", 5))
    assert str(caught.value) == (
        f"{tmp_path / 'm.npz'}: there is not enough memory for its weights and a context of 5 tokens; choose a smaller "
        "--context"
    )


def test_relative_positions_are_floats(tmp_path):
    name = "layers.1.attention.relative"
    parts = narrowed(*transformer_parts("micronet", WORDS), {name: {"format": "int8"}})
    with pytest.raises(lm_meter.CheckpointError) as caught:
        lm_meter.write_checkpoint(tmp_path / "model.npz", *parts)
    assert not (tmp_path / "model.npz").exists()
    assert str(caught.value) == (
        f"{tmp_path / 'model.npz'}: array {name}: is int8; relative positions are floating-point numbers "
        "here, none pruned"
    )


def test_evaluate_names_the_policy_and_is_the_same_run(tmp_path):
    opened, _ = _opened("gpt", tmp_path)
    tokens = [*_tokens(30).tolist(), 0]
    text = "".join("\n" if t == 0 else f"{WORDS[t]} " for t in tokens)
    (tmp_path / "text").write_text(text, encoding="utf-8")
    inputs, targets = np.array([0, *tokens[:-1]]), np.array(tokens)
    for policy, length, context in (
        (None, None, Context("segment", 9)),
        ("recompute", 5, Context("recompute", 5)),
        ("segment:2", None, Context("segment", 9, 2)),
    ):
        options = lm_meter.RunOptions(block=7, policy=policy, context=length)
        result = lm_meter.evaluate(opened, text=tmp_path / "text", options=options)
        reference, tally, runtime = _run(opened, context, inputs, targets)
        assert result.log_probs.tobytes() == reference.tobytes()
        assert (result["online"]["policy"], result["online"]["context"]) == (str(context), context.length)
        assert result["online"]["bits_equal"]
        rows = [(r.region, r.kind, r.bits_a, r.bits_b, r.count) for r in rows_of(tally, runtime.regions)]
        assert [tuple(row.values()) for row in result["histogram"]] == rows


def test_a_model_in_the_users_own_loop(tmp_path):
    opened, _ = _opened("llama", tmp_path)
    tokens = _tokens(20)
    reference, _, _ = _run(opened, Context("cache", 9), np.array([0, *tokens[:-1]]), tokens)
    model = lm_meter.Model(tmp_path / "model.npz")
    for token, expected in zip(tokens.tolist(), reference, strict=True):
        assert model.log_prob(token) == expected
        model.advance(token)


def test_a_state_has_no_policy(tmp_path):
    tiny_checkpoint(tmp_path / "lstm.npz")
    (tmp_path / "text").write_text("the cat\n", encoding="utf-8")
    with pytest.raises(lm_meter.ConfigError) as caught:
        lm_meter.evaluate(
            tmp_path / "lstm.npz", text=tmp_path / "text", options=lm_meter.RunOptions(policy="recompute")
        )
    assert str(caught.value) == (
        "the checkpoint is a recurrent model (lstm), whose state is its context; --policy and --context are for "
        "transformers"
    )
