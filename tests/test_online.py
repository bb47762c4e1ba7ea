"""The on-line pass: equal to the four-line loop, blind to what comes later, the same bits however it is run."""

import numpy as np
import pytest
from tiny import tiny_checkpoint

import lm_meter
from lm_meter import evaluate as evaluate_function
from lm_meter import online
from lm_meter.errors import ConfigError, MeterError
from lm_meter.online import OnlinePass

WORDS = ("<eos>", "<unk>", *(f"w{i}" for i in range(500)))
KINDS = {
    "word, tied, projection": {"words": WORDS, "embedding": 24, "hidden": (40,), "projection": 24, "tied": True},
    "word, two layers, float16": {"words": WORDS, "hidden": (30, 50), "dtype": "float16"},
    "characters": {"kind": "characters", "dtype": "bfloat16"},
    "sentencepiece": {"kind": "sentencepiece", "hidden": (20,)},
}


def _text(kind, seed=1, count=150):
    rng = np.random.default_rng(seed)
    if kind.startswith("word"):
        return "".join("\n" if t == 0 else f"{WORDS[t]} " for t in [*rng.integers(0, len(WORDS), count), 0])
    words = ["the", "cat", "sat", "on", "mat", "a", "dog", "ran"]
    return "".join(f"{' '.join(rng.choice(words, 6))}\n" for _ in range(count // 7))


def _run(checkpoint, content, tmp_path, **options):
    path = tmp_path / "text"
    path.write_text(content, encoding="utf-8")
    return lm_meter.evaluate(checkpoint, text=path, options=lm_meter.RunOptions(**options))


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


@pytest.fixture
def checkpoint(kind, tmp_path):
    return tiny_checkpoint(tmp_path / "model.npz", **KINDS[kind])


def test_equals_the_loop_in_the_users_own_hands(kind, checkpoint, tmp_path):
    content = _text(kind)
    result = _run(checkpoint, content, tmp_path, block=7, threads=2)

    model = lm_meter.Model(checkpoint, threads=1)
    reference = []
    for token in model.tokenizer.encode(lm_meter.read_text(tmp_path / "text")).tokens:
        reference.append(model.log_prob(token))
        model.advance(token)

    assert result.log_probs.tolist() == reference


def test_text_after_a_position_never_touches_a_prediction_at_or_before_it(kind, checkpoint, tmp_path):
    content = _text(kind)
    whole = _run(checkpoint, content, tmp_path, block=16).log_probs
    blank = " " if kind.startswith("word") else "\n"
    for near in (90, 333, len(content) - 30):
        cut = content.rfind(blank, 0, near) + 1
        changed = content[:cut] + _text(kind, seed=99)
        other = _run(checkpoint, changed, tmp_path, block=16).log_probs
        # Tokens of the part in common; a word text that is cut inside a line gets a line end that is not in common.
        kept = _run(checkpoint, content[:cut], tmp_path, block=16).log_probs.size - (blank == " ")
        assert kept > 5
        assert np.array_equal(whole[:kept], other[:kept])
        assert not np.array_equal(whole[kept : kept + 20], other[kept : kept + 20])


@pytest.mark.parametrize(("block", "threads"), [(1, 1), (1, 2), (7, 1), (7, 2), (64, 1), (64, 2), (64, 3)])
def test_block_and_threads_change_no_bit_and_no_count(kind, checkpoint, block, threads, tmp_path):
    content = _text(kind)
    reference = _run(checkpoint, content, tmp_path, block=33, threads=1)
    actual = _run(checkpoint, content, tmp_path, block=block, threads=threads)
    assert np.array_equal(actual.log_probs.view(np.int64), reference.log_probs.view(np.int64))
    assert actual["histogram"] == reference["histogram"]


def test_two_runs_are_equal(kind, checkpoint, tmp_path):
    first, second = (_run(checkpoint, _text(kind), tmp_path) for _ in range(2))
    assert np.array_equal(first.log_probs, second.log_probs)


def test_skipping_the_first_token_uses_it_as_context_only(tmp_path):
    checkpoint = tiny_checkpoint(tmp_path / "model.npz", words=WORDS)
    content = _text("word")
    skipped = _run(checkpoint, content, tmp_path, first_token="skip")
    scored = _run(checkpoint, content, tmp_path)
    assert skipped["text"]["scored"] == scored["text"]["scored"] - 1
    assert skipped["text"]["word_tokens"] == scored["text"]["word_tokens"] - 1
    # The zero state, then the first token: not the start token before it.
    model = lm_meter.Model(checkpoint)
    model._runtime.reset()
    tokens = model.tokenizer.encode(lm_meter.read_text(tmp_path / "text")).tokens
    model.advance(tokens[0])
    assert skipped.log_probs[0] == model.log_prob(tokens[1])


def test_limit_takes_the_first_word_tokens(tmp_path):
    checkpoint = tiny_checkpoint(tmp_path / "model.npz", words=WORDS)
    content = _text("word")
    whole, part = _run(checkpoint, content, tmp_path), _run(checkpoint, content, tmp_path, limit=40)
    assert part["text"]["word_tokens"] == 40
    assert np.array_equal(part.log_probs, whole.log_probs[:40])


def test_without_a_start_token_the_first_prediction_is_an_error(tmp_path):
    from tiny import tiny_parts

    config, arrays = tiny_parts(kind="characters")
    del config["tokenizer"]["start"]
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    with pytest.raises(ConfigError, match=r"no start token.*--first-token skip"):
        _run(tmp_path / "model.npz", "a cat\n", tmp_path)
    with pytest.raises(MeterError, match=r"has seen no token.*call advance\(token\) first"):
        lm_meter.Model(tmp_path / "model.npz").log_prob(0)
    assert _run(tmp_path / "model.npz", "a cat\n", tmp_path, first_token="skip")["text"]["scored"] == 5


def test_nothing_left_to_predict_is_an_error(tmp_path):
    checkpoint = tiny_checkpoint(tmp_path / "model.npz", words=WORDS)
    with pytest.raises(ConfigError, match="nothing is left to predict"):
        _run(checkpoint, "w1", tmp_path, first_token="skip", limit=1)


@pytest.mark.parametrize("token", [-1, len(WORDS), 10**9])
def test_a_token_out_of_range_is_an_error(token, tmp_path):
    model = lm_meter.Model(tiny_checkpoint(tmp_path / "model.npz", words=WORDS))
    message = f"token is {token}; expected 0 to {len(WORDS) - 1}"
    with pytest.raises(ConfigError, match=message):
        model.log_prob(token)
    with pytest.raises(ConfigError, match=message):
        model.advance(token)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": 0}, "block is 0; expected 1 to 4096"),
        ({"block": 5000}, "block is 5000; expected 1 to 4096"),
        ({"threads": 0}, "threads is 0; expected 1 to 256"),
        ({"limit": 0}, "limit is 0; expected 1 or more word tokens"),
        ({"first_token": "maybe"}, "first_token is 'maybe'; expected 'score' or 'skip'"),
        ({"oov": "guess"}, "oov is 'guess'; expected 'error' or 'unk'"),
    ],
)
def test_options_out_of_range_are_errors(options, message):
    with pytest.raises(ConfigError, match=message):
        lm_meter.RunOptions(**options)


