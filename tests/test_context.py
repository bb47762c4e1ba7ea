"""Context policies: which tokens enter for each prediction, and what is refused."""

import numpy as np
import pytest
from test_transformer import POLICIES, _opened, _run, _tokens
from tiny_transformer import transformer_parts

from lm_meter import ConfigError, cli, write_checkpoint
from lm_meter.context import Context, parse_policy


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (Context("cache", 3), [(0, 1, 1), (1, 1, 0), (2, 1, 0), (3, 1, 0), (4, 1, 0), (5, 1, 0), (6, 1, 0)]),
        (Context("recompute", 3), [(0, 1, 1), (0, 2, 1), (0, 3, 1), (1, 3, 1), (2, 3, 1), (3, 3, 1), (4, 3, 1)]),
        (Context("segment", 3), [(0, 1, 1), (1, 1, 0), (2, 1, 0), (3, 1, 1), (4, 1, 0), (5, 1, 0), (6, 1, 1)]),
        (Context("segment", 3, 1), [(0, 1, 1), (1, 1, 0), (2, 1, 0), (2, 2, 1), (4, 1, 0), (4, 2, 1), (6, 1, 0)]),
        (Context("segment", 3, 2), [(0, 1, 1), (1, 1, 0), (2, 1, 0), (1, 3, 1), (2, 3, 1), (3, 3, 1), (4, 3, 1)]),
    ],
    ids=str,
)
def test_chunks_of_seven_tokens(context, expected):
    assert [tuple(chunk) for chunk in context.chunks(0, 0, 7).tolist()] == expected
    # The same piece by piece, with the last tokens at hand in front.
    for seen in range(7):
        before = min(seen, context.longest_chunk - 1)
        [chunk] = context.chunks(seen, before, 1)
        assert (chunk[0] + seen - before, chunk[1], chunk[2]) == expected[seen]
    assert context.longest_chunk == max(count for _, count, _ in expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("stateless", 3), "context policy is 'stateless'; expected cache, recompute, segment or segment:OVERLAP"),
        (("cache", 0), "context is 0; expected 1 to 1048576 tokens"),
        (("cache", 10**9), "context is 1000000000; expected 1 to 1048576 tokens"),
        (
            ("segment", 4, 4),
            "context policy segment:4: overlap is 4; expected 0 to 3, less than the context of 4 tokens",
        ),
    ],
)
def test_contexts_that_make_no_sense(arguments, message):
    with pytest.raises(ConfigError) as caught:
        Context(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["cached", "segment:", "segment:-1", "cache:3", ""])
def test_policies_that_make_no_sense(text):
    with pytest.raises(ConfigError) as caught:
        parse_policy(text)
    assert str(caught.value) == f"context policy is {text!r}; expected cache, recompute, segment or segment:OVERLAP"


def test_policies_as_text():
    for text, parsed in (("cache", ("cache", 0)), ("recompute", ("recompute", 0)), ("segment:12", ("segment", 12))):
        assert parse_policy(text) == parsed
        assert str(Context(parsed[0], 20, parsed[1])) == text


def test_chunks_are_whole_numbers():
    assert Context("segment", 5, 2).chunks(3, 2, 9).dtype == np.int64


def test_lengths_that_no_run_can_have(tmp_path, capsys):
    path = tmp_path / "model.npz"
    write_checkpoint(path, *transformer_parts("llama", ("<eos>", "<unk>", "a")))
    for length in ("0", "99999999999"):
        assert cli.main(["count", "--checkpoint", str(path), "--context", length]) == 2
        assert f"context is {length}; expected 1 to 1048576 tokens" in capsys.readouterr().err


@pytest.mark.parametrize("context", POLICIES, ids=str)
@pytest.mark.parametrize("kind", ["continuous", "transformer-xl", "global", "mixtral"])
def test_a_model_that_was_reset_begins_anew(kind, context, tmp_path):
    opened, _ = _opened(kind, tmp_path)
    tokens = _tokens(20)
    reference, counted, runtime = _run(opened, context, tokens[:-1], tokens[1:])
    runtime.reset()
    tallies = runtime.new_tallies()
    assert runtime.run(tokens[:-1], tokens[1:], 4, tallies).tobytes() == reference.tobytes()
    assert np.array_equal(tallies.sum(axis=0), counted)