def test_weights_that_overflow_are_reported_at_their_position(tmp_path):
    from tiny import tiny_parts

    config, arrays = tiny_parts(words=WORDS)
    # One of the two logits is above the largest float32, whatever the sign of the hidden states' sum.
    arrays["softmax.bias"][:] = np.float32(3.4e38)
    arrays["softmax.weight"][5] = np.float32(3e38)
    arrays["softmax.weight"][6] = np.float32(-3e38)
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    with pytest.raises(
        MeterError,
        match=r"position [0-9]+ is .*: the model overflows float32, or float16 in its 16-bit activations",
    ):
        _run(tmp_path / "model.npz", _text("word"), tmp_path)


def test_a_recheck_with_other_bits_stops_the_run(tmp_path, monkeypatch):
    from lm_meter.models.network_runtime import NetworkRuntime

    honest = NetworkRuntime.read_out
    monkeypatch.setattr(
        NetworkRuntime, "read_out", lambda self, frozen, target: np.nextafter(honest(self, frozen, target), 1)
    )
    checkpoint = tiny_checkpoint(tmp_path / "model.npz", words=WORDS)
    with pytest.raises(
        MeterError, match=r"position [0-9]+: log-probability .* alone, .* in a block of 64; .*must be equal"
    ):
        _run(checkpoint, _text("word"), tmp_path)


def test_result_says_how_the_pass_was_checked(tmp_path):
    checkpoint = tiny_checkpoint(tmp_path / "model.npz", words=WORDS)
    online = _run(checkpoint, _text("word"), tmp_path, block=16)["online"]
    assert online["block"] == 16
    assert online["positions_rechecked"] >= 1
    assert online["bits_equal"] is True


def test_public_function_is_the_function_not_its_module():
    assert callable(evaluate_function)


def test_a_call_has_so_many_tokens_however_fast_the_model(tmp_path, monkeypatch):
    """What is made for each token of a call must not grow with the text."""
    sizes = []
    call = OnlinePass._call

    def noted(self, first, last):
        sizes.append(last - first)
        return call(self, first, last) * 1e-9

    monkeypatch.setattr(OnlinePass, "_call", noted)
    monkeypatch.setattr(online, "_CALL_TOKENS", 40)
    _run(tiny_checkpoint(tmp_path / "model.npz", **KINDS["sentencepiece"]), _text("", count=1000), tmp_path, block=16)
    assert max(sizes) == 32
    assert len(sizes) > 10
